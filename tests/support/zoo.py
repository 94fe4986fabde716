"""A zoo of image files as strangers have them: what comes in, and what must become of it."""

import functools
import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

NO_IMAGE = "not a PNG, JPEG, BMP or GIF file"
DAMAGED = "the file is damaged or cut off"
OTHER_BMP = "a BMP that is not of 8, 24 or 32 bits without compression; convert it to PNG"

_SMOOTH = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8))


def picture(width: int = 41, height: int = 29, mode: str = "RGB") -> Image.Image:
    """Returns a smooth picture with colours and, in a mode that has it, transparency."""
    return _SMOOTH.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def save(image: Image.Image, file_format: str, **options) -> bytes:
    """Returns the file that Pillow makes of an image."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def turned(orientation: int, endian: str = "<") -> Image.Exif:
    """Returns EXIF data with an orientation."""
    exif = Image.Exif()
    exif.endian = endian
    exif[0x0112] = orientation
    return exif


def png(rows: np.ndarray, depth: int, colours: int, interlaced: bool = False, chunks: Iterable[tuple] = ()) -> bytes:
    """Writes a PNG of what Pillow has no name for.

    Args:
        rows: Values (height, width, channels), below 2**depth.
        depth: Bits a channel.
        colours: PNG's number of the kind: 0 grey, 2 colours, 3 palette, 4 grey with alpha, 6 colours with alpha.
        interlaced: Whether the pixels come in Adam7's seven passes.
        chunks: (name, content) of what comes before the pixels.
    """

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    def packed(rows):
        if not rows.size:
            return b""
        bits = np.unpackbits(rows.astype(">u2").view(np.uint8).reshape(*rows.shape, 2), axis=-1)[..., 16 - depth :]
        return b"".join(b"\0" + np.packbits(row).tobytes() for row in bits.reshape(len(rows), -1))

    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    parts = [rows[a::b, c::d] for a, b, c, d in passes] if interlaced else [rows]
    head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], depth, colours, 0, 0, interlaced)
    pixels = zlib.compress(b"".join(map(packed, parts)))
    body = [(b"IHDR", head), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in body)


def bmp(bits: int, rows: bytes, width: int, height: int, compression: int = 0, more: bytes = b"") -> bytes:
    """Writes a BMP; `more` follows the header's first 40 bytes: masks (4 of 4 bytes make it longer) or a palette."""
    size = 56 if compression == 3 and len(more) == 16 else 40
    head = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, compression, len(rows), 0, 0, 0, 0)
    start = 14 + len(head) + len(more)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + head + more + rows


def changed(file: bytes, old: bytes, new: bytes) -> bytes:
    """Returns the file with the first `old` bytes replaced."""
    assert old in file
    return file.replace(old, new, 1)


@functools.cache
def zoo(large: bool = False) -> dict[str, tuple[bytes, str]]:
    """Returns name -> file, and the reason for which it is refused, empty where it is read.

    Args:
        large: Whether two photos of 24 megapixels are among them; they take some seconds.
    """
    animals = {name: (file, "") for part in (_pngs(), _jpegs(), _gifs(), _bmps()) for name, file in part.items()}
    animals |= _refused()
    if large:
        photo = picture(6000, 4000)
        animals["photo.jpg"] = save(photo, "JPEG"), ""
        animals["photo.png"] = save(photo.convert("L"), "PNG", compress_level=1), ""
    return animals


