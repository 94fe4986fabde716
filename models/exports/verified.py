"""Converts a model and verifies each converted file against the SavedModel on test images, before the file counts."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models.costs import latency
from models.costs.latency import Latency
from models.data.dataset import ImageDataset
from models.exports import formats
from models.runtime.messages import some

# The largest difference of a probability between an exact format and the SavedModel.
TOLERANCE = 1e-4
# A file is broken if its class differs from the SavedModel's on more than this share of the test images for which a
# constant answer, the SavedModel's most frequent class, differs from it.
LARGEST_DISAGREEMENT = 0.5
# Test images that each file classifies at most: LiteRT takes them one by one.
MOST_IMAGES = 2000
# An accuracy that falls by more gives a warning.
LARGE_DROP = 0.01
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Export:
    """A file of the model, and the figures of its verification.

    Attributes:
        name: The format, or `formats.SAVED_MODEL`.
        bytes: The size of the file or, for the SavedModel, of all its files.
        accuracy: The accuracy on `images` test images; None if the file was refused.
        images: The number of these images, the same for all formats.
        max_difference: The largest difference of a probability from the SavedModel's; None if there is no file.
        latency: The milliseconds of one image; None if the file was refused.
        refused: Why the file does not count and was not written; "" if it counts.
    """

    name: str
    bytes: int
    accuracy: float | None
    images: int
    max_difference: float | None
    latency: Latency | None
    refused: str = ""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Export":
        """Returns the export of a JSON document."""
        measured = document["latency"]
        return cls(**{**document, "latency": measured and Latency(**measured)})

    def drop(self, saved_model: "Export") -> float:
        """Returns by how much the accuracy is lower than the SavedModel's; 0 if the file was refused."""
        if self.accuracy is None or saved_model.accuracy is None:
            return 0.0
        return saved_model.accuracy - self.accuracy


def export(
    model_dir: str,
    names: Sequence[str],
    test: ImageDataset,
    calibration: ImageDataset,
    *,
    calibration_images: int,
    threads: int,
    seed: int,
    save: Callable[[str, bytes], None],
) -> list[Export]:
    """Converts a model to some formats.

    Args:
        model_dir: The folder of the SavedModel.
        names: The formats: keys of `formats.FORMATS`.
        test: The test images.
        calibration: The images from which those for the calibration of int8 are drawn.
        calibration_images: The number of images for the calibration.
        threads: The number of threads of the converted models.
        seed: Decides which images are drawn. The order of the data set, which may be sorted by class, has no effect.
        save: Takes the format and the content of a file that counts.

    Returns:
        The SavedModel, then the formats.
    """
    chosen = _draw(len(test), MOST_IMAGES, seed)
    pixels, labels = _pixels(test, chosen), test.labels[chosen]
    drawn = _pixels(calibration, _draw(len(calibration), calibration_images, seed))
    predict = formats.saved_model(model_dir)
    expected = _classify(predict, pixels)
    rows = [_figures(formats.SAVED_MODEL, size(model_dir), predict, expected, expected, labels, pixels)]
    for name in names:
        chosen_format = formats.FORMATS[name]
        try:
            content = chosen_format.convert(model_dir, drawn)
            predict = chosen_format.load(content, threads)
            found = _classify(predict, pixels)
        except Exception as error:  # converters raise many different classes
            told = " ".join(str(error).split())[:300]
            rows.append(Export(name, 0, None, len(labels), None, None, f"the conversion failed: {told}"))
            continue
        row = _figures(name, len(content), predict, found, expected, labels, pixels)
        refused = _unequal(row.max_difference) if chosen_format.exact else _unlike(found, expected)
        if refused:
            row = dataclasses.replace(row, accuracy=None, latency=None, refused=refused)
        else:
            save(name, content)
        rows.append(row)
    return rows


def warnings(rows: Sequence[Export]) -> list[str]:
    """Returns a sentence for each file that was refused or that is clearly less accurate."""
    saved_model, *others = rows
    told = [f"config.export.formats: {row.name} was not written: {row.refused}." for row in others if row.refused]
    dropped = [f"{row.name} by {row.drop(saved_model):.4f}" for row in others if row.drop(saved_model) > LARGE_DROP]
    if dropped:
        told.append(
            f"The accuracy is lower than the SavedModel's: {some(dropped, 3)}. For int8, more or other images for the "
            "calibration may help (config.export.calibration_images)."
        )
    return told


def _unequal(difference: float) -> str:
    """Returns why probabilities are not those of the SavedModel; "" if they are."""
    if difference <= TOLERANCE:
        return ""
    return f"a probability differs from the SavedModel's by {difference:.2g}, more than {TOLERANCE:g}"


def _unlike(found: np.ndarray, expected: np.ndarray) -> str:
    """Returns why classes are not similar enough to those of the SavedModel; "" if they are."""
    classes = expected.argmax(axis=1)
    differ, constant = np.sum(found.argmax(axis=1) != classes), len(classes) - np.bincount(classes).max()
    if differ <= LARGEST_DISAGREEMENT * constant:
        return ""
    return (
        f"its class differs from the SavedModel's on {differ} of {len(classes)} test images; always answering the "
        f"SavedModel's most frequent class would differ on {constant}"
    )


def _draw(count: int, most: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def _pixels(images: ImageDataset, chosen: np.ndarray) -> np.ndarray:
    return np.concatenate([images.take(part).numpy() for part in _parts(chosen)])


def _parts(values: np.ndarray) -> list[np.ndarray]:
    return [values[start : start + _BATCH] for start in range(0, len(values), _BATCH)]


def _classify(predict: formats.Predict, pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([predict(part) for part in _parts(pixels)])


def _figures(
    name: str,
    size: int,
    predict: formats.Predict,
    found: np.ndarray,
    expected: np.ndarray,
    labels: np.ndarray,
    pixels: np.ndarray,
) -> Export:
    return Export(
        name=name,
        bytes=size,
        accuracy=float(np.mean(found.argmax(axis=1) == labels)),
        images=len(labels),
        max_difference=float(np.abs(found - expected).max()),
        latency=latency.measure(lambda: predict(pixels[:1])),
    )


def size(folder: str) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(
        tf.io.gfile.stat(os.path.join(parent, file)).length
        for parent, _, files in tf.io.gfile.walk(folder)
        for file in files
    )
