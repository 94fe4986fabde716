"""Images from examples, and batches of them."""

import itertools
import os
import time

import numpy as np
import pytest
import tensorflow as tf

from models.data import dataset
from models.data.dataset_info import DataError
from models.data.image_format import ImageFormat
from models.settings import Data
from tests.support import image_fixtures

DATA = Data(cache_mb=1)
AUGMENT = dataset.Augmentation(pad=2, flip=True, cutout=3)


def make_dataset(count=50, **changes):
    random = np.random.default_rng(0)
    fields = {
        "images": random.integers(0, 256, (count, 6, 5, 3), np.uint8),
        "labels": random.integers(0, 4, count, np.int32),
        "ids": np.array([b"%d" % number for number in range(count)]),
        "class_names": ("a", "b", "c", "d"),
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.3, 0.4),
    }
    return dataset.ImageDataset(**{**fields, **changes})


def numbered(count):
    """Images that all of one value each, its number, so that they can be told from one another."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 6, 5, 3))
    return make_dataset(count, images=np.ascontiguousarray(images), mean=(0.0,) * 3, std=(1 / 255,) * 3)


def listed(batches):
    return list(batches.as_numpy_iterator())


def numbers(batches):
    return [np.round(images[:, 0, 0, 0]).astype(int).tolist() for images, _ in listed(batches)]


def assert_equal(one, other):
    assert len(one) == len(other)
    for (images, labels), (other_images, other_labels) in zip(one, other, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_an_epoch_is_a_function_of_seed_and_epoch():
    def epoch(seed, number):
        # A new data set each time, as in another process.
        return listed(dataset.batches(make_dataset(), 8, seed=seed, epoch=number, augment=AUGMENT))

    assert_equal(epoch(0, 3), epoch(0, 3))
    for other in (epoch(0, 4), epoch(1, 3), epoch(3, 0)):
        assert not np.array_equal(epoch(0, 3)[0][0], other[0][0])


def test_an_epoch_shows_every_image_in_an_order_of_its_own():
    data = numbered(50)
    first, second = (list(itertools.chain(*numbers(dataset.batches(data, 8, epoch=epoch)))) for epoch in (0, 1))
    assert sorted(first[:50]) == sorted(second[:50]) == list(range(50))
    assert first[:50] != second[:50]
    assert first[:50] != list(range(50))


def test_epochs_of_a_part_of_the_images_take_all_of_them_in_turn():
    data = numbered(50)
    taken = [list(itertools.chain(*numbers(dataset.batches(data, 10, epoch=epoch, sample=20)))) for epoch in range(5)]
    assert [len(part) for part in taken] == [20] * 5
    in_turn = list(itertools.chain(*taken))
    assert sorted(in_turn[:50]) == sorted(in_turn[50:]) == list(range(50))
    # The whole epochs that they are parts of.
    assert in_turn[:50] == list(itertools.chain(*numbers(dataset.batches(data, 10, epoch=0))))
    assert in_turn[50:] == list(itertools.chain(*numbers(dataset.batches(data, 10, epoch=1))))
    more = numbers(dataset.batches(data, 10, epoch=1, sample=99))
    assert more == numbers(dataset.batches(data, 10, epoch=1))  # there are no more


def test_the_last_batch_of_a_part_is_filled_up_too():
    (first, last) = numbers(dataset.batches(numbered(50), 8, epoch=2, sample=13))
    assert len(set(first + last[:5])) == 13 and last[5:] == first[:3]


def test_each_step_has_random_numbers_of_its_own():
    image = np.random.default_rng(0).integers(0, 256, (1, 6, 5, 3), np.uint8)
    data = make_dataset(16, images=np.repeat(image, 16, axis=0))
    (first, _), (second, _) = listed(dataset.batches(data, 8, epoch=0, augment=AUGMENT))
    assert not np.array_equal(first, second)


def test_training_batches_have_one_size_the_last_filled_up_with_the_first_images():
    batches = dataset.batches(numbered(50), 8, epoch=0)
    assert len(batches) == 7
    found = numbers(batches)
    assert [len(batch) for batch in found] == [8] * 7
    assert found[6][2:] == found[0][:6]
    assert batches.element_spec[0].shape == (8, 6, 5, 3)
    assert batches.element_spec[1].shape == (8,)


def test_a_data_set_smaller_than_a_batch_is_one_batch():
    assert [sorted(batch) for batch in numbers(dataset.batches(numbered(5), 8, epoch=0))] == [list(range(5))]


def test_the_end_of_an_epoch_does_not_wait_for_a_thread_that_tunes_it():
    assert dataset.batches(numbered(5), 2, epoch=0).options().autotune.enabled is False


def test_a_machine_with_many_cores_does_not_hold_many_batches_in_memory(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    made = []
    images = dataset.EncodedImages(
        [tf.io.encode_png(np.zeros((6, 5, 3), np.uint8)).numpy()] * 60, ImageFormat((6, 5, 3))
    )
    encoded = images._encoded
    images._encoded = lambda indices: made.append(len(indices)) or encoded(indices)
    batches = iter(dataset.batches(make_dataset(60, images=images), 1))
    next(batches)
    # Nobody asks for more, so that no more are made once it is quiet.
    count = 0
    while len(made) > count:
        count = len(made)
        time.sleep(0.3)
    assert count <= 1 + dataset._PREFETCHED + dataset._PARALLEL + 1


def test_labels_stay_with_their_images():
    data = numbered(50)
    for images, labels in listed(dataset.batches(data, 8, epoch=2, augment=dataset.Augmentation(flip=True))):
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(labels, data.labels[np.round(images[:, 0, 0, 0]).astype(int)])


def test_one_hot_labels_say_the_same():
    plain, one_hot = (listed(dataset.batches(make_dataset(), 8, epoch=0, one_hot=one_hot)) for one_hot in (False, True))
    for (_, labels), (_, vectors) in zip(plain, one_hot, strict=True):
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors, np.eye(4)[labels])


@pytest.mark.parametrize("start", [0, 1, 6])
def test_an_epoch_resumed_in_the_middle_goes_on_as_it_would_have(start):
    whole = listed(dataset.batches(make_dataset(), 8, seed=1, epoch=2, augment=AUGMENT))
    rest = listed(dataset.batches(make_dataset(), 8, seed=1, epoch=2, augment=AUGMENT, start_step=start))
    assert_equal(rest, whole[start:])


@pytest.mark.parametrize(("count", "sizes"), [(50, [8, 7, 7, 7, 7, 7, 7]), (48, [8] * 6), (3, [3])])
def test_an_evaluation_takes_every_image_once_in_batches_of_even_size(count, sizes):
    found = numbers(dataset.batches(numbered(count), 8))
    assert [len(batch) for batch in found] == sizes
    assert list(itertools.chain(*found)) == list(range(count))


def test_images_are_normalised_before_cutout_and_after_the_crop():
    data = make_dataset()
    ((images, _),) = listed(dataset.batches(data, 50))
    np.testing.assert_allclose(images, (data.images / 255 - data.mean) / data.std, rtol=1e-4, atol=1e-5)
    ((cropped, _),) = listed(dataset.batches(data, 50, epoch=0, augment=dataset.Augmentation(pad=6)))
    black = -np.array(data.mean) / data.std
    assert np.isclose(cropped, black, atol=1e-6).all(-1).any()
    ((cut, _),) = listed(dataset.batches(data, 50, epoch=0, augment=dataset.Augmentation(cutout=3)))
    assert (cut == 0).all(-1).any()


@pytest.fixture
def images():
    """(id, label, file) of images of one size."""
    return [(f"train/{number:02}.png", number % 2, image_fixtures.encode(number)) for number in range(20)]


def write(directory, images):
    image_fixtures.write_examples(directory, {"train": images[::2], "val": images[1::2]})
    return [os.path.join(directory, split, "*") for split in ("Split-train", "Split-val")]


def test_splits_are_read_together_sorted_by_id(tmp_path, images):
    data = dataset.load_examples(write(tmp_path, images[::-1]), DATA)
    assert [name.decode() for name in data.ids] == [image_id for image_id, _, _ in images]
    assert data.labels.tolist() == [label for _, label, _ in images]
    assert data.image_shape == (8, 8, 3)
    assert data.class_names == ("cat", "dog")
    expected = [tf.io.decode_png(file) for _, _, file in images]
    np.testing.assert_array_equal(data.images, expected)


def test_it_does_not_matter_whether_images_are_kept_decoded(tmp_path, images):
    patterns = write(tmp_path, images)
    decoded, encoded = (dataset.load_examples(patterns, Data(cache_mb=megabytes)) for megabytes in (1, 0))
    assert isinstance(decoded.images, np.ndarray)
    assert isinstance(encoded.images, dataset.EncodedImages)
    assert decoded.image_shape == encoded.image_shape
    assert decoded.fingerprint == encoded.fingerprint
    assert_equal(*(listed(dataset.batches(data, 8, epoch=1, augment=AUGMENT)) for data in (decoded, encoded)))
    assert_equal(*(listed(dataset.batches(data, 8)) for data in (decoded, encoded)))


def test_images_are_resized_and_converted_on_request(tmp_path, images):
    data = dataset.load_examples(write(tmp_path, images), Data(cache_mb=1, image_size=4, channels=1))
    assert data.images.shape == (20, 4, 4, 1)
    assert (data.mean, data.std) == ((0.5,), (0.25,))


def test_fingerprint_tells_whether_training_would_see_the_same(tmp_path, images):
    def fingerprint(name, images, **settings):
        return dataset.load_examples(write(tmp_path / name, images), Data(cache_mb=1, **settings)).fingerprint

    first = fingerprint("first", images)
    assert fingerprint("shuffled", images[::-1]) == first
    for change in ({"image_size": 4}, {"channels": 1}, {"resize": "pad"}, {"background": "black"}):
        assert fingerprint(str(change), images, **change) != first
    image_id, label, file = images[0]
    assert fingerprint("relabelled", [(image_id, 1 - label, file), *images[1:]]) != first
    assert fingerprint("redrawn", [(image_id, label, image_fixtures.encode(99)), *images[1:]]) != first
    assert fingerprint("renamed", [("other", label, file), *images[1:]]) != first


def test_an_image_that_cannot_be_decoded_is_named(tmp_path, images):
    images[7] = ("train/07.png", 1, images[7][2][:50])
    with pytest.raises(DataError, match=r"train/07\.png cannot be decoded"):
        dataset.load_examples(write(tmp_path, images), DATA)


def test_missing_examples_are_named(tmp_path, images):
    patterns = write(tmp_path, images)
    with pytest.raises(DataError, match=r"no examples in .*Split-no/\*"):
        dataset.load_examples([str(tmp_path / "Split-no/*")], DATA)
    os.remove(tmp_path / "dataset_info.json")
    with pytest.raises(DataError, match=r"dataset_info\.json does not exist; run TfdsExampleGen again\."):
        dataset.load_examples(patterns, DATA)
    (tmp_path / "dataset_info.json").write_text('{"name": "cut off')
    with pytest.raises(DataError, match=r"dataset_info\.json is malformed"):
        dataset.load_examples(patterns, DATA)
