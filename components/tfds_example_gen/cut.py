"""Cuts images into train, val and test, by a hash of each image's id, within each class."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from models.data.dataset_info import DataError
from models.data.examples import SPLITS


def order_keys(ids: Iterable[str], seed: int | str) -> np.ndarray:
    """Returns what decides to which part each image belongs: a hash of id and seed, so it never changes.

    Returns:
        uint64 (images, 2): the first 16 bytes of the hash as two numbers, the more significant one first.
    """
    keys = bytearray()
    for image_id in ids:
        keys += hashlib.sha256(f"{seed}/{image_id}".encode()).digest()[:16]
    return np.frombuffer(bytes(keys), ">u8").reshape(-1, 2)


def part(count: int, fraction: float, kept: int = 1) -> int:
    """Returns the number of images that a cut takes from a class.

    This is the given share, but at least one image, and never so many that fewer than `kept` images remain.

    Args:
        count: Number of images of the class.
        fraction: The share, between 0 and 1.
        kept: Number of images that must be left.
    """
    return min(max(1, round(fraction * count)), max(count - kept, 0))


def cut(ids: Sequence[str], labels: np.ndarray, *, test_fraction: float, val_fraction: float, seed: int) -> np.ndarray:
    """Cuts images into train, val and test, each class by itself.

    A class gives its share to each part: at least one image to train and one to val, and at least one to test if the
    class has three or more. The result does not depend on the order of the images. The images of test do not depend on
    the seed either, so that models of several seeds are tested on images that none of them has seen.

    Args:
        ids: Ids of the images.
        labels: Labels of the images, int (images,).
        test_fraction: Share of the images that goes to test; 0 for none.
        val_fraction: Share of the remaining images that goes to val; 0 for none.
        seed: The seed of the cut between train and val.

    Returns:
        The part of each image as a place in SPLITS, in the order of the ids: int8 (images,).
    """
    parts = np.full(len(ids), SPLITS.index("train"), np.int8)
    by_class = np.argsort(labels, kind="stable")
    for positions in np.split(by_class, np.flatnonzero(np.diff(labels[by_class])) + 1):
        if test_fraction:
            positions = _take(positions, part(len(positions), test_fraction, kept=2), "test", "test", ids, parts)
        if val_fraction:
            _take(positions, part(len(positions), val_fraction), "val", seed, ids, parts)
    return parts


def _take(positions, count, name, seed, ids, parts):
    """Assigns the images with the lowest keys to a part; returns the positions of the others."""
    keys = order_keys((ids[position] for position in positions), seed)
    ordered = positions[np.lexsort((keys[:, 1], keys[:, 0]))]
    parts[ordered[:count]] = SPLITS.index(name)
    return ordered[count:]


def refuse_small_classes(counts: Mapping[str, int]) -> None:
    """Checks that each class has enough training images to cut val from them.

    Args:
        counts: Class name -> number of training images.

    Raises:
        DataError: Some classes have fewer than two; the message names all of them.
    """
    small = [f"{name} ({count})" for name, count in counts.items() if count < 2]
    if small:
        raise DataError(
            f"{len(small)} of {len(counts)} classes have fewer than 2 training images: {', '.join(small)}. Each class "
            "needs an image for train and an image for val: add images, or remove the class."
        )
