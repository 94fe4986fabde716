"""The baseline: an earlier model with which a new model is compared. This module selects and checks it."""

import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import logging
from ml_metadata import MetadataStore
from tfx.dsl.input_resolution.strategies import latest_blessed_model_strategy
from tfx.types import artifact, artifact_utils
from tfx.utils import path_utils

from models.data import dataset_info
from models.data.image_format import ImageFormat, colour
from models.runtime import artifact_files
from models.runtime.messages import some

_NAMED = 3  # number of classes that a reason names


def why_not_comparable(model_uri: str, class_names: Sequence[str], form: ImageFormat | None) -> str:
    """Returns why the test accuracies of an earlier and a new model cannot be compared, or "" if they can.

    Args:
        model_uri: The URI of the earlier model's artifact.
        class_names: The class names of the new model, in the order of their labels.
        form: The form in which the new model gets images. None if the examples contain the original images, which can
            be converted to any form.
    """
    saved_model = path_utils.serving_model_path(model_uri)
    for name in ("saved_model.pb", "variables/variables.index"):
        if not tf.io.gfile.exists(os.path.join(saved_model, name)):
            return f"its file {name} is missing in {saved_model}"
    earlier = read_class_names(saved_model)
    if earlier != tuple(class_names):
        return f"its classes are different ({_difference(earlier, tuple(class_names))})"
    seen = read_form(saved_model)
    for name in ("image_shape", "resize", "background"):
        # Models of earlier versions of this project have no description of their images.
        if seen and form and getattr(seen, name) != getattr(form, name):
            return f"it was trained on other images: {name} is {getattr(seen, name)}, now {getattr(form, name)}"
    return ""


def read_class_names(saved_model: str) -> tuple[str, ...]:
    """Returns the class names of an exported model in the order of their labels; an empty tuple if it has none."""
    if not artifact_files.CLASS_NAMES.exists(saved_model):
        return ()
    names = artifact_files.CLASS_NAMES.read(saved_model).decode()
    return tuple(names.split("\n")[:-1])  # not splitlines: a name may contain other line separators of Unicode


def read_form(saved_model: str) -> ImageFormat | None:
    """Returns the form in which an exported model gets images; None if the model does not describe it."""
    if not artifact_files.IMAGE_FORMAT.exists(saved_model):
        return None
    return artifact_files.IMAGE_FORMAT.load(
        saved_model,
        lambda found: ImageFormat(tuple(found["image_shape"]), found["resize"], tuple(found["background"])),
    )


def _difference(earlier: tuple[str, ...], now: tuple[str, ...]) -> str:
    added = [name for name in now if name not in earlier]
    removed = [name for name in earlier if name not in now]
    told = [
        f"{what} {some(map(repr, names), _NAMED)}"
        for what, names in (("added:", added), ("removed:", removed))
        if names
    ]
    return "; ".join(told) or "they are in another order"


class LatestComparableModel(latest_blessed_model_strategy.LatestBlessedModelStrategy):
    """Chooses the latest blessed model with which the new model can be compared.

    If the latest blessed model cannot be compared, a warning gives the reason, and an older model is chosen. If no
    model can be compared, the latest model is chosen: the Evaluator then records the reason and uses no baseline.

    Args:
        image_size: `config.data.image_size`.
        channels: `config.data.channels`.
        resize: `config.data.resize`.
        background: `config.data.background`.
    """

    def __init__(self, image_size: int, channels: int, resize: str, background: str):
        self._image_size, self._channels = image_size, channels
        self._resize, self._background = resize, colour(background)

    def resolve_artifacts(
        self, store: MetadataStore, input_dict: dict[str, list[artifact.Artifact]]
    ) -> dict[str, list[artifact.Artifact]]:
        """Called by TFX; takes all models, all blessings and the new model's examples, and returns one of each."""
        examples = input_dict["examples"]
        info = dataset_info.load(artifact_utils.get_single_uri(examples))
        form = None
        if info.stored == "resized":
            form = ImageFormat(info.image_shape(self._image_size, self._channels), self._resize, self._background)
        latest = chosen = self._latest_blessed(store, input_dict["model"], input_dict["model_blessing"])
        passed_over: set[int] = set()
        reason = why = _why(chosen, info.class_names, form)
        while why:
            passed_over.add(chosen["model"][0].id)
            others = [model for model in input_dict["model"] if model.id not in passed_over]
            chosen = self._latest_blessed(store, others, input_dict["model_blessing"])
            why = _why(chosen, info.class_names, form)
        if reason:
            instead = f"an older blessed model, {chosen['model'][0].uri}" if chosen["model"] else "no other model"
            logging.warning(
                "The latest blessed model, %s, cannot be compared with the new model: %s. The new model is compared "
                "with %s.",
                latest["model"][0].uri,
                reason,
                instead,
            )
        return {**(chosen if chosen["model"] else latest), "examples": examples}

    def _latest_blessed(self, store, models, blessings) -> dict[str, list[artifact.Artifact]]:
        return super().resolve_artifacts(store, {"model": models, "model_blessing": blessings})


def _why(chosen: dict[str, list[Any]], class_names: Sequence[str], form: ImageFormat | None) -> str:
    """Returns why the chosen model cannot be compared; "" if it can, or if there is none."""
    return why_not_comparable(chosen["model"][0].uri, class_names, form) if chosen["model"] else ""
