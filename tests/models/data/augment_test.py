"""Augmentation of batches."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from models.data.augment import Augmentation, crop_and_flip, cutout

KEY = tf.constant([1, 2], tf.int64)


def images(count, height=6, width=5, channels=3):
    """Images in which every pixel is another one, and none is black."""
    return np.arange(1, 1 + count * height * width * channels).reshape(count, height, width, channels)


def windows(image, pad):
    """Returns every crop of the padded image by its offset."""
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    offsets = range(2 * pad + 1)
    return {(top, left): padded[top : top + height, left : left + width] for top in offsets for left in offsets}


@pytest.mark.parametrize("flip", [False, True])
def test_each_image_becomes_a_crop_of_its_padded_self_each_offset_as_likely(flip):
    batch = images(2000)
    seen = collections.Counter()
    for image, crop in zip(batch, crop_and_flip(batch, KEY, 1, flip).numpy(), strict=True):
        matches = [
            (offset, mirrored)
            for offset, window in windows(image, 1).items()
            for mirrored in (False, True)
            if np.array_equal(window[:, ::-1] if mirrored else window, crop)
        ]
        assert len(matches) == 1
        seen.update(matches)
    kinds = 18 if flip else 9
    assert len(seen) == kinds
    assert all(mirrored <= flip for _, mirrored in seen)
    # Within 5 standard deviations of a multinomial's.
    assert max(abs(count - 2000 / kinds) for count in seen.values()) < 5 * np.sqrt(2000 / kinds)


def test_flipping_alone_mirrors_half_of_the_images():
    batch = images(1000)
    flipped = crop_and_flip(batch, KEY, 0, True).numpy()
    mirrored = [np.array_equal(image[:, ::-1], result) for image, result in zip(batch, flipped, strict=True)]
    same = [np.array_equal(image, result) for image, result in zip(batch, flipped, strict=True)]
    assert sum(mirrored) + sum(same) == 1000
    assert abs(sum(mirrored) - 500) < 80


def test_cutout_is_a_square_around_any_pixel_clipped_at_the_border():
    height, width, side = 8, 4, 4  # not coprime, so that rows and columns from the same numbers would show
    results = cutout(tf.ones((5000, height, width, 2)), KEY, side).numpy()
    expected = collections.Counter()
    for y in range(height):
        for x in range(width):
            mask = np.ones((height, width, 2), np.float32)
            mask[max(y - 2, 0) : y + 2, max(x - 2, 0) : x + 2] = 0
            expected[mask.tobytes()] += 5000 / (height * width)
    found = collections.Counter(result.tobytes() for result in results)
    assert found.keys() == expected.keys()
    assert all(abs(found[mask] - count) < 5 * np.sqrt(count) for mask, count in expected.items())


def test_an_odd_square_has_its_centre_in_the_middle():
    results = cutout(tf.ones((200, 9, 9, 1)), KEY, 3).numpy()[..., 0]
    assert {int(result.size - result.sum()) for result in results} == {4, 6, 9}


def test_nothing_is_changed_by_default():
    batch = tf.constant(images(3))
    nothing = Augmentation()
    assert crop_and_flip(batch, KEY, nothing.pad, nothing.flip) is batch
    assert cutout(batch, KEY, nothing.cutout) is batch


def test_the_key_alone_decides():
    batch = images(64)

    def augmented(key):
        crops = tf.cast(crop_and_flip(batch, tf.constant(key, tf.int64), 2, True), tf.float32)
        return cutout(crops, tf.constant(key, tf.int64), 3).numpy()

    np.testing.assert_array_equal(augmented([1, 2]), augmented([1, 2]))
    assert not np.array_equal(augmented([1, 2]), augmented([1, 3]))
    assert not np.array_equal(augmented([1, 2]), augmented([2, 2]))


@pytest.mark.parametrize("setting", ["pad", "cutout"])
def test_negative_settings_are_refused(setting):
    with pytest.raises(ValueError, match=f"{setting}: found -1; expected 0 or more pixels"):
        Augmentation(**{setting: -1})
