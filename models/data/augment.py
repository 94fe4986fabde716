"""Augmentation of whole batches, a pure function of the images and a key.

The recipe for small images is DARTS's, which the released code of MdeNAS keeps: a random crop of the image padded with
black, a mirror image half of the time and, after normalisation, cutout (arXiv 1708.04552). The usual recipe for photos,
as of ImageNet, takes a random part of the image instead, resized to the image's size (arXiv 1409.4842, section 6), and
changes brightness, contrast and saturation.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from models.settings import Search, Train

_LOG_RATIO = math.log(4 / 3)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Which random changes are made to training images.

    Attributes:
        pad: Pixels of black put around an image before a crop of its own size is taken; 0 for no crop.
        flip: Whether half of the images are mirrored left to right. Off where that changes the class, as for digits.
        cutout: Side in pixels of the square that is set to 0 after normalisation; 0 for none.
        crop_area: The smallest share of an image that a random part of it has; 1 for the whole image.
        jitter: The largest relative change of brightness, contrast and saturation; 0 for none.

    Raises:
        ValueError: A value is out of bounds.
    """

    pad: int = 0
    flip: bool = False
    cutout: int = 0
    crop_area: float = 1.0
    jitter: float = 0.0

    def __post_init__(self):
        for name in ("pad", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: found {getattr(self, name)}; expected 0 or more pixels.")
        if not 0 < self.crop_area <= 1:
            raise ValueError(f"crop_area: found {self.crop_area}; expected more than 0 and at most 1.")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter: found {self.jitter}; expected 0 or more and less than 1.")

    @classmethod
    def of(cls, recipe: Search | Train) -> Augmentation:
        """Returns the changes that a section of the settings asks for; a search has no settings for photos."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: getattr(recipe, name) for name in names if hasattr(recipe, name)})


def resized_crop(images: tf.Tensor, key: tf.Tensor, crop_area: float) -> tf.Tensor:
    """Takes a random part of each image and resizes it to the size of the image.

    Its area is uniform between the share `crop_area` and the whole, its aspect ratio is that of the image times 3/4 to
    4/3 (uniform logarithm), and its place is uniform. A side that would be longer than the image's is the image's.

    Args:
        images: (batch, height, width, channels), not normalised.
        key: int (2,), all there is to the randomness.
        crop_area: As in Augmentation.

    Returns:
        Images of the same shape: the same if `crop_area` is 1, else float32.
    """
    if crop_area == 1:
        return images
    batch, size = tf.shape(images)[0], images.shape[1:3]
    area = _uniform(batch, key, 4, crop_area, 1)
    stretch = tf.exp(_uniform(batch, key, 5, -_LOG_RATIO, _LOG_RATIO))
    height, width = (tf.minimum(tf.sqrt(side), 1) for side in (area / stretch, area * stretch))
    top, left = _uniform(batch, key, 6, 0, 1) * (1 - height), _uniform(batch, key, 7, 0, 1) * (1 - width)
    boxes = tf.stack([top, left, top + height, left + width], axis=1)
    return tf.ensure_shape(tf.image.crop_and_resize(images, boxes, tf.range(batch), size), images.shape)


def jitter(images: tf.Tensor, key: tf.Tensor, strength: float) -> tf.Tensor:
    """Changes brightness, then contrast, then saturation of each image, each by a factor of its own.

    Args:
        images: (batch, height, width, channels), not normalised, from 0 to 255. Only images of 3 channels have a
            saturation.
        key: int (2,), all there is to the randomness.
        strength: A factor is uniform between 1 - strength and 1 + strength.

    Returns:
        Images of the same shape: the same if `strength` is 0, else float32 from 0 to 255.
    """
    if not strength:
        return images
    batch = tf.shape(images)[0]
    brightness, contrast, saturation = (
        _uniform(batch, key, use, 1 - strength, 1 + strength)[:, None, None, None] for use in (8, 9, 10)
    )
    changed = tf.clip_by_value(tf.cast(images, tf.float32) * brightness, 0, 255)
    mean = tf.reduce_mean(_grey(changed), axis=(1, 2), keepdims=True)
    changed = tf.clip_by_value(mean + (changed - mean) * contrast, 0, 255)
    grey = _grey(changed)
    return tf.clip_by_value(grey + (changed - grey) * saturation, 0, 255)


def _grey(images):
    return tf.image.rgb_to_grayscale(images) if images.shape[-1] == 3 else images


def crop_and_flip(images: tf.Tensor, key: tf.Tensor, pad: int, flip: bool) -> tf.Tensor:
    """Takes a random crop of each padded image and mirrors half of them, as one gather of pixels.

    Args:
        images: (batch, height, width, channels), not normalised: the padding is 0, black.
        key: int (2,), all there is to the randomness.
        pad: As in Augmentation.
        flip: As in Augmentation.

    Returns:
        Images of the same shape and dtype.
    """
    if not pad and not flip:
        return images
    batch, (_, height, width, channels) = tf.shape(images)[0], images.shape
    padded = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    top, left = tf.unstack(_integers((2, batch, 1), key, 0, 2 * pad + 1))
    rows = top + tf.range(height)
    columns = left + tf.range(width)
    if flip:
        mirrored = _integers((batch, 1), key, 1, 2) == 1
        columns = tf.where(mirrored, columns[:, ::-1], columns)
    rows += tf.range(batch)[:, None] * (height + 2 * pad)  # the rows of all padded images, one after the other
    pixels = rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]
    return tf.ensure_shape(tf.gather(tf.reshape(padded, (-1, channels)), pixels), images.shape)


def cutout(images: tf.Tensor, key: tf.Tensor, side: int) -> tf.Tensor:
    """Sets a square of each image to 0. Its centre is any pixel, so the border may cut part of it off.

    Args:
        images: float (batch, height, width, channels), normalised.
        key: int (2,), all there is to the randomness.
        side: As in Augmentation.

    Returns:
        Images of the same shape and dtype.
    """
    if not side:
        return images
    batch, (_, height, width, _) = tf.shape(images)[0], images.shape
    rows = _outside(_integers((batch, 1), key, 2, height), height, side)
    columns = _outside(_integers((batch, 1), key, 3, width), width, side)
    return tf.where(rows[:, :, None, None] | columns[:, None, :, None], images, tf.zeros([], images.dtype))


def _outside(centre, length, side):
    """Returns which of `length` positions lie outside the `side` positions around each centre: (batch, length)."""
    first = centre - side // 2
    return (tf.range(length) < first) | (tf.range(length) >= first + side)


def _integers(shape, key, use, end):
    """Returns uniform integers from 0 to `end` - 1; each use of a key has numbers of its own."""
    # The algorithm is named, since the automatic choice depends on the device.
    key = tf.random.experimental.stateless_fold_in(key, use, alg="philox")
    return tf.random.stateless_uniform(shape, key, 0, end, dtype=tf.int32, alg="philox")


def _uniform(batch, key, use, low, high):
    """Returns uniform numbers, float32 (batch,); each use of a key has numbers of its own."""
    key = tf.random.experimental.stateless_fold_in(key, use, alg="philox")
    return tf.random.stateless_uniform((batch,), key, low, high, alg="philox")
