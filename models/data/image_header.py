"""What an image file says of itself in its first bytes, read with TensorFlow's operations alone.

A served model has neither Python nor Pillow, so what decides whether and how a file is read stands here, for ingest and
for serving alike. A file's kind is known by its content; its name does not matter.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

KINDS = ("PNG", "JPEG", "GIF", "BMP")
READABLE = "PNG, JPEG, BMP or GIF"
MAX_PIXELS = 178_956_970  # as Pillow has it, above which a small file fills the memory

# How plain files begin, "?" for any byte: a small PNG with 8 bits and no chunk before its pixels, grey or coloured; a
# JPEG with no data but JFIF's before its tables; anything else.
_PLAIN = (
    *(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0?\0\0\0?\x08%c???????????IDAT" % colours for colours in (0, 2)),
    b"\xff\xd8\xff\xe0\0\x10JFIF\0?????????\xff\xdb",
    b"",
)
_SIGNATURES = (b"\x89P", b"\xff\xd8", b"GI", b"BM")
# Why a file is refused; 0 is none. A file that its header does not betray is refused by its decoder.
_GOOD, _NO_IMAGE, _TOO_LARGE, _PARTIAL_GIF, _OTHER_BMP = range(5)
FAULTS = (
    "",
    f"not a {READABLE} file",
    f"more than {MAX_PIXELS:,} pixels; make it smaller",
    "a GIF whose first picture does not fill it; convert it to PNG",
    "a BMP that is not of 8, 24 or 32 bits without compression; convert it to PNG",
)
_MAX_SEGMENTS = 1024  # a file made of many tiny segments must not keep a server busy


class ImageHeader(NamedTuple):
    """Facts of an image file, int32 scalars all.

    Attributes:
        kind: A place in KINDS; len(KINDS) where it is none of them.
        height: Of the pixels as they are stored; `size` knows how the picture is to be looked at.
        width: As above.
        channels: 1 for a grey picture, 3 for a coloured one; transparency is not counted.
        depth: Bits of a PNG's channels, or of the places in its palette: 1, 2, 4, 8 or 16.
        orientation: EXIF's, 1 to 8.
        fault: Why the file cannot be read, as a place in FAULTS; 0 where nothing speaks against it.
    """

    kind: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    channels: tf.Tensor
    depth: tf.Tensor
    orientation: tf.Tensor
    fault: tf.Tensor

    def size(self) -> tf.Tensor:
        """Returns height and width of the picture after it was turned as EXIF says: int32 (2,)."""
        turned = self.orientation >= 5
        return tf.where(turned, [self.width, self.height], [self.height, self.width])


def plain(encoded: tf.Tensor) -> tf.Tensor:
    """Returns whether a file is one of the most usual kind, of which nothing more has to be known before it is decoded.

    It costs a small part of what `read` does; without it, small images would take three times as long.

    Args:
        encoded: String scalar, a file's bytes.

    Returns:
        int32 scalar: 0 or 1 for a small PNG, 2 for a JPEG without EXIF data, of any size, 3 for all other files.
    """
    length = max(map(len, _PLAIN))
    patterns = np.array([np.frombuffer(start.ljust(length, b"?"), np.uint8) for start in _PLAIN])
    head = tf.io.decode_raw(tf.strings.substr(encoded, 0, length), tf.uint8, fixed_length=length)
    fits = tf.reduce_all((head == patterns) | (patterns == ord("?")), axis=1)
    return tf.argmax(tf.cast(fits, tf.int32), output_type=tf.int32)


def read(encoded: tf.Tensor) -> ImageHeader:
    """Reads the header of an image file.

    Args:
        encoded: String scalar, a file's bytes.

    Raises:
        tf.errors.InvalidArgumentError: It is a JPEG whose header is broken. All else is told by `fault`.
    """
    return ImageHeader(*tf.unstack(_read(encoded)))


def checked(encoded: tf.Tensor) -> ImageHeader:
    """Reads a header as `read` does, of a file that must have no fault.

    Raises:
        tf.errors.InvalidArgumentError: The file cannot be read; the message holds the fault's words.
    """
    header = read(encoded)
    check = tf.debugging.Assert(tf.equal(header.fault, _GOOD), [tf.gather(FAULTS, header.fault)])
    with tf.control_dependencies([check]):
        return ImageHeader(*map(tf.identity, header))


def gif_places(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Finds the first picture of a GIF.

    Args:
        encoded: String scalar, the file.

    Returns:
        Three places in the file, int32: of the picture's descriptor; of the byte that says that a colour is
        transparent, -1 where none is; and of that colour's red, green and blue.
    """

    def step(at, inside, control):
        block = _bytes(encoded, at, 4)
        starts = ~inside & (block[0] == 0x21)  # an extension: its label, then parts that begin with their length
        transparent = starts & (block[1] == 0xF9) & (block[3] % 2 == 1)
        control = tf.where(transparent, at + 3, control)
        part_ends = at + 1 + block[0]
        return tf.where(starts, at + 2, part_ends), starts | (block[0] > 0), control

    def goes_on(at, inside, _):
        return (at < tf.strings.length(encoded)) & (inside | (_bytes(encoded, at, 1)[0] == 0x21))

    first = 13 + _table_size(_bytes(encoded, 10, 1)[0])
    at, _, control = tf.while_loop(goes_on, step, (first, False, tf.constant(-1)), maximum_iterations=_MAX_SEGMENTS)
    own_table = _bytes(encoded, at + 9, 1)[0] >= 0x80
    table = tf.where(own_table, at + 10, 13)
    return at, control, table + 3 * _bytes(encoded, control + 3, 1)[0]