def _pngs():
    random = np.random.default_rng(1)

    def values(depth, channels):
        return random.integers(0, 2**depth, (19, 13, channels))

    grey_modes = {f"png-{mode}": save(picture(mode=mode), "PNG") for mode in ("1", "L", "LA", "RGB", "RGBA", "P")}
    kinds = {
        f"png-{name}-{depth}": png(values(depth, channels), depth, colours)
        for name, colours, channels, depths in (
            ("grey", 0, 1, (1, 2, 4, 8, 16)),
            ("colours", 2, 3, (8, 16)),
            ("grey-alpha", 4, 2, (8, 16)),
            ("alpha", 6, 4, (8, 16)),
        )
        for depth in depths
    }
    palette = (b"PLTE", bytes(range(0, 240, 5)))
    for depth in (1, 2, 4, 8):
        indices = random.integers(0, min(2**depth, 16), (19, 13, 1))
        kinds[f"png-palette-{depth}"] = png(indices, depth, 3, chunks=[palette])
        kinds[f"png-palette-{depth}-holes"] = png(indices, depth, 3, chunks=[palette, (b"tRNS", b"\0\x80")])
    for depth in (1, 2, 4, 8, 16):
        rows = values(depth, 1)
        hole = (b"tRNS", struct.pack(">H", int(rows[0, 0, 0])))
        kinds[f"png-grey-{depth}-hole"] = png(rows, depth, 0, chunks=[hole])
    rows = values(8, 3)
    kinds["png-colours-hole"] = png(rows, 8, 2, chunks=[(b"tRNS", struct.pack(">HHH", *rows[0, 0].tolist()))])
    kinds["png-interlaced"] = png(values(8, 3), 8, 2, interlaced=True)
    kinds["png-interlaced-grey-2"] = png(values(2, 1), 2, 0, interlaced=True)
    sizes = {f"png-{w}x{h}": save(picture(w, h), "PNG") for w, h in ((1, 1), (1, 300), (300, 1), (16, 16), (257, 300))}
    exif = {f"png-exif-{number}": save(picture(), "PNG", exif=turned(number)) for number in range(1, 9)}
    plain = save(picture(), "PNG")
    text = (b"tEXt", b"Comment\0not the pixels")
    return {
        **grey_modes,
        **kinds,
        **sizes,
        **exif,
        "png-of-holes": save(Image.new("RGBA", (9, 9)), "PNG"),
        "png-text": png(values(8, 3), 8, 2, chunks=[text]),
        "png-text-broken-crc": changed(png(values(8, 3), 8, 2, chunks=[text]), b"not the", b"NOT the"),
        "png-trailing": plain + b"and more",
        "png-animated": save(picture(), "PNG", save_all=True, append_images=[picture(mode="L").convert("RGB")]),
        "png-profile": save(picture(), "PNG", icc_profile=b"not a profile"),
    }


