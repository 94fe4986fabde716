"""From encoded bytes to what a network sees: the same functions in ingest, training, evaluation and serving.

Everything here is a pure function of tensors, so that it can be part of a SavedModel's signature, and gives the same
bits wherever it runs. Read are PNG, JPEG, BMP and GIF files (the first picture), whatever their names: turned as EXIF
says, laid over a background where they are transparent, 16 bits scaled to 8, always in colours first and made grey at
the end. `models/data/image_file.py` says in words why a file cannot be read.
"""

import functools
from collections.abc import Sequence

import tensorflow as tf

from models.data import image_header
from models.data.image_format import ImageFormat

_RATIOS = (1, 2, 4, 8)  # scales at which a JPEG can be decoded
_MAX_SIDE = 8192  # pixels, of a JPEG that is decoded without a look at what else its header says
_ALL = 2**31 - 1  # bytes: more than a string has


def decode_image(encoded: tf.Tensor, image_format: ImageFormat) -> tf.Tensor:
    """Decodes one image and brings it to the form that a network gets.

    An image of another size is resized bilinearly, antialiased where it shrinks. A JPEG that is to become much smaller
    is decoded at 1/2, 1/4 or 1/8 of its size, but at twice the final size or more.

    Args:
        encoded: String scalar, an image file's bytes.
        image_format: Shape, what becomes of another aspect ratio, and the background.

    Returns:
        uint8 (height, width, channels).

    Raises:
        tf.errors.InvalidArgumentError: The bytes are not a whole image that can be read.
    """
    height, width, channels = image_format.image_shape
    image = read_image(encoded, image_format.background, (height, width))
    fits = tf.reduce_all(tf.equal(tf.shape(image)[:2], (height, width)))
    image = tf.cond(fits, lambda: image, lambda: _resize(image, image_format))
    image = tf.ensure_shape(image, (height, width, 3))
    return grey(image) if channels == 1 else image


def decode_images(encoded: tf.Tensor, image_format: ImageFormat) -> tf.Tensor:
    """Decodes a batch of images, each as `decode_image` does.

    Args:
        encoded: Strings (batch,).
        image_format: As `decode_image` takes it.

    Returns:
        uint8 (batch, height, width, channels).
    """
    return tf.map_fn(
        lambda image: decode_image(image, image_format),
        encoded,
        fn_output_signature=tf.TensorSpec(image_format.image_shape, tf.uint8),
    )


def read_image(encoded: tf.Tensor, background: Sequence[int], at_least: tuple[int, int] | None = None) -> tf.Tensor:
    """Decodes the whole picture in colours.

    Args:
        encoded: String scalar, an image file's bytes.
        background: Red, green and blue, 0 to 255 each, behind transparent pixels.
        at_least: Height and width in pixels that the picture will be resized to. A JPEG may then come at 1/2, 1/4 or
            1/8 of its size, as long as both sides are at least twice as long as that. None: at its own size.

    Returns:
        uint8 (height, width, 3).

    Raises:
        tf.errors.InvalidArgumentError: The bytes are not a whole image that can be read.
    """
    encoded = tf.convert_to_tensor(encoded)
    any_file = _any_file(tuple(background), at_least)

    def png():
        return tf.io.decode_png(encoded, channels=3)

    def jpeg():
        size = tf.io.extract_jpeg_shape(encoded)[:2]
        fits = tf.reduce_all(size <= _MAX_SIDE)
        return tf.cond(fits, lambda: _jpeg(encoded, size, at_least), lambda: any_file(encoded))

    image = tf.switch_case(image_header.plain(encoded), [png, png, jpeg, lambda: any_file(encoded)])
    return tf.ensure_shape(image, (None, None, 3))


