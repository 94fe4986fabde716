"""models/exports: converted files answer like the SavedModel, and what does not is refused."""

import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import export as saved
from models.data.dataset import EncodedImages, ImageDataset
from models.data.image_format import ImageFormat
from models.exports import formats, verified
from models.networks import operations
from models.networks.layers import BatchNorm

CLASSES = ("a", "b", "c")
SHAPE = (16, 12, 3)


def images(count: int, seed: int) -> ImageDataset:
    """Images sorted by class, each class of another brightness."""
    generator = np.random.default_rng(seed)
    labels = np.sort(generator.integers(0, 3, count)).astype(np.int32)
    pixels = (generator.integers(0, 90, (count, *SHAPE)) + 80 * labels[:, None, None, None]).astype(np.uint8)
    ids = np.array([f"{label}/{number}".encode() for number, label in enumerate(labels)])
    return ImageDataset(pixels, labels, ids, CLASSES, (0.5,) * 3, (0.25,) * 3)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A small network that tells the classes apart by their brightness, most of the time."""
    folder = str(tmp_path_factory.mktemp("model") / "saved")
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(8, 3, padding="same", strides=2),
            layers.BatchNormalization(),
            # No ReLU before the pool: its padding must count for less than negative numbers.
            operations.resolve("max_pool_3x3")(8, 2, BatchNorm),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    data = images(96, 1)
    network.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit((data.images / np.float32(255) - 0.5) / 0.25, data.labels, batch_size=32, epochs=60, verbose=0)
    saved.export_model(
        network, folder, image_format=ImageFormat(SHAPE), class_names=CLASSES, mean=data.mean, std=data.std
    )
    return folder


def convert(model_dir, names, **changes):
    files = {}
    options = {"calibration_images": 40, "threads": 1, "seed": 0, "save": files.__setitem__, **changes}
    return verified.export(model_dir, names, images(150, 2), images(70, 3), **options), files


@pytest.fixture(scope="module")
def converted(model_dir):
    return convert(model_dir, tuple(formats.FORMATS))


def test_every_format_is_verified_on_the_same_images(converted):
    rows, files = converted
    assert [row.name for row in rows] == [formats.SAVED_MODEL, *formats.FORMATS]
    assert {row.images for row in rows} == {150}
    assert not any(row.refused for row in rows)
    first = rows[0]
    assert first.accuracy > 0.9
    by_name = {row.name: row for row in rows}
    for name in (formats.LITERT, formats.ONNX):
        assert by_name[name].max_difference <= verified.TOLERANCE
        assert by_name[name].accuracy == first.accuracy
    assert by_name[formats.LITERT_INT8].max_difference > 1e-4  # it has other numbers
    assert by_name[formats.LITERT_INT8].accuracy > 0.8
    for name, content in files.items():
        assert by_name[name].bytes == len(content)
    for row in rows:
        assert 0 < row.latency.low <= row.latency.median <= row.latency.high
        assert verified.Export.from_document(dataclasses.asdict(row)) == row


def test_a_converted_file_answers_by_itself(converted, model_dir):
    rows, files = converted
    data = images(9, 5)
    expected = formats.saved_model(model_dir)(data.images)
    assert expected.sum(axis=1) == pytest.approx(1)
    for name in (formats.LITERT, formats.ONNX):
        found = formats.FORMATS[name].load(files[name], 2)(data.images)
        assert found.shape == (9, 3) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_same_seed_gives_the_same_integers_and_another_one_other_images(model_dir, converted):
    again, files = convert(model_dir, (formats.LITERT_INT8,))
    assert files[formats.LITERT_INT8] == converted[1][formats.LITERT_INT8]
    assert again[1].accuracy == converted[0][2].accuracy
    _, others = convert(model_dir, (formats.LITERT_INT8,), seed=1)
    assert others[formats.LITERT_INT8] != files[formats.LITERT_INT8]


def test_a_file_whose_answers_differ_is_refused_and_not_written(model_dir, monkeypatch):
    def wrong(content, threads):
        right = real(content, threads)
        return lambda pixels: np.roll(right(pixels), 1, axis=1)

    real = formats.FORMATS[formats.LITERT].load
    monkeypatch.setattr(
        formats, "FORMATS", {"litert": dataclasses.replace(formats.FORMATS[formats.LITERT], load=wrong)}
    )
    rows, files = convert(model_dir, ("litert",))
    assert files == {}
    assert rows[1].accuracy is None and "differs from the SavedModel's by" in rows[1].refused
    (warning,) = verified.warnings(rows)
    assert warning.startswith("config.export.formats: litert was not written: a probability differs")


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 0, 1)], ids=["three classes", "two classes, one of them rare"])
def test_integers_that_lost_the_classes_are_refused(classes, model_dir, monkeypatch):
    """The file answers, but always the same."""
    constant = np.eye(3, dtype=np.float32)[[0]]
    broken = dataclasses.replace(
        formats.FORMATS[formats.LITERT_INT8],
        load=lambda content, threads: lambda pixels: constant.repeat(len(pixels), 0),
    )
    monkeypatch.setattr(formats, "FORMATS", {"litert_int8": broken})
    real = formats.saved_model(model_dir)
    monkeypatch.setattr(
        formats, "saved_model", lambda folder: lambda pixels: np.eye(3)[np.array(classes)[real(pixels).argmax(axis=1)]]
    )
    rows, files = convert(model_dir, ("litert_int8",))
    assert files == {} and rows[1].accuracy is None
    (warning,) = verified.warnings(rows)
    assert re.search(
        r"its class differs from the SavedModel's on \d+ of 150 test images; always .* differ on \d+\.", warning
    )


def test_a_conversion_that_fails_leaves_the_other_formats(model_dir, monkeypatch):
    def fails(model_dir, pixels):
        raise RuntimeError("tf.Odd\n is not supported")

    broken = dataclasses.replace(formats.FORMATS[formats.ONNX], convert=fails)
    monkeypatch.setattr(formats, "FORMATS", {"onnx": broken, "litert": formats.FORMATS[formats.LITERT]})
    rows, files = convert(model_dir, ("onnx", "litert"))
    assert rows[1].refused == "the conversion failed: tf.Odd is not supported"
    assert list(files) == ["litert"]


def test_a_large_drop_is_told():
    good = verified.Export(formats.SAVED_MODEL, 10, 0.90, 100, 0.0, None)
    worse = verified.Export(formats.LITERT_INT8, 5, 0.85, 100, 0.4, None)
    (warning,) = verified.warnings([good, worse])
    assert "litert_int8 by 0.0500" in warning
    assert not verified.warnings([good, dataclasses.replace(worse, accuracy=0.895)])


def test_images_are_drawn_from_the_whole_split_that_is_sorted_by_class():
    data = images(300, 0)
    drawn = data.labels[verified._draw(len(data), 60, 0)]
    assert set(drawn) == {0, 1, 2}
    assert (np.diff(drawn) >= 0).all()


def test_take_returns_images_of_both_kinds_of_data_sets():
    data = images(5, 0)
    encoded = EncodedImages([tf.io.encode_png(image).numpy() for image in data.images], ImageFormat(SHAPE))
    for found in (data, dataclasses.replace(data, images=encoded)):
        np.testing.assert_array_equal(found.take(np.array([4, 1])).numpy(), data.images[[4, 1]])
