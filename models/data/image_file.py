"""What an image file is and, in words, why it cannot be read: for whoever brings images in."""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.data import image_header, preprocessing
from models.data.image_format import ImageFormat

# Formats that people have and that are refused, by how their files begin; "?" stands for any byte.
_REFUSED = (
    ("WebP", b"RIFF????WEBP"),
    ("TIFF", b"II*\0"),
    ("TIFF", b"MM\0*"),
    ("TIFF", b"II+\0"),
    ("TIFF", b"MM\0+"),
    ("AVIF", b"????ftypavi"),
    ("HEIC", b"????ftyphe"),
    ("HEIC", b"????ftypm??1"),
    ("JPEG 2000", b"\0\0\0\x0cjP  "),
    ("JPEG XL", b"\0\0\0\x0cJXL "),
    ("JPEG XL", b"\xff\x0a"),
    ("Photoshop", b"8BPS"),
    ("PDF", b"%PDF"),
    ("SVG", b"<svg"),
)
_DAMAGED = "the file is damaged or cut off"


class UnreadableImage(ValueError):
    """A file is not an image that can be read; the message is a plain reason, without the file's name."""


class Header(NamedTuple):
    """Facts of an image file.

    Attributes:
        kind: "PNG", "JPEG", "GIF" or "BMP".
        height: In pixels, after the picture was turned as EXIF says.
        width: In pixels.
        channels: 1 for a grey picture, 3 for a coloured one; transparency is not counted.
        sixteen_bit: Whether a channel has 16 bits. `preprocessing.brightest` then tells how much of their range is
            used, which a data set has to answer for as a whole.
    """

    kind: str
    height: int
    width: int
    channels: int
    sixteen_bit: bool


class Picture(NamedTuple):
    """What a file says of itself, and its pixels: uint8 (height, width, channels)."""

    header: Header
    pixels: np.ndarray


def inspect(encoded: bytes) -> Header:
    """Reads an image file's header, with the operations that a served model reads it with.

    Raises:
        UnreadableImage: The file is refused by its header alone.
    """
    try:
        return _header(_inspector(encoded).numpy(), encoded)
    except tf.errors.InvalidArgumentError:
        raise UnreadableImage(_DAMAGED) from None


def read(encoded: bytes, background: tuple[int, int, int]) -> Picture:
    """Decodes a picture as `preprocessing.read_image` does, at its own size: uint8 (height, width, 3).

    Raises:
        UnreadableImage: The file is not a whole image that can be read.
    """
    return _picture(_reader(background), encoded)


def decode(encoded: bytes, image_format: ImageFormat) -> Picture:
    """Decodes a picture as `preprocessing.decode_image` does: uint8 (height, width, channels).

    Raises:
        UnreadableImage: The file is not a whole image that can be read.
    """
    return _picture(_decoder(image_format), encoded)


def brightest(encoded: bytes) -> int:
    """Returns what `preprocessing.brightest` does, of a PNG with 16 bits that was decoded before."""
    return int(_brightest(encoded))


def _function(function):
    return tf.function(function, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)


def _facts(encoded):
    """Kind, height, width, channels, depth and fault; the most usual kinds of files take a short way."""

    def facts(kind, size, channels, depth=8, fault=0):
        return tf.stack([kind, *tf.unstack(size), channels, depth, fault])

    def usual(kind, height, width, channels):
        pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
        return tf.cond(
            (pixels > 0) & (pixels <= image_header.MAX_PIXELS),
            lambda: facts(image_header.KINDS.index(kind), (height, width), channels),
            others,
        )

    def png(channels):
        sides = tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.int32, little_endian=False)
        width, height = tf.unstack(sides, num=2)
        return usual("PNG", height, width, channels)

    def jpeg():
        height, width, channels = tf.unstack(tf.io.extract_jpeg_shape(encoded))
        return usual("JPEG", height, width, tf.where(channels == 1, 1, 3))

    def others():
        header = image_header.read(encoded)
        return facts(header.kind, header.size(), header.channels, header.depth, header.fault)

    return tf.switch_case(image_header.plain(encoded), [lambda: png(1), lambda: png(3), jpeg, others])


_inspector = _function(_facts)
_brightest = _function(preprocessing.brightest)


@functools.cache
def _reader(background):
    return _function(lambda encoded: (_facts(encoded), preprocessing.read_image(encoded, background)))


@functools.cache
def _decoder(image_format):
    return _function(lambda encoded: (_facts(encoded), preprocessing.decode_image(encoded, image_format)))


def _picture(function, encoded):
    try:
        facts, pixels = function(encoded)
    except (tf.errors.InvalidArgumentError, tf.errors.CancelledError):
        # Header and pixels are read side by side: the first to fail cancels the other, and either may be told of.
        inspect(encoded)  # may know more of it
        raise UnreadableImage(_DAMAGED) from None
    return Picture(_header(facts.numpy(), encoded), pixels.numpy())


def _header(facts, encoded):
    kind, height, width, channels, depth, fault = facts.tolist()
    if fault:
        raise UnreadableImage(_known_format(encoded) or image_header.FAULTS[fault])
    return Header(image_header.KINDS[kind], height, width, channels, depth == 16)


def _known_format(encoded):
    """Returns the reason where a file is of a format that is known but not read, or empty."""
    if not encoded:
        return "the file is empty"
    for name, start in _REFUSED:
        head = encoded[: len(start)]
        if len(head) == len(start) and all(
            wanted in (ord("?"), byte) for wanted, byte in zip(start, head, strict=True)
        ):
            return f"a {name} file; convert it to PNG or JPEG"
    return ""
