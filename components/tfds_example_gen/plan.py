"""Divides the images into shards, and writes them to a file, so that Beam's job need not contain a text per image.

The file lies in the temporary folder of the executor, beside the artifacts, where each worker finds it.
"""

import collections
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.data.examples import SPLITS

# Least and greatest number of images per shard, and the number of shards within these limits.
_SMALLEST, _LARGEST, _USUAL_NUMBER = 64, 1024, 64

Items = tuple[Sequence[str], np.ndarray]  # ids and int32 labels of images
Place = tuple[int, int]  # of a shard in the file: first byte and number of bytes


@dataclasses.dataclass(frozen=True)
class Shard:
    """Images at consecutive positions in the source.

    Attributes:
        split: The split of the source that contains the images: train, val or test.
        start: Index of the first image in that split.
        images: Id, label and part (train, val or test) of each image.
        files: Part -> name of the file for the examples of this part.
    """

    split: str
    start: int
    images: Sequence[tuple[str, int, str]]
    files: Mapping[str, str]


class Planned(NamedTuple):
    """What the driver remembers of a shard: its place, the names of its files, and the number of images in each."""

    place: Place
    files: Mapping[str, str]
    counts: Mapping[str, int]


def write(items: Mapping[str, Items], parts: Mapping[str, np.ndarray], path: str) -> list[Planned]:
    """Divides the images into shards and writes them.

    Args:
        items: Split of the source (train, val, test) -> its images.
        parts: The same keys -> the part of each image, as a place in SPLITS.
        path: The file.
    """
    pieces = [(split, piece) for split in items for piece in _pieces(len(parts[split]))]
    counts = [_count(parts[split][piece]) for split, piece in pieces]
    totals = collections.Counter(part for found in counts for part in found)
    numbers, planned, at = collections.Counter(), [], 0
    with tf.io.gfile.GFile(path, "wb") as file:
        for (split, piece), found in zip(pieces, counts, strict=True):
            files = {part: f"data_tfrecord-{numbers[part]:05}-of-{totals[part]:05}.gz" for part in sorted(found)}
            numbers.update(found.keys())
            ids, labels = items[split]
            names = [SPLITS[part] for part in parts[split][piece]]
            images = list(zip(ids[piece], labels[piece].tolist(), names, strict=True))
            text = json.dumps(dataclasses.astuple(Shard(split, piece.start, images, files))).encode()
            file.write(text)
            planned.append(Planned((at, len(text)), files, found))
            at += len(text)
    return planned


def read(path: str, place: Place) -> Shard:
    """Returns the shard at a place in the file."""
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(place[0])
        return Shard(*json.loads(file.read(place[1])))


def written(planned: Sequence[Planned], directories: Mapping[str, str]) -> int:
    """Returns the number of images whose example file is finished.

    Images that cannot be decoded are counted too, although the file does not contain them.

    Args:
        planned: The shards to write.
        directories: train, val and test -> the folder for the examples of this part.
    """
    finished = {part: set(tf.io.gfile.listdir(directory)) for part, directory in directories.items()}
    return sum(
        count for shard in planned for part, count in shard.counts.items() if shard.files[part] in finished[part]
    )


def _pieces(count: int) -> Iterator[slice]:
    size = min(_LARGEST, max(_SMALLEST, -(-count // _USUAL_NUMBER)))
    return (slice(start, start + size) for start in range(0, count, size))


def _count(parts: np.ndarray) -> dict[str, int]:
    """Returns part -> number of images, for the parts that have some."""
    counts = np.bincount(parts, minlength=len(SPLITS)).tolist()
    return {part: count for part, count in zip(SPLITS, counts, strict=True) if count}
