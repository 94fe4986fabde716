"""Which images train, validate and test: cuts by a hash of each image's id, within each class."""

import collections
import hashlib
from collections.abc import Mapping, Sequence

from models.data.dataset_info import DataError


def order_key(image_id: str, seed: int | str) -> int:
    """Returns the number that decides which part an image goes to: a hash of id and seed, so always the same."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{image_id}".encode()).digest()[:8], "big")


def part(count: int, fraction: float, kept: int = 1) -> int:
    """Returns how many of a class's images a cut takes: its share, at least one, but never the last ones.

    Args:
        count: Images of the class.
        fraction: The share, between 0 and 1.
        kept: Images that must be left.
    """
    return min(max(1, round(fraction * count)), max(count - kept, 0))


def cut(
    ids: Sequence[str], labels: Sequence[int], *, test_fraction: float, val_fraction: float, seed: int
) -> list[str]:
    """Cuts images into train, val and test, each class by itself.

    A class gives its share to each part: at least one image to train and to val, then one to test. The choice of images
    does not depend on their order. The choice for test does not depend on the seed either, so that models of several
    seeds are tested on images that none of them has seen.

    Args:
        ids: Ids of the images.
        labels: Their classes.
        test_fraction: Share of the images that goes to test; 0 for none.
        val_fraction: Share of the other images that goes to val; 0 for none.
        seed: Of the cut between train and val.

    Returns:
        The part of each image, in the order of the ids.
    """
    classes = collections.defaultdict(list)
    for position, label in enumerate(labels):
        classes[label].append(position)
    parts = ["train"] * len(ids)
    for positions in classes.values():
        if test_fraction:
            positions = _take(positions, part(len(positions), test_fraction, kept=2), "test", "test", ids, parts)
        if val_fraction:
            _take(positions, part(len(positions), val_fraction), "val", seed, ids, parts)
    return parts


def _take(positions, count, name, seed, ids, parts):
    """Names the part of those with the lowest keys; returns the positions of the others."""
    ordered = sorted(positions, key=lambda position: (order_key(ids[position], seed), ids[position]))
    for position in ordered[:count]:
        parts[position] = name
    return ordered[count:]


def refuse_small_classes(counts: Mapping[str, int]) -> None:
    """Sees to it that validation can be cut from the training images of each class.

    Args:
        counts: Class name -> training images.

    Raises:
        DataError: Some classes have fewer than two; all of them are named.
    """
    small = [f"{name} ({count})" for name, count in counts.items() if count < 2]
    if small:
        raise DataError(
            f"{len(small)} of {len(counts)} classes have fewer than 2 training images: {', '.join(small)}. Each class "
            "needs one to train on and one to validate with: add images, or remove the class."
        )