def bmp_palette(encoded: tf.Tensor) -> tf.Tensor:
    """Returns red, green and blue of each of a BMP's 256 colours: uint8 (256, 3)."""
    entries = _bytes(encoded, 14 + _number(_bytes(encoded, 14, 4)), 1024)
    return tf.cast(tf.reshape(entries, (256, 4))[:, 2::-1], tf.uint8)


def bmp_end(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the place behind the pixels of a BMP, which may be followed by padding: int32 scalar."""
    start, width, height = (_number(_bytes(encoded, at, 4)) for at in (10, 18, 22))
    bits = _number(_bytes(encoded, 28, 2))
    return start + tf.abs(height) * 4 * ((width * bits + 31) // 32)


def bmp_has_alpha(encoded: tf.Tensor) -> tf.Tensor:
    """Returns whether the fourth byte of a BMP's 32 bits is said to be its transparency: bool scalar."""
    size, masks = _number(_bytes(encoded, 14, 4)), _bytes(encoded, 66, 4)
    return (_bytes(encoded, 30, 1)[0] == 3) & (size >= 56) & (masks[3] == 255)


@tf.function(
    input_signature=[tf.TensorSpec((), tf.string)], autograph=False, experimental_attributes={"_noinline": True}
)
def _read(encoded):
    alike = tf.equal(tf.strings.substr(encoded, 0, 2), _SIGNATURES)
    kind = tf.reduce_sum(tf.where(alike, tf.range(len(KINDS)), 0)) + tf.where(tf.reduce_any(alike), 0, len(KINDS))
    readers = (_png, _jpeg, _gif, _bmp, _unknown)
    facts = tf.switch_case(kind, [lambda reader=reader: reader(encoded) for reader in readers])
    height, width, channels, depth, orientation, fault = tf.unstack(facts)
    none = (height < 1) | (width < 1)
    large = tf.cast(height, tf.int64) * tf.cast(width, tf.int64) > MAX_PIXELS
    fault = tf.where(fault > 0, fault, tf.where(none, _NO_IMAGE, tf.where(large, _TOO_LARGE, _GOOD)))
    return tf.stack([kind, height, width, channels, depth, orientation, fault])


def _facts(height, width, channels=3, depth=8, orientation=1, fault=_GOOD):
    facts = (height, width, channels, depth, orientation, fault)
    return tf.stack([tf.cast(fact, tf.int32) for fact in facts])


def _unknown(_):
    return _facts(0, 0, fault=_NO_IMAGE)


def _png(encoded):
    head = _bytes(encoded, 0, 26)
    height, width = _number(head[20:24], big=True), _number(head[16:20], big=True)
    depth, colours = head[24], head[25]
    whole = tf.equal(tf.strings.substr(encoded, 0, 4), b"\x89PNG") & tf.equal(_text(encoded, 12, 4), b"IHDR")
    fault = tf.where(whole, _GOOD, _NO_IMAGE)
    grey = (colours == 0) | (colours == 4)

    def step(at):
        name = _text(encoded, at + 4, 4)
        goes_on = ~tf.equal(name, b"IDAT") & (at + 12 < tf.strings.length(encoded))
        return tf.equal(name, b"eXIf"), goes_on, at + 8, at + 12 + _number(_bytes(encoded, at, 4), big=True)

    return _facts(height, width, tf.where(grey, 1, 3), depth, _orientation(encoded, 33, step), fault)


def _jpeg(encoded):
    height, width, components = tf.unstack(tf.io.extract_jpeg_shape(encoded))

    def step(at):
        segment = _bytes(encoded, at, 4)
        application = (segment[1] >= 0xE0) & (segment[1] <= 0xEF) | (segment[1] == 0xFE)
        length = _number(segment[2:], big=True)
        found = (segment[1] == 0xE1) & tf.equal(_text(encoded, at + 4, 6), b"Exif\0\0")
        return found, (segment[0] == 0xFF) & application & (length >= 2), at + 10, at + 2 + length

    return _facts(height, width, tf.where(components == 1, 1, 3), orientation=_orientation(encoded, 2, step))


def _gif(encoded):
    screen = _bytes(encoded, 6, 4)
    width, height = _number(screen[:2]), _number(screen[2:])
    picture = _bytes(encoded, gif_places(encoded)[0], 9)
    whole = tf.reduce_all(tf.equal(picture[1:], tf.concat([[0] * 4, screen], 0)))
    known = tf.equal(tf.strings.substr(encoded, 0, 4), b"GIF8") & (picture[0] == 0x2C)
    return _facts(height, width, fault=tf.where(known, tf.where(whole, _GOOD, _PARTIAL_GIF), _NO_IMAGE))


def _bmp(encoded):
    head = _bytes(encoded, 0, 66)
    size, width, height = (_number(head[at : at + 4]) for at in (14, 18, 22))
    height = tf.abs(height)  # negative where the rows go down
    bits, compression = _number(head[28:30]), _number(head[30:34])
    usual = tf.reduce_all(tf.equal(head[54:66], [0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0]))
    plain = (compression == 0) & ((bits == 8) | (bits == 24) | (bits == 32))
    good = plain | ((compression == 3) & (bits == 32) & usual)
    palette = bmp_palette(encoded)
    used = _number(_bytes(encoded, 46, 4))
    used = tf.where(used == 0, 256, used)
    unused = tf.range(256) >= used
    grey = (bits == 8) & tf.reduce_all(unused | tf.reduce_all(palette == palette[:, :1], axis=1))
    known = (size >= 40) & (size <= 124)
    fault = tf.where(known, tf.where(good, _GOOD, _OTHER_BMP), _NO_IMAGE)
    return _facts(height, width, tf.where(grey, 1, 3), fault=fault)


def _orientation(encoded: tf.Tensor, start: int, step: Callable) -> tf.Tensor:
    """Returns the orientation that EXIF data say, 1 where there are none or they make no sense.

    Args:
        encoded: The file.
        start: The place of its first segment.
        step: Takes a segment's place; returns whether it holds EXIF data, whether to go on, the place of such data, and
            the place of the next segment.
    """

    def body(at, _, __):
        found, goes_on, data, following = step(at)
        return tf.where(found, data, following), found, goes_on & ~found

    at, found, _ = tf.while_loop(
        lambda at, found, goes_on: goes_on, body, (start, False, True), maximum_iterations=_MAX_SEGMENTS
    )
    return tf.cond(found, lambda: _exif_orientation(encoded, at), lambda: tf.constant(1))


def _exif_orientation(encoded, at):
    """Returns the orientation in the EXIF data at a place: a TIFF header, then entries of 12 bytes."""
    big = tf.equal(_text(encoded, at, 2), b"MM")
    directory = at + _number(_bytes(encoded, at + 4, 4), big)
    count = tf.maximum(_number(_bytes(encoded, directory, 2), big), 1)
    entries = tf.reshape(_bytes(encoded, directory + 2, 12 * count), (-1, 12))
    is_orientation = (_number(entries[:, :2], big) == 0x0112) & (_number(entries[:, 2:4], big) == 3)
    value = tf.reduce_max(tf.where(is_orientation, _number(entries[:, 8:10], big), 0))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _text(encoded, at, count):
    """Returns up to so many bytes from a place as a string; none beyond the end."""
    return tf.strings.substr(encoded, tf.clip_by_value(at, 0, tf.strings.length(encoded)), count)


def _bytes(encoded, at, count):
    """Returns so many bytes from a place as int32 (count,), zeros beyond the end."""
    data = tf.io.decode_raw(_text(encoded, at, count), tf.uint8, fixed_length=count)
    return tf.cast(data, tf.int32)


def _number(data, big=False):
    """Returns the number in the bytes (..., count): the first is the highest where `big`, else the lowest."""
    rising = [256**place for place in range(data.shape[-1])]
    weights = tf.where(big, rising[::-1], rising)
    return tf.reduce_sum(data * weights, -1)


def _table_size(flags):
    """Returns the bytes of a GIF's table of colours, from the byte that tells of it."""
    return tf.where(flags >= 0x80, 3 * tf.bitwise.left_shift(2, flags % 8), 0)
