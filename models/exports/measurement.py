"""Exports a network and measures how fast each format runs on this device."""

import dataclasses
import tempfile
from collections.abc import Iterator

import keras
import numpy as np

from models import export
from models.costs import latency
from models.costs.latency import Latency
from models.data.image_format import ImageFormat
from models.exports import formats, verified

# The formats, and the images of a batch. A LiteRT model takes one image at a time.
_RUNS = ((formats.SAVED_MODEL, 1), (formats.SAVED_MODEL, 8), (formats.LITERT, 1), (formats.LITERT_INT8, 1))
# Random images for the calibration of int8: the ranges do not change the time.
_CALIBRATION = 8


@dataclasses.dataclass(frozen=True)
class Row:
    """The latency of a network in a format.

    Attributes:
        name: The format, or `formats.SAVED_MODEL`: TensorFlow's runtime.
        batch: The images of a batch.
        bytes: The size of the file or, for the SavedModel, of all its files.
        latency: The milliseconds of a batch.
    """

    name: str
    batch: int
    bytes: int
    latency: Latency


def measure(
    network: keras.Model, image_shape: tuple[int, int, int], classes: int, threads: int, seconds: float = 1.0
) -> list[Row]:
    """Returns the latency of a network, exported as it is, in each format.

    Args:
        network: A built classifier; trained or not.
        image_shape: (height, width, channels) of an image.
        classes: Number of classes.
        threads: The threads of LiteRT; TensorFlow takes those that `models.costs.runtimes.set_threads` has set.
        seconds: How long each row is measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        export.export_model(
            network,
            folder,
            image_format=ImageFormat(image_shape),
            class_names=[str(label) for label in range(classes)],
            mean=(0.5,) * image_shape[2],
            std=(0.25,) * image_shape[2],
        )
        return list(_rows(folder, image_shape, threads, seconds))


def _rows(folder: str, image_shape: tuple[int, int, int], threads: int, seconds: float) -> Iterator[Row]:
    images = np.random.default_rng(0).integers(0, 256, (_CALIBRATION, *image_shape)).astype(np.uint8)
    for name, batch in _RUNS:
        if name == formats.SAVED_MODEL:
            size, predict = verified.size(folder), formats.saved_model(folder)
        else:
            content = formats.FORMATS[name].convert(folder, images)
            size, predict = len(content), formats.FORMATS[name].load(content, threads)
        pixels = images[:batch].astype(np.float32)
        yield Row(name, batch, size, latency.measure(lambda run=predict, given=pixels: run(given), seconds))
