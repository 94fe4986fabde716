"""From encoded bytes to what a network sees."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from models import preprocessing
from tests import image_fixtures


def pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_an_image_of_the_right_shape_is_only_decoded(file_format):
    encoded = image_fixtures.encode(1, size=(6, 8), file_format=file_format)
    decoded = preprocessing.decode_image(encoded, (8, 6, 3)).numpy()
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded, pixels(encoded), atol=0 if file_format == "PNG" else 4)


def test_colours_become_grey_grey_becomes_colour_and_transparency_is_dropped():
    colour, grey, transparent = (image_fixtures.encode(1, mode=mode) for mode in ("RGB", "L", "RGBA"))
    weighed = pixels(colour) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(preprocessing.decode_image(colour, (8, 8, 1))[..., 0], weighed, atol=1.01)
    np.testing.assert_array_equal(preprocessing.decode_image(grey, (8, 8, 3)), np.stack([pixels(grey)] * 3, -1))
    np.testing.assert_array_equal(preprocessing.decode_image(transparent, (8, 8, 3)), pixels(transparent)[..., :3])


def ramp(height, width):
    """A picture whose brightness is 10 times the column."""
    file = io.BytesIO()
    Image.fromarray(np.tile(np.arange(width, dtype=np.uint8) * 10, (height, 1)), "L").save(file, "PNG")
    return file.getvalue()


def test_shrinking_averages_over_the_pixels_that_vanish():
    decoded = preprocessing.decode_image(ramp(16, 16), (4, 4, 1)).numpy()[..., 0]
    # A triangle of twice the pitch, as Pillow's antialiased bilinear filter has it.
    expected = np.asarray(Image.open(io.BytesIO(ramp(16, 16))).resize((4, 4), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(decoded, expected, atol=1)
    assert (decoded[:, 1] == 55).all()  # the mean of columns 4 to 7


@pytest.mark.parametrize(
    ("height", "width", "columns"), [(4, 10, range(3, 7)), (10, 4, range(4)), (4, 5, range(4)), (5, 4, range(4))]
)
def test_another_aspect_ratio_loses_its_edges_evenly_and_distorts_nothing(height, width, columns):
    decoded = preprocessing.decode_image(ramp(height, width), (4, 4, 1)).numpy()
    np.testing.assert_array_equal(decoded[..., 0], np.tile(np.array(columns) * 10, (4, 1)))


def test_a_batch_is_decoded_inside_a_graph_image_by_image():
    files = [image_fixtures.encode(1), image_fixtures.encode(2, size=(20, 10)), image_fixtures.encode(3, mode="L")]
    graph = tf.function(
        lambda encoded: preprocessing.decode_images(encoded, (8, 8, 3)),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    expected = [preprocessing.decode_image(file, (8, 8, 3)) for file in files]
    np.testing.assert_array_equal(graph(tf.constant(files)), expected)
    assert graph(tf.constant([], tf.string)).shape == (0, 8, 8, 3)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_truncated_image_is_an_error(file_format):
    encoded = image_fixtures.encode(1, size=(40, 40), file_format=file_format)
    with pytest.raises(tf.errors.InvalidArgumentError):
        preprocessing.decode_image(encoded[: len(encoded) // 2], (40, 40, 3))


def test_normalised_images_have_mean_0_and_deviation_1():
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    mean, std = (images / 255).mean((0, 1, 2)), (images / 255).std((0, 1, 2))
    normal = preprocessing.normalise(images, mean, std).numpy()
    assert normal.dtype == np.float32
    np.testing.assert_allclose(normal.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std((0, 1, 2)), 1, rtol=1e-5)
    np.testing.assert_array_equal(preprocessing.normalise(images.astype(np.float32), mean, std), normal)
