"""From encoded bytes to what a network sees."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from models.data import image_file, image_header, preprocessing
from models.data.image_format import ImageFormat
from tests.support import image_fixtures


def pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_an_image_of_the_right_shape_is_only_decoded(file_format):
    encoded = image_fixtures.encode(1, size=(6, 8), file_format=file_format)
    decoded = image_file.decode(encoded, ImageFormat((8, 6, 3))).pixels
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels(encoded))


def test_colours_become_grey_and_grey_becomes_colour():
    colour, grey = (image_fixtures.encode(1, mode=mode) for mode in ("RGB", "L"))
    to_grey, to_colours = ImageFormat((8, 8, 1)), ImageFormat((8, 8, 3))
    weighed = np.floor(pixels(colour) @ [0.299, 0.587, 0.114] + 0.5)
    np.testing.assert_allclose(image_file.decode(colour, to_grey).pixels[..., 0], weighed, atol=0)
    np.testing.assert_array_equal(image_file.decode(grey, to_colours).pixels, np.stack([pixels(grey)] * 3, -1))
    np.testing.assert_array_equal(image_file.decode(grey, to_grey).pixels[..., 0], pixels(grey))


def ramp(height, width):
    """A picture whose brightness is 10 times the column."""
    file = io.BytesIO()
    Image.fromarray(np.tile(np.arange(width, dtype=np.uint8) * 10, (height, 1)), "L").save(file, "PNG")
    return file.getvalue()


def test_shrinking_averages_over_the_pixels_that_vanish():
    decoded = image_file.decode(ramp(16, 16), ImageFormat((4, 4, 1))).pixels[..., 0]
    # A triangle of twice the pitch, as Pillow's antialiased bilinear filter has it.
    expected = np.asarray(Image.open(io.BytesIO(ramp(16, 16))).resize((4, 4), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(decoded, expected, atol=1)
    assert (decoded[:, 1] == 55).all()  # the mean of columns 4 to 7


@pytest.mark.parametrize(
    ("height", "width", "columns"), [(4, 10, range(3, 7)), (10, 4, range(4)), (4, 5, range(4)), (5, 4, range(4))]
)
def test_crop_cuts_the_edges_off_evenly_and_distorts_nothing(height, width, columns):
    decoded = image_file.decode(ramp(height, width), ImageFormat((4, 4, 1))).pixels
    np.testing.assert_array_equal(decoded[..., 0], np.tile(np.array(columns) * 10, (4, 1)))


def test_pad_shows_the_whole_picture_between_bars_of_the_background():
    # 3x6 pixels fill 4 rows of 8x8; two rows of bars above and two below.
    decoded = image_file.decode(ramp(4, 8), ImageFormat((8, 8, 3), "pad", (200, 100, 50))).pixels
    np.testing.assert_array_equal(decoded[2:6], np.tile((np.arange(8) * 10)[:, None], (4, 1, 3)))
    assert (decoded[[0, 1, 6, 7]] == (200, 100, 50)).all()
    upright = image_file.decode(ramp(8, 3), ImageFormat((8, 8, 3), "pad", (200, 100, 50))).pixels
    np.testing.assert_array_equal(upright[0, :, 0], [200, 200, 0, 10, 20, 200, 200, 200])


def test_squash_shows_the_whole_picture_distorted():
    decoded = image_file.decode(ramp(4, 8), ImageFormat((8, 8, 3), "squash")).pixels
    np.testing.assert_array_equal(decoded, np.tile((np.arange(8) * 10)[:, None], (8, 1, 3)))


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_the_most_extreme_shapes_are_brought_to_form(resize, size):
    encoded = image_fixtures.encode(1, size=size)
    assert image_file.decode(encoded, ImageFormat((8, 8, 3), resize)).pixels.shape == (8, 8, 3)


def photo(height, width, **options):
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))
    file = io.BytesIO()
    smooth.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", **options)
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize(
    ("height", "width", "ratio"),
    [(63, 400, 1), (64, 400, 2), (127, 400, 2), (128, 400, 4), (256, 256, 8), (999, 999, 8)],
)
def test_a_jpeg_is_decoded_at_a_scale_that_leaves_twice_the_final_size(height, width, ratio):
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def read(encoded):
        return preprocessing.read_image(encoded, (0, 0, 0), (16, 16))

    assert read(photo(height, width)).shape == (-(-height // ratio), -(-width // ratio), 3)
    # Sideways in the file.
    assert read(photo(width, height, exif=turned(6))).shape == (-(-height // ratio), -(-width // ratio), 3)


def test_a_photo_decoded_at_a_scale_looks_as_if_it_were_not():
    encoded = photo(1024, 1024, quality=95)
    expected = Image.open(io.BytesIO(encoded)).resize((16, 16), Image.Resampling.BILINEAR)
    decoded = image_file.decode(encoded, ImageFormat((16, 16, 3))).pixels
    np.testing.assert_allclose(decoded, np.asarray(expected), atol=3)


def test_a_batch_is_decoded_inside_a_graph_image_by_image():
    files = [image_fixtures.encode(1), image_fixtures.encode(2, size=(20, 10)), photo(9, 9, exif=turned(3))]
    image_format = ImageFormat((8, 8, 3))
    graph = tf.function(
        lambda encoded: preprocessing.decode_images(encoded, image_format),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    eager = [preprocessing.decode_image(file, image_format) for file in files]
    np.testing.assert_array_equal(graph(tf.constant(files)), eager)
    assert graph(tf.constant([], tf.string)).shape == (0, 8, 8, 3)


def test_usual_files_take_a_short_way():
    def way(encoded):
        return int(image_header.plain(encoded))

    assert [way(image_fixtures.encode(1, mode=mode)) for mode in ("L", "RGB", "RGBA")] == [0, 1, 3]
    assert way(image_fixtures.encode(1, size=(256, 8))) == 3  # sides from 256 on
    assert [way(photo(8, 8)), way(photo(8, 8, exif=turned(1))), way(b"")] == [2, 3, 3]


def test_the_brightest_value_of_16_bits_is_found():
    file = io.BytesIO()
    Image.fromarray(np.array([[7, 4095], [0, 300]], np.uint16)).save(file, "PNG")
    assert image_file.brightest(file.getvalue()) == 4095
    assert image_file.inspect(file.getvalue()).sixteen_bit


def test_normalised_images_have_mean_0_and_deviation_1():
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    mean, std = (images / 255).mean((0, 1, 2)), (images / 255).std((0, 1, 2))
    normal = preprocessing.normalise(images, mean, std).numpy()
    assert normal.dtype == np.float32
    np.testing.assert_allclose(normal.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std((0, 1, 2)), 1, rtol=1e-5)
    np.testing.assert_array_equal(preprocessing.normalise(images.astype(np.float32), mean, std), normal)


def test_a_reading_that_was_cancelled_is_told_like_the_fault_that_cancelled_it(monkeypatch):
    def cancelled(encoded):
        raise tf.errors.CancelledError(None, None, "cancelled before it was started")

    monkeypatch.setattr(image_file, "_decoder", lambda image_format: cancelled)
    with pytest.raises(image_file.UnreadableImage, match="the file is empty"):
        image_file.decode(b"", ImageFormat((8, 8, 3)))
