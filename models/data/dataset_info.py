"""What is known of an image data set as a whole: written beside its examples, read by whatever trains on them.

The file lies in the directory of the examples artifact, next to `Split-train` and its like, so
that it can be found from a split's files alone and travels with them.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from models.runtime.artifact_files import DATASET_INFO, ArtifactError


class DataError(ValueError):
    """The data, or what a config says of it, cannot be used; the message says what to change."""


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Per-channel statistics of pixel values scaled to [0, 1].

    Attributes:
        mean: One figure a channel.
        std: One figure a channel, above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Facts of a data set.

    Attributes:
        name: The data set's TFDS name, or the image folder.
        version: The TFDS version; empty for an image folder.
        class_names: Names of the classes, in the order of their labels.
        counts: Split name -> number of images per class.
        height: Least and greatest height in pixels over all splits, before any resizing.
        width: Least and greatest width in pixels, the same.
        channels: Least and greatest number of channels, 1 or 3 each; transparency is not counted.
        normalization: Number of channels (1 or 3) -> statistics of the images of train and val (together, as CIFAR-10's
            usual figures are), resized as they are trained on. Of the number that all are converted to; where none was
            given, the grey images count for 1 and the coloured ones for 3.
        seed: Seed of the cut between train and val.
        val_fraction: Share of each class's training images that is val, where the source has no val of its own.
        undecodable: (id, reason) of the images left out because they could not be decoded.
        test_fraction: Share of each class's images that is test, where the source has no test of its own.
        origins: Split name -> where its images come from, for a person to read.
        stored: What the examples hold of images that had to be resized: "resized" or "original".
        brightest: Greatest value, up to 65,535, in images of 16 bits a channel; 0 where there are none.
    """

    name: str
    version: str
    class_names: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    height: tuple[int, int]
    width: tuple[int, int]
    channels: tuple[int, int]
    normalization: Mapping[int, Normalization]
    seed: int
    val_fraction: float
    undecodable: tuple[tuple[str, str], ...] = ()
    test_fraction: float = 0.0
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stored: str = "original"
    brightest: int = 0

    def image_shape(self, image_size: int = 0, channels: int = 0) -> tuple[int, int, int]:
        """Returns the shape (height, width, channels) to train on.

        Args:
            image_size: Height and width to resize to, in pixels; 0 keeps the images' own size.
            channels: 1 or 3 to convert to; 0 keeps the images' own.

        Raises:
            DataError: The images differ and no common size or number of channels is given.
        """
        if not image_size and (self.height[0] != self.height[1] or self.width[0] != self.width[1]):
            raise DataError(
                f"The images differ in size (heights {_span(self.height)}, widths "
                f"{_span(self.width)}): give the size to train on as config.data.image_size."
            )
        if not channels and self.channels[0] != self.channels[1]:
            raise DataError(
                "Some images are grey (1 channel) and some coloured (3 channels): set "
                "config.data.channels to 1 or 3 to convert them all."
            )
        height, width = (image_size, image_size) if image_size else (self.height[0], self.width[0])
        return height, width, channels or self.channels[0]

    def save(self, directory: str | os.PathLike) -> None:
        """Writes the facts into the directory of an examples artifact; a reader never sees half of them."""
        DATASET_INFO.save(os.fspath(directory), dataclasses.asdict(self))


def load(directory: str | os.PathLike) -> DatasetInfo:
    """Reads the facts back from the directory of an examples artifact (`artifact.uri`).

    Raises:
        DataError: There is no such file there, or it is not one of ours.
    """
    try:
        return DATASET_INFO.load(os.fspath(directory), _parse)
    except ArtifactError as error:
        raise DataError(str(error)) from error


def _parse(document: dict[str, Any]) -> DatasetInfo:
    return DatasetInfo(
        **{
            **document,
            "class_names": tuple(document["class_names"]),
            "counts": {split: tuple(n) for split, n in document["counts"].items()},
            "height": tuple(document["height"]),
            "width": tuple(document["width"]),
            "channels": tuple(document["channels"]),
            "normalization": {
                int(channels): Normalization(tuple(n["mean"]), tuple(n["std"]))
                for channels, n in document["normalization"].items()
            },
            "undecodable": tuple((key, reason) for key, reason in document["undecodable"]),
        }
    )


def _span(values: Sequence[int]) -> str:
    return f"{values[0]} to {values[1]}"