def brightest(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the greatest value of any channel in a PNG with 16 bits, before it is scaled: int32 scalar, to 65,535.

    A data set whose pictures use a small part of that range, such as 12 bits kept in 16, would come out nearly black.
    No single picture tells: a night sky may be dark.

    Args:
        encoded: String scalar, the file's bytes.
    """
    pixels = tf.io.decode_png(encoded, channels=3, dtype=tf.uint16)
    return tf.reduce_max(tf.cast(pixels, tf.int32))


def grey(images: tf.Tensor) -> tf.Tensor:
    """Returns the brightness of colours by Rec. 601, in integers, so that grey stays as it is, bit for bit.

    Args:
        images: uint8 (..., 3).

    Returns:
        uint8 (..., 1).
    """
    weighted = tf.cast(images, tf.int32) * (299, 587, 114)
    return tf.cast((tf.reduce_sum(weighted, axis=-1, keepdims=True) + 500) // 1000, tf.uint8)


def normalise(images: tf.Tensor, mean: Sequence[float], std: Sequence[float]) -> tf.Tensor:
    """Scales pixel values from 0 to 255 to mean 0 and standard deviation 1.

    Args:
        images: uint8 or float (..., channels).
        mean: The mean of each channel in the training images, on the scale 0 to 1.
        std: The standard deviation of each channel, on the same scale.

    Returns:
        float32 (..., channels).
    """
    means, deviations = (tf.constant(values, tf.float32) for values in (mean, std))
    return (tf.cast(images, tf.float32) / 255.0 - mean) / std


@functools.cache
def _any_file(background, at_least):
    """Returns what reads files of all kinds; traced once, not inlined: whoever does not need it pays nothing."""
    return tf.function(
        lambda encoded: _read(encoded, background, at_least),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


def _read(encoded, background, at_least):
    header = image_header.checked(encoded)
    decoders = {
        "PNG": lambda: _png(encoded, header.depth, background),
        "JPEG": lambda: _jpeg(encoded, header.size(), at_least),
        "GIF": lambda: _gif(encoded, background),
        "BMP": lambda: _bmp(encoded, background),
    }
    image = tf.switch_case(header.kind, [decoders[kind] for kind in image_header.KINDS])
    return tf.cond(header.orientation > 1, lambda: _turn(image, header.orientation), lambda: image)


def _png(encoded, depth, background):
    def from_sixteen():
        values = tf.cast(tf.io.decode_png(encoded, channels=4, dtype=tf.uint16), tf.int32)
        return tf.cast((values + 128) // 257, tf.uint8)  # values * 255 / 65535, rounded

    def from_fewer():
        pixels = tf.io.decode_png(encoded, channels=4)
        colours, alpha = pixels[..., :3], pixels[..., 3:]
        # The decoder makes the alpha that it adds to 1, 2 or 4 bits no greater than they go.
        opaque = tf.reduce_max(alpha) == tf.cast(tf.bitwise.left_shift(1, depth) - 1, tf.uint8)
        return tf.concat([colours, tf.where(opaque, tf.constant(255, tf.uint8), alpha)], axis=-1)

    which = tf.cast(depth < 8, tf.int32) + 2 * tf.cast(depth > 8, tf.int32)
    pixels = tf.switch_case(which, [lambda: tf.io.decode_png(encoded, channels=4), from_fewer, from_sixteen])
    return _compose(pixels, background)


def _jpeg(encoded, size, at_least):
    if at_least is None:
        return _decode_jpeg(encoded, 1)
    scale = tf.reduce_min(size // (2 * tf.constant(at_least)))
    ratio = tf.reduce_sum(tf.cast(scale >= _RATIOS[1:], tf.int32))
    return tf.switch_case(ratio, [lambda ratio=ratio: _decode_jpeg(encoded, ratio) for ratio in _RATIOS])


def _decode_jpeg(encoded, ratio):
    # The exact method is Pillow's, and the same on all machines.
    return tf.io.decode_jpeg(encoded, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def _gif(encoded, background):
    _, control, colour = image_header.gif_places(encoded)

    def opaque():
        # The decoder paints transparent pixels black: so their colour becomes the background's, and the mark goes.
        return _overwrite(_overwrite(encoded, colour, bytes(background)), control, b"\0")

    encoded = tf.cond(control >= 0, opaque, lambda: encoded)
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def _overwrite(text, at, new):
    before, after = tf.strings.substr(text, 0, at), tf.strings.substr(text, at + len(new), _ALL)
    return tf.strings.join([before, new, after])


def _bmp(encoded, background):
    # The decoder refuses what follows the pixels.
    pixels = tf.io.decode_bmp(tf.strings.substr(encoded, 0, image_header.bmp_end(encoded)), channels=0)

    def of_palette():
        return tf.gather(image_header.bmp_palette(encoded), tf.cast(pixels[..., 0], tf.int32))

    def of_alpha():
        return tf.cond(
            image_header.bmp_has_alpha(encoded), lambda: _compose(pixels, background), lambda: pixels[..., :3]
        )

    return tf.switch_case(tf.shape(pixels)[-1] // 2, [of_palette, lambda: pixels, of_alpha])


def _compose(pixels, background):
    """Lays uint8 (height, width, 4) over the background; what is opaque stays as it is, bit for bit."""
    colours, alpha = pixels[..., :3], pixels[..., 3:]

    def mixed():
        front, share = tf.cast(colours, tf.int32), tf.cast(alpha, tf.int32)
        return tf.cast((front * share + tf.constant(background) * (255 - share) + 127) // 255, tf.uint8)

    return tf.cond(tf.reduce_all(tf.equal(alpha, 255)), lambda: colours, mixed)


def _turn(image, orientation):
    """Turns and mirrors a picture as its EXIF orientation, 1 to 8, says."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    down, right = (
        tf.where(tf.reduce_any(tf.equal(orientation, which)), -1, 1) for which in ((3, 4, 7, 8), (2, 3, 6, 7))
    )
    return image[::down, ::right]


def _resize(image, image_format):
    height, width, _ = image_format.image_shape
    found_height, found_width = tf.shape(image)[0], tf.shape(image)[1]
    part, size = image, (height, width)
    if image_format.resize == "crop":
        # The largest centred part of the wanted aspect ratio; in integers, so that an equal ratio loses nothing.
        part_height = tf.clip_by_value(found_width * height // width, 1, found_height)
        part_width = tf.clip_by_value(found_height * width // height, 1, found_width)
        top, left = (found_height - part_height) // 2, (found_width - part_width) // 2
        part = image[top : top + part_height, left : left + part_width]
    elif image_format.resize == "pad":
        size = (
            tf.clip_by_value(found_height * width // found_width, 1, height),
            tf.clip_by_value(found_width * height // found_height, 1, width),
        )
    resized = tf.image.resize(part, size, method="bilinear", antialias=True)
    resized = tf.saturate_cast(tf.round(resized), tf.uint8)
    return _pad(resized, image_format) if image_format.resize == "pad" else resized


def _pad(image, image_format):
    """Puts even bars of the background around an image, up to the shape wanted."""
    height, width, _ = image_format.image_shape
    missing = (height, width) - tf.shape(image)[:2]
    before = missing // 2
    inside = tf.pad(tf.ones_like(image[..., :1], tf.bool), _around(before, missing - before))
    image = tf.pad(image, _around(before, missing - before))
    return tf.where(inside, image, tf.constant(image_format.background, tf.uint8))


def _around(before, after):
    return tf.pad(tf.stack([before, after], axis=1), [[0, 1], [0, 0]])
