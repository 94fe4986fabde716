"""Small pictures of images: samples of each class, and mistakes of the model."""

import collections
import dataclasses
import functools
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from models.data import preprocessing
from models.data.examples import read_examples
from models.data.image_format import ImageFormat

TILE = 64  # largest side of a picture, in pixels
LOOKED_AT = 20_000  # number of examples, from the start of a split, among which pictures are selected
_ROOM = 240  # largest number of samples
_PER_CLASS = 8  # largest number of samples of one class
_MISTAKES = 40  # largest number of mistakes
_BATCH = 64  # images per call of the model


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A test image for which the model predicts a wrong class.

    Attributes:
        name: The class of the image.
        taken_for: The predicted class.
        probability: The model's probability of the predicted class, 0 to 1.
        picture: A PNG of at most TILE x TILE pixels.
        id: The id of the image; for an image folder, its path in the folder.
    """

    name: str
    taken_for: str
    probability: float
    picture: bytes
    id: str


def thumbnail(encoded: bytes, form: ImageFormat) -> bytes:
    """Returns the network's view of an image file, as a PNG that fits TILE x TILE pixels.

    Small images are enlarged by a whole factor.

    Args:
        encoded: The bytes of an image file.
        form: The form of the network's images.
    """
    pixels = _decoder(form)(encoded).numpy()
    shown = Image.fromarray(pixels.squeeze(-1) if form.image_shape[2] == 1 else pixels)
    shown.thumbnail((TILE, TILE))
    factor = math.floor(TILE / max(shown.size))
    if factor > 1:
        shown = ImageOps.scale(shown, factor, Image.Resampling.NEAREST)
    file = io.BytesIO()
    shown.save(file, "png", optimize=True)
    return file.getvalue()


@functools.cache
def _decoder(form: ImageFormat) -> Callable[[bytes], tf.Tensor]:
    """Returns the decoder of a form. It is traced once, because eager execution is slow."""
    signature = [tf.TensorSpec((), tf.string)]
    return tf.function(lambda encoded: preprocessing.decode_image(encoded, form), signature, autograph=False)


def samples(split_uri: str, class_names: Sequence[str], form: ImageFormat) -> dict[str, list[bytes]]:
    """Returns pictures of the first images of each class, up to the number that fits the page.

    Args:
        split_uri: Folder of a split's examples.
        class_names: The names of the classes, in the order of the labels.
        form: The form of the network's images.

    Returns:
        PNGs by class name; classes without images are left out.

    Raises:
        DataError: There are no examples.
    """
    per_class = min(_PER_CLASS, max(1, _ROOM // len(class_names)))
    wanted = class_names[:_ROOM]
    found: dict[int, list[bytes]] = collections.defaultdict(list)
    missing = per_class * len(wanted)
    for batch in _first(split_uri):
        for label, encoded in zip(batch["label"], batch["image"], strict=True):
            if label < len(wanted) and len(found[label]) < per_class:
                found[label].append(thumbnail(encoded, form))
                missing -= 1
        if not missing:
            break
    return {name: found[label] for label, name in enumerate(wanted) if found[label]}


def mistakes(model_dir: str, split_uri: str, class_names: Sequence[str], form: ImageFormat) -> tuple[Mistake, ...]:
    """Returns mistakes: images for which the model predicts a wrong class with a high probability.

    At most 40 mistakes are selected: first the most probable one of every class, then the second of every class, and so
    on. They are returned with the highest probability first.

    Args:
        model_dir: A SavedModel as models/export.py exports it.
        split_uri: Folder of a split's examples.
        class_names: The names of the classes, in the order of the labels.
        form: The form of the network's images.

    Raises:
        DataError: There are no examples.
    """
    model = tf.saved_model.load(model_dir)  # a signature alone would not keep the variables of the model alive
    answer = model.signatures["serve_bytes"]
    found: list[_Wrong] = []
    for batch in _first(split_uri):
        probabilities = answer(image_bytes=tf.constant(batch["image"]))["probabilities"].numpy()
        # A mistake that is dropped here cannot be among the selected mistakes of all batches either.
        found = _surest([*found, *_wrong(batch, probabilities)])
    return tuple(
        Mistake(
            class_names[wrong.label],
            class_names[wrong.predicted],
            wrong.probability,
            thumbnail(wrong.encoded, form),
            wrong.id.decode(),
        )
        for wrong in sorted(found, key=_sure)
    )


@dataclasses.dataclass(frozen=True)
class _Wrong:
    """An example for which the model predicts a wrong class."""

    probability: float
    id: bytes
    label: int
    predicted: int
    encoded: bytes


def _wrong(batch: dict[str, np.ndarray], probabilities: np.ndarray) -> Iterator[_Wrong]:
    """Yields the examples of a batch for which the model predicts a wrong class."""
    predicted = probabilities.argmax(axis=1)
    for row in np.flatnonzero(predicted != batch["label"]):
        label = predicted[row]
        yield _Wrong(
            float(probabilities[row, label]), batch["id"][row], batch["label"][row], label, batch["image"][row]
        )


def _sure(wrong: _Wrong) -> tuple[float, bytes]:
    return -wrong.probability, wrong.id


def _surest(found: Sequence[_Wrong]) -> list[_Wrong]:
    """Returns the mistakes to show: the most probable one of each class, then the second of each class, and so on."""
    ranked, seen = [], collections.Counter()
    for wrong in sorted(found, key=_sure):
        ranked.append((seen[wrong.label], wrong))
        seen[wrong.label] += 1
    ranked.sort(key=lambda item: item[0])
    return [wrong for _, wrong in ranked[:_MISTAKES]]


def _first(split_uri: str) -> Iterator[dict[str, np.ndarray]]:
    """Yields the first LOOKED_AT examples, a batch at a time."""
    examples = read_examples(os.path.join(split_uri, "*"))
    return examples.unbatch().take(LOOKED_AT).batch(_BATCH).as_numpy_iterator()
