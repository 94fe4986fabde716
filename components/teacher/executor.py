"""The executor of the Teacher component."""

import os
import time
from typing import Any

import numpy as np
from tfx.dsl.components.base import base_executor
from tfx.types import artifact

from components.examples import load_split, load_splits
from components.parameters import parse_settings
from models.baselines import linear_head, pretrained
from models.runtime import artifact_files, checkpoint, progress, setup


class Executor(base_executor.BaseExecutor):
    """Trains the linear classifier and writes its logits."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters.

        Raises:
            ConfigError: The pretrained network cannot be used.
        """
        began = time.monotonic()
        settings = parse_settings(exec_properties, "data")
        setup.set_up(seed=0, deterministic=settings.deterministic, tuned_kernels=settings.tuned_kernels)
        examples = input_dict["examples"]
        data = load_splits(examples, ("train", "val"), settings.data)
        test = load_split(examples, "test", settings.data)
        names = ("pretrained", "weights", "files", "deterministic", "tuned_kernels")
        depends = [exec_properties[name] for name in names]
        found = pretrained.extract(
            exec_properties["pretrained"],
            exec_properties["weights"],
            lambda split: test if split == "test" else load_split(examples, split, settings.data),
            os.path.join(
                exec_properties["checkpoint_dir"],
                checkpoint.fingerprint(depends, data.fingerprint, test.fingerprint),
            ),
        )
        head = linear_head.train_head(found.split("train"), found.split("val"), len(data.class_names))
        scores = {split: head.scores(found.arrays[split]) for split in ("train", "val")}
        accuracy = float(np.mean(scores["val"].argmax(axis=1) == found.arrays["val_labels"]))
        progress.say(f"teacher: accuracy {accuracy:.4f} on val, with a regularisation of {head.strength:g}")

        (output,) = output_dict["soft_labels"]
        artifact_files.FEATURES.save(output.uri, found.arrays)
        ids = np.asarray(data.ids, np.bytes_)
        artifact_files.SOFT_LABELS.save(output.uri, {"ids": ids, "scores": _in_order(ids, scores, found)})
        document = {"data": data.fingerprint, "strength": head.strength, "val_accuracy": accuracy, **found.cost()}
        artifact_files.TEACHER.save(output.uri, document)
        output.set_float_custom_property("seconds", time.monotonic() - began)


def _in_order(ids: np.ndarray, scores: dict[str, np.ndarray], found: pretrained.Features) -> np.ndarray:
    """Returns the scores of all splits together, float32 (images, classes), in the order of the ids."""
    by_id = {}
    for split, rows in scores.items():
        by_id.update(zip(found.arrays[f"{split}_ids"].tolist(), rows, strict=True))
    return np.stack([by_id[name] for name in ids.tolist()]).astype(np.float32)
