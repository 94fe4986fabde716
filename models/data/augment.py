"""Augmentation of whole batches, a pure function of the images and a key.

The recipe is DARTS's, which the released code of MdeNAS keeps: a random crop of the image padded with black, a mirror
image half of the time and, after normalisation, cutout (arXiv 1708.04552).
"""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Which random changes are made to training images.

    Attributes:
        pad: Pixels of black put around an image before a crop of its own size is taken; 0 for no crop.
        flip: Whether half of the images are mirrored left to right. Off where that changes the class, as for digits.
        cutout: Side in pixels of the square that is set to 0 after normalisation; 0 for none.

    Raises:
        ValueError: `pad` or `cutout` is below 0.
    """

    pad: int = 0
    flip: bool = False
    cutout: int = 0

    def __post_init__(self):
        for name in ("pad", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: found {getattr(self, name)}; expected 0 or more pixels.")


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
