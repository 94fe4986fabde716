"""components/exporter: files beside the SavedModel, with the figures of their verification."""

import dataclasses
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from tfx.types import channel, standard_artifacts

from components import artifacts
from components.exporter import executor
from components.exporter.component import Exporter
from models import export
from models.data import dataset_info
from models.data.image_format import ImageFormat
from models.exports import formats
from models.exports.verified import Export
from models.runtime import artifact_files
from models.settings import Data
from models.settings import Export as Asked
from tests.support import image_fixtures

CLASSES = ("bright", "dark")
SHAPE = (8, 8, 1)  # grey


def _image(label: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 60, SHAPE).astype(np.uint8)
    return tf.io.encode_png(pixels + np.uint8(180 * (1 - label))).numpy()


def _split(split: str, counts: tuple[int, int]) -> list[tuple[str, int, bytes]]:
    """Images sorted by class: the ids, which order them, begin with it."""
    labels = np.repeat([0, 1], counts)
    return [(f"{label}/{split}{n:03d}", int(label), _image(label, n)) for n, label in enumerate(labels)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    splits = {"train": _split("train", (9, 3)), "val": _split("val", (70, 2)), "test": _split("test", (80, 5))}
    examples = image_fixtures.write_examples(folder / "examples", splits, CLASSES)
    dataclasses.replace(dataset_info.load(examples.uri), channels=(1, 1)).save(examples.uri)
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    network.set_weights([np.array([[2.0, -2.0]], np.float32), np.zeros(2, np.float32)])
    model = standard_artifacts.Model()
    model.uri = str(folder / "model")
    export.export_model(
        network,
        os.path.join(model.uri, "Format-Serving"),
        image_format=ImageFormat(SHAPE),
        class_names=CLASSES,
        mean=(0.5,),
        std=(0.25,),
    )
    return {"examples": [examples], "model": [model]}


def test_the_files_and_their_figures_are_in_the_artifact(inputs, tmp_path):
    spec = Exporter(
        channel.Channel(type=standard_artifacts.Examples),
        channel.Channel(type=standard_artifacts.Model),
        export=Asked(formats=("litert", "onnx")),
        data=Data(image_size=8, channels=1),
        seed=0,
    )
    output = artifacts.Exports()
    output.uri = str(tmp_path / "out")
    executor.Executor().Do(inputs, {"exports": [output]}, spec.exec_properties)
    rows = artifact_files.EXPORTS.load(output.uri, lambda rows: [Export.from_document(row) for row in rows])
    assert [(row.name, row.images, row.accuracy) for row in rows] == [
        (name, 85, 1.0) for name in (formats.SAVED_MODEL, "litert", "onnx")
    ]
    assert sorted(os.listdir(output.uri)) == ["exports.json", "model.onnx", "model.tflite"]
    for row in rows[1:]:
        assert os.path.getsize(artifact_files.EXPORTED[row.name].path(output.uri)) == row.bytes
