"""The baselines: a function for each, which trains the baseline and classifies the test images with it."""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tfx.types import artifact

from components.examples import load_split, load_splits
from models.architectures.genotype import genotype_from_dict
from models.baselines import fitting, linear_head, networks, pretrained, verdict
from models.baselines.fitting import Limits, Outcome
from models.data.dataset import ImageDataset
from models.networks import profiling
from models.runtime import artifact_files, checkpoint
from models.runtime.section import TRAINING
from models.settings import Baselines, Settings

_MOST_EPOCHS = 100  # of the plain CNN: it gains nothing from more epochs


@dataclasses.dataclass(frozen=True)
class Run:
    """The data that all baselines use.

    Attributes:
        asked: `config.baselines`.
        files: A fingerprint of the pretrained network's files (`pretrained.fingerprint`).
        settings: The settings of the final training.
        final: The Trainer's record of the final training.
        seconds: The seconds of search and final training together.
        examples: The artifact with the examples.
        test: The test images.
        checkpoint_dir: The folder of the checkpoints of all baselines.
        uri: The folder of the output artifact.
    """

    asked: Baselines
    files: str
    settings: Settings
    final: Mapping[str, Any]
    seconds: float
    examples: list[artifact.Artifact]
    test: ImageDataset
    checkpoint_dir: str
    uri: str

    @functools.cached_property
    def train(self) -> ImageDataset:
        """The images of the final training."""
        return load_splits(self.examples, ("train", "val"), self.settings.data)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.test.class_names)

    def limits(self, most: int, spent: float = 0.0) -> Limits:
        """Returns how long a baseline is trained.

        Args:
            most: The largest number of epochs.
            spent: The seconds that the baseline has used so far. They are subtracted from its time.
        """
        return Limits(self.asked.epochs, self.asked.time_share * self.seconds - spent, most)

    def directory(self, name: str, *depends: Any) -> str:
        """Returns the folder of a baseline's checkpoints.

        Args:
            name: The baseline.
            depends: Values on which the result of this baseline depends, besides those that are common to all. Other
                values give another folder.
        """
        key = checkpoint.fingerprint(
            (self.asked.epochs, self.asked.time_share),
            (self.final["genotype"], self.settings.key(TRAINING)),
            self.train.fingerprint,
            *depends,
        )
        return os.path.join(self.checkpoint_dir, name, key)

    def log_dir(self, name: str) -> str:
        """Returns the folder of the TensorBoard logs of a baseline's training."""
        return os.path.join(self.uri, "logs", name)


def _majority(run: Run) -> Outcome:
    label = np.bincount(run.test.labels).argmax()  # no constant answer is more accurate
    return Outcome(
        np.full(len(run.test), label, np.int32),
        verdict.Cost(0, 0, 0.0, details=f"always answers {run.test.class_names[label]!r}"),
    )


def _cnn(run: Run) -> Outcome:
    settings = run.settings.model_copy(update={"train": networks.cnn_recipe(run.settings.train)})
    directory = run.directory("cnn")
    return fitting.kept(
        directory,
        lambda: fitting.fit(
            "cnn",
            lambda: networks.cnn_classifier(run.test.image_shape, run.classes),
            settings,
            run.limits(_MOST_EPOCHS),
            run.train,
            run.test,
            directory,
            run.log_dir("cnn"),
        ),
    )


def _preset(run: Run) -> Outcome:
    found = networks.preset(genotype_from_dict(run.final["genotype"]))
    settings = networks.preset_settings(run.settings, min(run.test.image_shape[:2]))
    directory = run.directory("preset", found.name)

    def classifier(channels):
        return networks.preset_classifier(found, settings, channels, run.test.image_shape, run.classes)

    def choose():
        began = time.monotonic()
        channels = networks.channels_for(
            run.final["macs"],
            lambda channels: profiling.profile(classifier(channels).network).macs,
            step=2 if settings.train.network == "imagenet" else 1,
        )
        return {"channels": channels, "seconds": time.monotonic() - began}

    def train():
        chosen, seconds = fitting.once(os.path.join(directory, "network.json"), choose).values()
        outcome = fitting.fit(
            "preset",
            lambda: classifier(chosen),
            settings,
            run.limits(settings.train.epochs, seconds),
            run.train,
            run.test,
            directory,
            run.log_dir("preset"),
        )
        details = f"{found.name}, {settings.train.cells} cells, {chosen} channels"
        cost = dataclasses.replace(outcome.cost, seconds=outcome.cost.seconds + seconds, details=details)
        return dataclasses.replace(outcome, cost=cost)

    return fitting.kept(directory, train)


def _pretrained(run: Run) -> Outcome:
    directory = run.directory("pretrained", run.asked.pretrained, run.asked.weights, run.files)
    extracted = _features(run, os.path.join(directory, "features"))
    artifact_files.FEATURES.save(run.uri, extracted.arrays)
    return fitting.kept(directory, lambda: _linear(run, extracted))


def _features(run: Run, directory: str) -> checkpoint.Checkpoint:
    """Returns features and labels of all splits, and their cost.

    If an interrupted run has saved them, they are read; otherwise they are computed and saved. The arrays are `train`,
    `val` and `test`, float32 (images, features), and `train_labels`, `val_labels` and `test_labels`, (images,).
    """
    found = checkpoint.latest(directory)
    if found is not None:
        return found
    began = time.monotonic()
    fitting.set_up(run.settings)
    network = pretrained.load(run.asked.pretrained, run.asked.weights, max(run.test.image_shape[:2]))
    arrays = {}
    for split in ("train", "val", "test"):
        images = run.test if split == "test" else load_split(run.examples, split, run.settings.data)
        arrays[split] = pretrained.features(network, images, f"pretrained: images of {split}")
        arrays[f"{split}_labels"] = images.labels
    state = {"params": network.params, "macs": network.macs, "seconds": time.monotonic() - began}
    checkpoint.save(directory, 0, arrays, state)
    return checkpoint.Checkpoint(0, arrays, state)


def _linear(run: Run, extracted: checkpoint.Checkpoint) -> Outcome:
    began = time.monotonic()
    train, val, test = (
        (extracted.arrays[split], extracted.arrays[f"{split}_labels"]) for split in ("train", "val", "test")
    )
    predicted, strength = linear_head.train_and_predict(train, val, test[0], run.classes)
    weights = test[0].shape[1] * run.classes
    params, macs, seconds = (extracted.state[name] for name in ("params", "macs", "seconds"))
    cost = verdict.Cost(
        params=params + weights + run.classes,
        macs=None if macs is None else macs + weights,
        seconds=seconds + time.monotonic() - began,
        details=f"{os.path.basename(run.asked.pretrained.rstrip('/'))}, regularisation {strength:g}",
    )
    return Outcome(predicted, cost)


BASELINES: Mapping[str, Callable[[Run], Outcome]] = {
    "majority": _majority,
    "cnn": _cnn,
    "preset": _preset,
    "pretrained": _pretrained,
}
