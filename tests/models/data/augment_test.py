"""Augmentation of batches."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from models.data.augment import Augmentation, crop_and_flip, cutout, jitter, resized_crop
from models.settings import Search, Train

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


def test_a_resized_crop_is_a_part_of_the_image_of_the_size_that_was_asked_for():
    height, width = 40, 60
    rows, columns = np.mgrid[0:height, 0:width]
    # The channels are the pixel's own row and column, so the corners of a crop say which part it is.
    batch = tf.constant(np.stack([rows, columns], -1)[None].repeat(3000, 0), tf.float32)
    crops = resized_crop(batch, KEY, 0.25).numpy()
    assert crops.shape == batch.shape
    first, last = crops[:, 0, 0], crops[:, -1, -1]
    assert first.min() >= -1e-3 and (last.max(axis=0) <= np.array([height - 1, width - 1]) + 1e-3).all()
    sides = (last - first) / np.array([height - 1, width - 1])
    area, ratio = sides.prod(axis=1), sides[:, 1] / sides[:, 0]
    assert 0.24 <= area.min() < 0.27 and area.max() > 0.9
    assert abs(area.mean() - 0.6) < 0.05  # a side that would be too long is clipped, else 0.625
    assert 0.74 < ratio.min() < 0.76 and 1.32 < ratio.max() < 1.34
    free = 1 - sides
    place = (first / np.array([height - 1, width - 1]))[free[:, 0] > 0.1, 0] / free[free[:, 0] > 0.1, 0]
    assert abs(place.mean() - 0.5) < 0.03 and place.min() < 0.05 and place.max() > 0.95
    assert np.array_equal(crops, resized_crop(batch, KEY, 0.25).numpy())


def test_the_whole_image_and_no_jitter_leave_the_bytes_as_they_are():
    batch = tf.constant(images(4) % 256, tf.uint8)
    assert resized_crop(batch, KEY, 1.0) is batch and jitter(batch, KEY, 0.0) is batch


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_changes_brightness_contrast_and_saturation_within_its_bounds(channels):
    # Half of each image is darker than the other half, and coloured if there are colours.
    pixels = np.full((2000, 4, 4, channels), 60.0, np.float32)
    pixels[:, :2] += 40
    pixels[..., 0] += 20 if channels == 3 else 0
    changed = jitter(tf.constant(pixels), KEY, 0.4).numpy()
    assert changed.min() >= 0 and changed.max() <= 255
    brightness = changed.mean(axis=(1, 2)).mean(axis=-1) / pixels.mean()
    contrast = (changed[:, 0, 0, -1] - changed[:, 3, 0, -1]) / 40 / brightness
    for factor in (brightness, contrast):
        assert 0.55 < factor.min() < 0.66 and 1.35 < factor.max() < 1.45 and abs(factor.mean() - 1) < 0.03
    if channels == 3:
        saturation = (changed[..., 0] - changed[..., 1]).mean(axis=(1, 2)) / 20 / brightness / contrast
        assert 0.55 < saturation.min() < 0.65 and 1.35 < saturation.max() < 1.45
    assert np.array_equal(changed, jitter(tf.constant(pixels), KEY, 0.4).numpy())


def test_the_recipe_of_a_training_has_photos_and_that_of_a_search_has_not():
    train = Augmentation.of(Train(pad=0, flip=False, cutout=3, crop_area=0.5, jitter=0.2))
    assert train == Augmentation(0, False, 3, 0.5, 0.2)
    assert Augmentation.of(Search(pad=2, flip=True, cutout=1)) == Augmentation(2, True, 1)


@pytest.mark.parametrize(("name", "value"), [("crop_area", 0.0), ("crop_area", 1.1), ("jitter", -0.1), ("jitter", 1.0)])
def test_an_impossible_change_of_a_photo_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: found {value}"):
        Augmentation(**{name: value})
