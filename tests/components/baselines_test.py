"""components/baselines: the baselines are trained, tested on the images of the final network, and compared with it."""

import dataclasses
import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tfx.types import channel, standard_artifacts

from components import artifacts
from components.baselines import executor
from components.baselines.component import Baselines
from models import export
from models.architectures.presets import PRESETS
from models.baselines import fitting, pretrained, verdict
from models.baselines.verdict import Comparison
from models.data import dataset_info
from models.data.image_format import ImageFormat
from models.runtime import artifact_files
from models.settings import Baselines as Asked
from models.settings import ConfigError, Settings
from models.training import loop
from tests.support import image_fixtures

CLASSES = ("bright", "dark", "rare")
SHAPE = (8, 8, 1)
FORM = ImageFormat(SHAPE)


def _image(label: int, seed: int) -> bytes:
    """A grey picture: bright, dark, or bright on one half."""
    pixels = np.random.default_rng(seed).integers(0, 60, SHAPE).astype(np.uint8)
    pixels[:, : {0: 8, 1: 0, 2: 4}[label]] += np.uint8(180)
    return tf.io.encode_png(pixels).numpy()


def _split(split: str, counts: tuple[int, int, int]) -> list[tuple[str, int, bytes]]:
    """Images sorted by class: the ids, which order them, begin with it."""
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return [
        (f"{label}/{split}{number:03d}", label, _image(label, 1000 * len(split) + number))
        for number, label in enumerate(labels)
    ]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The inputs of the component, after a training of a network that takes all rare images for bright ones."""
    folder = tmp_path_factory.mktemp("inputs")
    examples = image_fixtures.write_examples(
        folder / "examples",
        {"train": _split("train", (60, 40, 2)), "val": _split("val", (30, 20, 1)), "test": _split("test", (30, 20, 3))},
        CLASSES,
    )
    dataclasses.replace(dataset_info.load(examples.uri), channels=(1, 1)).save(examples.uri)
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    network.set_weights([np.array([[5.0, -5.0, 0.0]], np.float32), np.array([4.0, 0.0, -50.0], np.float32)])
    model, model_run = standard_artifacts.Model(), standard_artifacts.ModelRun()
    model.uri, model_run.uri = str(folder / "model"), str(folder / "run")
    export.export_model(
        network,
        os.path.join(model.uri, "Format-Serving"),
        image_format=FORM,
        class_names=CLASSES,
        mean=(0.5,),
        std=(0.25,),
    )
    train = {"epochs": 3, "batch_size": 32, "cells": 3, "channels": 4, "auxiliary_weight": 0.0, "cutout": 0}
    settings = Settings.parse({"train": {**train, "checkpoint_seconds": 0.0}, "data": {"image_size": 8, "channels": 1}})
    written = {
        "genotype": PRESETS["mdenas_cifar10"].genotype.to_dict(),
        "settings": settings.model_dump(mode="json", include={"train", "data", "seed", "deterministic"}),
        "params": 6,
        "macs": 60_000,
        "epochs": 3,
        "seconds": 40.0,
        "history": [],
    }
    artifact_files.TRAINING.save(model_run.uri, written)
    distribution = artifacts.Distribution()
    distribution.set_float_custom_property("seconds", 60.0)
    return {"examples": [examples], "model": [model], "model_run": [model_run], "distribution": [distribution]}


def _run(inputs, folder, name="out", **asked):
    """Runs the executor; returns the comparison and the predictions."""
    types = (standard_artifacts.Examples, standard_artifacts.Model, standard_artifacts.ModelRun, artifacts.Distribution)
    spec = Baselines(
        *(channel.Channel(type=of) for of in types),
        baselines=Asked(**{"names": ("majority", "cnn"), "epochs": 2, **asked}),
        checkpoint_dir=str(folder / "checkpoints"),
    )
    output = artifacts.Baselines()
    output.uri = str(folder / name)
    executor.Executor().Do(inputs, {"comparison": [output]}, spec.exec_properties)
    return (
        artifact_files.BASELINES.load(output.uri, Comparison.from_document),
        artifact_files.PREDICTIONS.load(output.uri),
    )


@pytest.fixture(scope="module")
def compared(inputs, tmp_path_factory):
    return _run(inputs, tmp_path_factory.mktemp("all"), names=("majority", "cnn", "preset"))


def test_the_figures_are_those_of_the_predictions(compared):
    found, predictions = compared
    labels = predictions["labels"]
    assert found.images == len(labels) == 53
    assert predictions["ids"][0] == b"0/test000" and sorted(predictions["ids"]) == list(predictions["ids"])
    np.testing.assert_array_equal(labels, [0] * 30 + [1] * 20 + [2] * 3)
    right = predictions["network"] == labels
    assert found.network.accuracy == np.mean(right) == 50 / 53
    assert found.network.cost == verdict.Cost(6, 60_000, 100.0, 3)
    for row in found.baselines:
        also = predictions[row.name] == labels
        assert row.accuracy == np.mean(also)
        ours, theirs = np.sum(right & ~also), np.sum(also & ~right)
        assert row.p_value == (stats.binomtest(ours, ours + theirs).pvalue if ours + theirs else 1.0)
        interval = stats.binomtest(int(np.sum(also)), len(labels)).proportion_ci(method="wilson")
        assert row.interval == (interval.low, interval.high)
    assert found.sentence == verdict.sentence(found.network, found.baselines, 53)


def test_each_baseline_is_what_it_is_called(compared):
    found, predictions = compared
    majority, cnn, preset = found.baselines
    assert set(predictions["majority"]) == {0} and majority.accuracy == 30 / 53
    assert (majority.cost.params, majority.cost.macs, majority.cost.epochs) == (0, 0, 0)
    assert (cnn.cost.params, cnn.cost.epochs) == (94_410 - 7 * 129, 2)  # of 3 classes
    assert preset.cost.details.startswith("darts_v2, 3 cells, ")  # mdenas_cifar10 is the final network's own
    assert preset.cost.macs == pytest.approx(60_000, rel=0.35) and preset.cost.epochs == 2
    assert all(row.cost.seconds > 0 for row in (cnn, preset))


class _Killed(BaseException):
    """As if the process had been killed: nothing is caught or cleaned up."""


@pytest.mark.parametrize("names, step", [(("cnn",), 2), (("cnn", "preset"), 7)])
def test_a_killed_run_resumes_to_the_same_predictions(inputs, compared, tmp_path, monkeypatch, names, step):
    """The last baseline is killed. The CNN has 3 steps an epoch, the preset 5."""
    baseline = names[-1]
    steps = []
    original = loop.Progress.step

    def kill(self, *arguments):
        if self._label == baseline:
            steps.append(arguments)
            if len(steps) > step:
                raise _Killed
        original(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(loop.Progress, "step", kill)
        with pytest.raises(_Killed):
            _run(inputs, tmp_path, "killed", names=names)
    trained = []
    monkeypatch.setattr(
        loop.Progress, "step", lambda self, *arguments: (trained.append(self._label), original(self, *arguments))
    )
    found, predictions = _run(inputs, tmp_path, "resumed", names=names)
    for name in ("network", "labels", "ids", *names):
        np.testing.assert_array_equal(predictions[name], compared[1][name], err_msg=name)
    assert {row.cost.epochs for row in found.baselines} == {2}
    assert trained.count(baseline) < 2 * {"cnn": 3, "preset": 5}[baseline]
    assert ("cnn" in trained) == (baseline == "cnn")  # what was finished is not trained again


def test_the_share_of_the_time_is_turned_into_epochs_once(inputs, tmp_path, monkeypatch):
    measured = []

    def measure(*_):
        measured.append(1)
        return 0.5  # seconds of a step

    monkeypatch.setattr(fitting, "_measure", measure)
    monkeypatch.setattr(loop, "train", _kill)
    with pytest.raises(_Killed):
        _run(inputs, tmp_path, names=("cnn",), epochs=0, time_share=0.1)  # of 100 seconds
    (decision,) = (tmp_path / "checkpoints").rglob("decision.json")
    decided = json.loads(decision.read_text())
    # 10 seconds, and 3 steps of half a second an epoch: 6, or less if building took long.
    assert decided["epochs"] == max(1, int((10 - decided["seconds"]) / 1.5)) <= 6
    asked = []
    monkeypatch.setattr(loop, "train", lambda *arguments: asked.append(arguments[2].epochs) or _kill())
    slower = {**inputs, "distribution": []}
    with pytest.raises(_Killed):
        _run(slower, tmp_path, names=("cnn",), epochs=0, time_share=0.1)
    assert asked == [decided["epochs"]] and len(measured) == 1


@pytest.mark.parametrize("share, step, steps", [(1.0, 35.0, 2), (1.0, 1000.0, 1), (1e-4, 1e-3, 1)])
def test_a_baseline_without_time_for_an_epoch_takes_some_of_the_images(
    inputs, tmp_path, monkeypatch, share, step, steps
):
    """Of a large set of images, one epoch could take longer than the whole run. In the last case the time is over."""
    monkeypatch.setattr(fitting, "_measure", lambda *_: step)
    found, _ = _run(inputs, tmp_path, names=("cnn",), epochs=0, time_share=share)  # of 100 seconds
    (decision,) = (tmp_path / "checkpoints").rglob("decision.json")
    decided = json.loads(decision.read_text())
    assert (decided["epochs"], decided["images"]) == (1, 64 * steps)
    assert found.baselines[0].cost.epochs == 64 * steps / 153


def test_other_test_images_are_classified_anew(inputs, tmp_path):
    """Not with the predictions that an earlier run has kept: the images are others."""
    _run(inputs, tmp_path, "before")
    examples = image_fixtures.write_examples(
        tmp_path / "examples",
        {"train": _split("train", (60, 40, 2)), "val": _split("val", (30, 20, 1)), "test": _split("test", (20, 30, 3))},
        CLASSES,
    )
    dataclasses.replace(dataset_info.load(examples.uri), channels=(1, 1)).save(examples.uri)
    changed = {**inputs, "examples": [examples]}
    (_, first), (found, again) = _run(changed, tmp_path / "other"), _run(changed, tmp_path, "after")
    assert found.baselines[0].accuracy == 30 / 53
    np.testing.assert_array_equal(again["labels"], [0] * 20 + [1] * 30 + [2] * 3)
    np.testing.assert_array_equal(again["cnn"], first["cnn"])


def _kill(*_):
    raise _Killed


def test_measuring_leaves_the_training_as_it_is(inputs, compared, tmp_path, monkeypatch):
    """The epochs come out as two, so the predictions must be those of two epochs that were asked for."""
    original = fitting._measure

    def measure(*arguments):
        original(*arguments)
        return 1.0

    monkeypatch.setattr(fitting, "_measure", measure)
    monkeypatch.setattr(fitting.math, "floor", lambda value: 2)
    _, predictions = _run(inputs, tmp_path, names=("cnn",), epochs=0)
    np.testing.assert_array_equal(predictions["cnn"], compared[1]["cnn"])


def _backbone(path, *, size=None, channels=3, head=False):
    """Saves a network with random features; with a classifier of other classes behind them if asked for."""
    inputs = keras.Input((size, size, channels))
    outputs = keras.layers.Rescaling(1 / 255)(inputs)
    outputs = keras.layers.Conv2D(12, 3, strides=2, activation="relu")(outputs)
    if head:
        outputs = keras.layers.Dense(1000, activation="softmax")(keras.layers.GlobalAveragePooling2D()(outputs))
    model = keras.Model(inputs, outputs)
    if str(path).endswith(".keras"):
        model.save(path)
    else:
        model.export(path, verbose=False)
    return str(path)


@pytest.mark.parametrize(
    "file, options",
    [("net.keras", {}), ("net.keras", {"head": True, "size": 16, "channels": 1}), ("saved_model", {"size": 16})],
)
def test_a_pretrained_networks_features_are_kept_and_classified_linearly(inputs, tmp_path, monkeypatch, file, options):
    path = _backbone(tmp_path / file, **options)
    found, predictions = _run(inputs, tmp_path, names=(), epochs=0, pretrained=path)
    (row,) = found.baselines
    features = artifact_files.FEATURES.load(str(tmp_path / "out"))
    assert {name: features[name].shape for name in ("train", "val", "test")} == {
        "train": (102, 12),
        "val": (51, 12),
        "test": (53, 12),
    }
    np.testing.assert_array_equal(features["test_labels"], predictions["labels"])
    assert row.accuracy > 0.9  # bright and dark are told apart by the mean of any feature
    kernel = 9 * options.get("channels", 3) * 12 + 12
    assert row.cost.params == kernel + 12 * 3 + 3
    assert (row.cost.macs is None) == (file == "saved_model" or not options)

    monkeypatch.setattr(pretrained, "features", _kill)  # they are computed once
    _, again = _run(inputs, tmp_path, "again", names=(), epochs=0, pretrained=path)
    np.testing.assert_array_equal(again["pretrained"], predictions["pretrained"])


def test_a_network_of_keras_applications_needs_its_weights_on_disk(tmp_path):
    model = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(96, 96, 3))
    path = str(tmp_path / "small.weights.h5")
    model.save_weights(path)
    found = pretrained.load("MobileNetV3Small", path, 8)
    assert (found.size, found.channels) == ((96, 96), 3)
    assert found.call(tf.zeros((1, 96, 96, 3))).shape == (1, 576)
    with pytest.raises(ConfigError, match=r"^config\.baselines\.weights: found ''; expected the file"):
        pretrained.load("MobileNetV3Small", "", 8)
    with pytest.raises(ConfigError, match=r"^config\.baselines\.pretrained: 'ResNet50' cannot be loaded: "):
        pretrained.load("ResNet50", path, 8)


def test_files_that_cannot_be_are_refused_by_the_key(tmp_path):
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"no model")
    flat = tmp_path / "flat.keras"
    keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)]).save(flat)
    for path, told in (
        (str(broken), "cannot be loaded"),
        (str(flat), "expected one input"),
        (str(tmp_path / "none.keras"), "expected a .keras file that exists"),
        ("EfficientNetB99", "expected a .keras file that exists"),
        (str(tmp_path), "expected a .keras file that exists"),
    ):
        with pytest.raises(ConfigError, match=told) as error:
            pretrained.load(path, "", 8)
        assert str(error.value).startswith("config.baselines.pretrained: ")
    with pytest.raises(ConfigError, match=r"^config\.baselines\.weights: found 'w\.h5'; expected ''"):
        pretrained.load(str(flat), "w.h5", 8)


def test_another_file_in_the_same_place_is_another_input(tmp_path):
    path = tmp_path / "net.keras"
    path.write_bytes(b"one")
    before = pretrained.fingerprint(str(path), "")
    assert before == pretrained.fingerprint(str(path), "")
    path.write_bytes(b"another")
    assert pretrained.fingerprint(str(path), "") != before
