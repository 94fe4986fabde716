"""The cut of images into train, val and test."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.tfds_example_gen import cut
from models.data import examples
from models.data.dataset_info import DataError


def images(counts):
    """Returns ids and labels as a folder has them, class by class."""
    ids = [f"class{label}/{number}.png" for label, count in enumerate(counts) for number in range(count)]
    return ids, [label for label, count in enumerate(counts) for _ in range(count)]


def cut_images(ids, labels, **arguments):
    """Returns the name of the part of each image."""
    return [examples.SPLITS[part] for part in cut.cut(ids, np.array(labels), **arguments)]


def sizes(counts, test_fraction=0.2, val_fraction=0.5, seed=0):
    """Returns for each class how many images are in train, val and test."""
    ids, labels = images(counts)
    parts = cut_images(ids, labels, test_fraction=test_fraction, val_fraction=val_fraction, seed=seed)
    found = collections.Counter(zip(labels, parts, strict=True))
    return [tuple(found[label, part] for part in examples.SPLITS) for label in range(len(counts))]


@pytest.mark.parametrize(
    ("counts", "fractions", "expected"),
    [
        ([2, 3, 4, 5, 10, 100], (0.2, 0.5), [(1, 1, 0), (1, 1, 1), (1, 2, 1), (2, 2, 1), (4, 4, 2), (40, 40, 20)]),
        ([2, 3, 10], (0, 0.5), [(1, 1, 0), (1, 2, 0), (5, 5, 0)]),
        ([1, 2, 10], (0, 0), [(1, 0, 0), (2, 0, 0), (10, 0, 0)]),
        ([2, 3, 10], (0.9, 0.9), [(1, 1, 0), (1, 1, 1), (1, 1, 8)]),
        ([2, 3, 10], (0.01, 0.01), [(1, 1, 0), (1, 1, 1), (8, 1, 1)]),
        ([10] * 102, (0.2, 0.2), [(6, 2, 2)] * 102),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_class_gives_its_share(counts, fractions, expected, seed):
    assert sizes(counts, *fractions, seed=seed) == expected


@settings(max_examples=200, deadline=None)
@given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=8),
    test_fraction=st.floats(0.001, 0.999),
    val_fraction=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**31 - 1),
)
def test_no_class_lacks_a_part(counts, test_fraction, val_fraction, seed):
    for count, (train, val, test) in zip(counts, sizes(counts, test_fraction, val_fraction, seed), strict=True):
        assert train + val + test == count
        assert train >= 1 and val >= 1
        assert test >= min(1, count - 2)
        assert abs(test - test_fraction * count) <= 2
        assert abs(val - val_fraction * (count - test)) <= 1


@settings(max_examples=50, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(random):
    ids, labels = images([5, 9])
    arguments = {"test_fraction": 0.3, "val_fraction": 0.4, "seed": 3}
    expected = dict(zip(ids, cut_images(ids, labels, **arguments), strict=True))
    pairs = list(zip(ids, labels, strict=True))
    random.shuffle(pairs)
    ids, labels = zip(*pairs, strict=True)
    assert dict(zip(ids, cut_images(ids, labels, **arguments), strict=True)) == expected


def parts(count=1000, **changed):
    ids, labels = images([count])
    found = cut_images(ids, labels, **{"test_fraction": 0.2, "val_fraction": 0.5, "seed": 0, **changed})
    return {part: {name for name, there in zip(ids, found, strict=True) if there == part} for part in examples.SPLITS}


def test_the_images_with_the_lowest_hashes_are_taken():
    """The cut must stay the same in all versions, or a model would be tested on images that it was trained on."""
    ids, labels = images([7, 5])
    assert cut_images(ids, labels, test_fraction=0.3, val_fraction=0.4, seed=3) == [
        *("test", "train", "val", "test", "val", "train", "train"),
        *("test", "val", "train", "test", "train"),
    ]


def test_another_seed_moves_val_but_not_test():
    assert parts(seed=1)["test"] == parts()["test"]
    assert 150 < len(parts(seed=1)["val"] - parts()["val"]) < 250  # half of 400


def test_a_larger_share_keeps_what_was_in_the_part():
    assert parts(val_fraction=0.3)["val"] < parts()["val"]
    assert parts(test_fraction=0.1)["test"] < parts()["test"]


def test_a_new_image_moves_one_other_of_each_part_at_most():
    for part in examples.SPLITS:
        assert len(parts()[part] - parts(1001)[part]) <= 2


def test_classes_that_cannot_be_cut_are_all_named():
    cut.refuse_small_classes({"cat": 2, "dog": 5})
    with pytest.raises(DataError, match=r"^2 of 3 classes have fewer than 2 training images: dog \(1\), fox \(0\)\."):
        cut.refuse_small_classes({"cat": 2, "dog": 1, "fox": 0})
