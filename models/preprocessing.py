"""From encoded bytes to what a network sees: the same functions in training, evaluation and serving.

Everything here is a pure function of tensors, so that it can be part of a SavedModel's signature.
"""

from collections.abc import Sequence

import tensorflow as tf


def decode_image(encoded: tf.Tensor, image_shape: Sequence[int]) -> tf.Tensor:
    """Decodes one image and brings it to a shape.

    An image of another size is resized bilinearly, antialiased where it shrinks, after its edges were cut off evenly
    where its aspect ratio is another: nothing is distorted.

    Args:
        encoded: String scalar, a PNG or JPEG file's bytes (GIF and BMP are understood too).
        image_shape: Height and width in pixels and channels, 1 or 3; colours are converted, transparency is dropped.

    Returns:
        uint8 (height, width, channels).

    Raises:
        tf.errors.InvalidArgumentError: The bytes are not a whole image.
    """
    height, width, channels = image_shape
    image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
    fits = tf.reduce_all(tf.equal(tf.shape(image)[:2], (height, width)))
    image = tf.cond(fits, lambda: image, lambda: _resize(image, height, width))
    return tf.ensure_shape(image, (height, width, channels))


def decode_images(encoded: tf.Tensor, image_shape: Sequence[int]) -> tf.Tensor:
    """Decodes a batch of images, each as `decode_image` does.

    Args:
        encoded: Strings (batch,).
        image_shape: Height, width, channels.

    Returns:
        uint8 (batch, height, width, channels).
    """
    return tf.map_fn(
        lambda image: decode_image(image, image_shape),
        encoded,
        fn_output_signature=tf.TensorSpec(tuple(image_shape), tf.uint8),
    )


def normalise(images: tf.Tensor, mean: Sequence[float], std: Sequence[float]) -> tf.Tensor:
    """Scales pixel values from 0 to 255 to mean 0 and standard deviation 1.

    Args:
        images: uint8 or float (..., channels).
        mean: The mean of each channel in the training images, on the scale 0 to 1.
        std: The standard deviation of each channel, on the same scale.

    Returns:
        float32 (..., channels).
    """
    mean, std = (tf.constant(values, tf.float32) for values in (mean, std))
    return (tf.cast(images, tf.float32) / 255.0 - mean) / std


def _resize(image, height, width):
    found_height, found_width = tf.shape(image)[0], tf.shape(image)[1]
    # The largest centred part of the wanted aspect ratio; in integers, so that an equal ratio loses nothing.
    part_height = tf.clip_by_value(found_width * height // width, 1, found_height)
    part_width = tf.clip_by_value(found_height * width // height, 1, found_width)
    top, left = (found_height - part_height) // 2, (found_width - part_width) // 2
    part = image[top : top + part_height, left : left + part_width]
    resized = tf.image.resize(part, (height, width), method="bilinear", antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8)