def _jpegs():
    plain = save(picture(), "JPEG")
    cmyk = save(picture(mode="CMYK"), "JPEG")
    exif = {f"jpeg-exif-{number}": save(picture(), "JPEG", exif=turned(number)) for number in range(10)}
    sideways = save(picture(), "JPEG", exif=turned(6))
    return {
        **exif,
        "jpeg": plain,
        "jpeg-grey": save(picture(mode="L"), "JPEG"),
        "jpeg-cmyk": cmyk,
        "jpeg-ycck": changed(cmyk, b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"),
        "jpeg-rgb": save(picture(), "JPEG", keep_rgb=True),
        "jpeg-progressive": save(picture(), "JPEG", progressive=True),
        "jpeg-progressive-large": save(picture(700, 500), "JPEG", progressive=True),
        "jpeg-444": save(picture(), "JPEG", subsampling=0, quality=100),
        "jpeg-420": save(picture(), "JPEG", subsampling=2, quality=1),
        "jpeg-restarts": save(picture(), "JPEG", restart_marker_rows=1),
        "jpeg-1x1": save(picture(1, 1), "JPEG"),
        "jpeg-1x300": save(picture(1, 300), "JPEG"),
        "jpeg-300x300": save(picture(300, 300), "JPEG"),
        "jpeg-exif-big-endian": save(picture(), "JPEG", exif=turned(6, ">")),
        "jpeg-exif-after-profile": save(picture(), "JPEG", exif=turned(5), icc_profile=b"x" * 70000, comment=b"hello"),
        "jpeg-exif-large": save(picture(900, 300), "JPEG", exif=turned(6)),
        "jpeg-exif-garbage": changed(sideways, b"Exif\0\0II*\0\x08\0\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff"),
        "jpeg-exif-empty": plain[:2] + b"\xff\xe1\0\x08Exif\0\0" + plain[2:],
        "jpeg-arithmetic": changed(plain, b"\xff\xc0\0\x11", b"\xff\xc9\0\x11"),  # what comes out is no picture
        "jpeg-trailing": plain + b"and more",
        "jpeg-comment": save(picture(), "JPEG", comment=b"A comment"),
        "jpeg-two-pictures": save(picture(), "MPO", save_all=True, append_images=[picture(mode="L").convert("RGB")]),
    }


def _gifs():
    colours = picture().quantize(64)
    other = picture(mode="L").quantize(8)
    return {
        "gif": save(colours, "GIF"),
        "gif-rows-in-order": save(colours, "GIF", interlace=0),
        "gif-hole": save(colours, "GIF", transparency=3),
        "gif-delay": save(colours, "GIF", save_all=True, append_images=[other], duration=100),
        "gif-animated": save(colours, "GIF", save_all=True, append_images=[other], loop=0),
        "gif-animated-holes": save(colours, "GIF", save_all=True, append_images=[other], transparency=3, comment=b"x"),
        "gif-87": b"GIF87a" + save(picture(mode="L").quantize(4), "GIF")[6:],
        "gif-1x1": save(Image.new("P", (1, 1)), "GIF"),
        "gif-trailing": save(colours, "GIF") + b"and more",
    }


def _bmps():
    random = np.random.default_rng(2)
    quads = random.integers(0, 256, 8 * 6 * 4, np.uint8).tobytes()
    masks = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    return {
        "bmp-24": save(picture(), "BMP"),
        "bmp-8-grey": save(picture(mode="L"), "BMP"),
        "bmp-8-palette": save(picture().quantize(200), "BMP"),
        "bmp-8-few-colours": save(picture().quantize(5), "BMP"),
        "bmp-32": bmp(32, quads, 8, 6),
        "bmp-32-top-down": bmp(32, quads, 8, -6),
        "bmp-32-masks": bmp(32, quads, 8, 6, 3, masks),
        "bmp-32-alpha": bmp(32, quads, 8, 6, 3, masks + struct.pack("<I", 0xFF000000)),
        "bmp-1x1": save(picture(1, 1), "BMP"),
        "bmp-trailing": save(picture(), "BMP") + b"and more",
    }


def _refused():
    plain, jpeg = save(picture(), "PNG"), save(picture(), "JPEG")
    gif, bmp24 = save(picture().quantize(64), "GIF"), save(picture(), "BMP")
    pixels = plain.index(b"IDAT")
    frame = gif.index(b"\x2c\0\0\0\0" + gif[6:10])
    quads = bytes(8 * 6 * 4)
    refused = {
        "cut.png": (plain[: len(plain) // 2], DAMAGED),
        "cut-header.png": (plain[:20], NO_IMAGE),
        "broken-crc.png": (plain[: pixels + 9] + bytes([plain[pixels + 9] ^ 1]) + plain[pixels + 10 :], DAMAGED),
        "no-width.png": (changed(plain, struct.pack(">II", 41, 29), struct.pack(">II", 0, 29)), NO_IMAGE),
        "bomb.png": (
            changed(plain, struct.pack(">II", 41, 29), struct.pack(">II", 20000, 20000)),
            "more than 178,956,970 pixels; make it smaller",
        ),
        "cut.jpg": (jpeg[: len(jpeg) // 2], DAMAGED),
        "cut-header.jpg": (jpeg[:100], DAMAGED),
        "only-start.jpg": (b"\xff\xd8\xff", DAMAGED),
        "12-bits.jpg": (changed(jpeg, b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), DAMAGED),
        "bomb.jpg": (
            changed(jpeg, struct.pack(">HH", 29, 41), struct.pack(">HH", 60000, 60000)),
            "more than 178,956,970 pixels; make it smaller",
        ),
        "cut.gif": (gif[: frame + 10], DAMAGED),
        "cut-header.gif": (gif[:8], NO_IMAGE),
        "part.gif": (
            gif[: frame + 5] + struct.pack("<HH", 40, 29) + gif[frame + 9 :],
            "a GIF whose first picture does not fill it; convert it to PNG",
        ),
        "cut.bmp": (bmp24[: len(bmp24) // 2], DAMAGED),
        "1.bmp": (save(picture(mode="1"), "BMP"), OTHER_BMP),
        "4.bmp": (bmp(4, quads, 8, 6, 0, bytes(64)), OTHER_BMP),
        "16.bmp": (bmp(16, quads, 8, 6), OTHER_BMP),
        "run-lengths.bmp": (bmp(8, quads, 8, 6, 1, bytes(1024)), OTHER_BMP),
        "other-masks.bmp": (bmp(32, quads, 8, 6, 3, struct.pack("<III", 0xFF, 0xFF00, 0xFF0000)), OTHER_BMP),
        "old-header.bmp": (b"BM" + struct.pack("<IHHIIHHHH", 60, 0, 0, 26, 12, 3, 3, 1, 24) + bytes(36), NO_IMAGE),
        "empty": (b"", "the file is empty"),
        "text.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", NO_IMAGE),
        "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", NO_IMAGE),
        "begins-as-bmp.txt": (b"BMW and other cars", NO_IMAGE),
        "begins-as-gif.txt": (b"GIVE ME IMAGES", NO_IMAGE),
        "zeros": (bytes(1000), NO_IMAGE),
        "icon": (save(picture(16, 16, "RGBA"), "ICO"), NO_IMAGE),
        "pixmap": (save(picture(), "PPM"), NO_IMAGE),
    }
    for name, file in (
        ("WebP", save(picture(), "WEBP")),
        ("TIFF", save(picture(), "TIFF")),
        ("JPEG 2000", save(picture(), "JPEG2000")),
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)),
        ("HEIC", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(99)),
        ("AVIF", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(99)),
        ("PDF", b"%PDF-1.7\n"),
        ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("Photoshop", b"8BPS\0\1" + bytes(99)),
    ):
        refused[f"{len(refused)}-{name.replace(' ', '-')}"] = (file, f"a {name} file; convert it to PNG or JPEG")
    return refused
