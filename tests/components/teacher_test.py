"""Teacher: soft labels of the right images, killed and resumed, and what Trainer and Baselines make of them."""

import dataclasses
import os
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tensorflow_config
from tfx.types import channel, standard_artifacts

from components import artifacts
from components.baselines import executor as baselines_executor
from components.baselines.component import Baselines
from components.teacher import executor
from components.teacher.component import Teacher
from components.trainer import executor as trainer_executor
from models import trainer
from models.baselines import fitting, linear_head, pretrained, verdict
from models.baselines.verdict import Comparison
from models.data import dataset, dataset_info
from models.runtime import artifact_files
from models.settings import Baselines as Asked
from models.settings import ConfigError, Settings
from tests.support import image_fixtures

CLASSES = ("bright", "dark", "rare")
SETTINGS = Settings.parse(
    {
        "data": {"image_size": 8, "channels": 1},
        "space": {"name": "nasbench201"},
        "train": {
            **{"network": "nasbench201", "cells": 1, "channels": 4, "epochs": 2, "batch_size": 32, "cutout": 2},
            **{"pad": 1, "checkpoint_seconds": 0.0, "teacher": True, "teacher_weight": 0.5},
        },
    }
)
GENOTYPE = {
    "space": "nasbench201",
    "operations": ["nor_conv_3x3", "skip_connect", "none", "nor_conv_1x1", "avg_pool_3x3", "skip_connect"],
}


@pytest.fixture(autouse=True, scope="module")
def deterministic_again():
    yield
    tensorflow_config.disable_op_determinism()


def _image(label: int, seed: int) -> bytes:
    """A grey picture: bright, dark, or bright on one half."""
    pixels = np.random.default_rng(seed).integers(0, 60, (8, 8, 1)).astype(np.uint8)
    pixels[:, : {0: 8, 1: 0, 2: 4}[label]] += np.uint8(180)
    return tf.io.encode_png(pixels).numpy()


def _split(split: str, counts: tuple[int, int, int]) -> list[tuple[str, int, bytes]]:
    """Images whose ids mix the splits, as those of a folder that is sorted by class do."""
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return [
        (f"{label}/{number:03d}{split}", label, _image(label, 1000 * len(split) + number))
        for number, label in enumerate(labels)
    ]


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    found = image_fixtures.write_examples(
        tmp_path_factory.mktemp("examples"),
        {"train": _split("train", (40, 30, 2)), "val": _split("val", (20, 15, 1)), "test": _split("test", (20, 15, 2))},
        CLASSES,
    )
    dataclasses.replace(dataset_info.load(found.uri), channels=(1, 1)).save(found.uri)
    return found


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A .keras file of a network with random features of colour images of any size."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    outputs = keras.layers.Conv2D(12, 5, strides=4, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    path = str(tmp_path_factory.mktemp("backbone") / "net.keras")
    keras.Model(inputs, outputs).save(path)
    return path


def _teach(examples, backbone, folder, name="out"):
    """Runs the executor; returns the artifact."""
    spec = Teacher(
        channel.Channel(type=standard_artifacts.Examples),
        channel.Channel(type=artifacts.ImageReport),
        baselines=Asked(pretrained=backbone),
        data=SETTINGS.data,
        deterministic=True,
        tuned_kernels=True,
        checkpoint_dir=str(folder / "checkpoints"),
    )
    output = artifacts.SoftLabels()
    output.uri = str(folder / name)
    executor.Executor().Do({"examples": [examples]}, {"soft_labels": [output]}, spec.exec_properties)
    return output


@pytest.fixture(scope="module")
def taught(examples, backbone, tmp_path_factory):
    return _teach(examples, backbone, tmp_path_factory.mktemp("taught"))


def _patterns(examples):
    return [os.path.join(examples.uri, f"Split-{split}", "*") for split in ("train", "val")]


def test_the_scores_are_those_of_a_head_that_saw_train_alone(examples, taught):
    found = artifact_files.SOFT_LABELS.load(taught.uri)
    features = artifact_files.FEATURES.load(taught.uri)
    document = artifact_files.TEACHER.load(taught.uri, dict)
    data = dataset.load_examples(_patterns(examples), SETTINGS.data)
    np.testing.assert_array_equal(found["ids"], data.ids)
    assert document["data"] == data.fingerprint and taught.get_float_custom_property("seconds") > 0
    by_id = {}
    splits = {split: (features[split], features[f"{split}_labels"]) for split in ("train", "val")}
    head = linear_head.train_head(splits["train"], splits["val"], 3)
    for split, (values, _) in splits.items():
        by_id.update(zip(features[f"{split}_ids"].tolist(), head.scores(values), strict=True))
    expected = np.stack([by_id[name] for name in data.ids.tolist()])
    np.testing.assert_array_equal(found["scores"], expected.astype(np.float32))
    assert np.mean(found["scores"].argmax(axis=1) == data.labels) > 0.9  # not those of other images
    assert document["strength"] == head.strength and document["val_accuracy"] > 0.9


class _Killed(BaseException):
    """As if the process had been killed: nothing is caught or cleaned up."""


def _kill(*_):
    raise _Killed


def test_a_killed_teacher_resumes_to_the_same_bits(examples, backbone, taught, tmp_path, monkeypatch):
    original, computed = pretrained.features, []

    def features(network, images, what):
        if len(computed) == 1:
            raise _Killed
        computed.append(what)
        return original(network, images, what)

    with monkeypatch.context() as patched:
        patched.setattr(pretrained, "features", features)
        with pytest.raises(_Killed):
            _teach(examples, backbone, tmp_path, "killed")
    computed.clear()
    monkeypatch.setattr(
        pretrained,
        "features",
        lambda network, images, what: (computed.append(what), original(network, images, what))[1],
    )
    resumed = _teach(examples, backbone, tmp_path, "resumed")
    assert computed == ["pretrained: images of val", "pretrained: images of test"]
    for file in (artifact_files.SOFT_LABELS, artifact_files.FEATURES):
        one, other = file.load(taught.uri), file.load(resumed.uri)
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def _train(examples, folder, *, settings=SETTINGS, name="run", **inputs):
    """Calls the Trainer's function; returns its record and the weights that it exports."""
    arguments = types.SimpleNamespace(
        hyperparameters={"genotype": GENOTYPE},
        custom_config={
            **settings.model_dump(mode="json", include={"train", "data", "space", "serving"}),
            **{"seed": 0, "deterministic": True, "tuned_kernels": True},
            **{"checkpoint_dir": str(folder / "checkpoints"), **inputs},
        },
        train_files=_patterns(examples),
        model_run_dir=str(folder / name / "run"),
        serving_model_dir=str(folder / name / "model"),
    )
    trainer.run_fn(arguments)
    model = tf.saved_model.load(arguments.serving_model_dir)
    values = [value.numpy() for value in model.signatures["serve_uint8"].variables]
    return artifact_files.TRAINING.load(arguments.model_run_dir, dict), values


def test_a_killed_training_resumes_and_other_soft_labels_begin_anew(examples, taught, tmp_path, monkeypatch):
    record, calm = _train(examples, tmp_path / "calm", soft_labels=taught.uri)
    assert record["settings"]["train"]["teacher"]
    original, steps = trainer.train, []

    def killed(classifier, *arguments):
        classifier.make_train_function()
        step = classifier.train_function
        classifier.train_function = (
            lambda iterator: _kill() if len(steps) == 4 else (steps.append(1), step(iterator))[1]
        )
        return original(classifier, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "train", killed)
        with pytest.raises(_Killed):
            _train(examples, tmp_path / "killed", soft_labels=taught.uri)
    _, resumed = _train(examples, tmp_path / "killed", soft_labels=taught.uri)
    assert all(np.array_equal(one, other) for one, other in zip(calm, resumed, strict=True))
    assert len(os.listdir(tmp_path / "killed" / "checkpoints")) == 1

    arrays = artifact_files.SOFT_LABELS.load(taught.uri)
    artifact_files.SOFT_LABELS.save(str(tmp_path / "other"), {**arrays, "scores": -arrays["scores"]})
    artifact_files.TEACHER.save(str(tmp_path / "other"), artifact_files.TEACHER.load(taught.uri, dict))
    asked = []
    monkeypatch.setattr(trainer, "train", lambda *arguments: asked.append(arguments[5]) or _kill())
    with pytest.raises(_Killed):
        _train(examples, tmp_path / "killed", soft_labels=str(tmp_path / "other"))
    assert os.path.basename(asked[0]) not in os.listdir(tmp_path / "killed" / "checkpoints")


@pytest.mark.parametrize("setting, lacks", [("teacher", "no teacher"), ("from_supernet", "no search that trains a")])
def test_a_setting_whose_input_the_pipeline_lacks_is_refused(examples, tmp_path, setting, lacks):
    without = SETTINGS.train.model_copy(update={"teacher": False, setting: True})
    with pytest.raises(ConfigError, match=rf"^config\.train\.{setting}: found True; expected False: .* with {lacks}"):
        _train(examples, tmp_path, settings=SETTINGS.model_copy(update={"train": without}))


def test_the_trainer_is_told_where_its_inputs_are(monkeypatch):
    monkeypatch.setattr(
        trainer_executor.executor.GenericExecutor,
        "_GetFnArgs",
        lambda *_: types.SimpleNamespace(custom_config={"a": 1}),
    )
    labels, supernet = artifacts.SoftLabels(), artifacts.SupernetWeights()
    labels.uri, supernet.uri = "/labels", "/supernet"
    for given, expected in (
        ({}, {}),
        ({"soft_labels": [labels], "supernet": []}, {"soft_labels": "/labels"}),
        ({"supernet": [supernet]}, {"supernet": "/supernet"}),
    ):
        arguments = trainer_executor.Executor()._GetFnArgs(given, {}, {})
        assert arguments.custom_config == {"a": 1, **expected}


def test_baselines_learn_from_the_same_teacher_and_compute_no_features(
    examples, backbone, taught, tmp_path, monkeypatch
):
    run = standard_artifacts.ModelRun()
    run.uri = str(tmp_path / "run")
    record = {
        "genotype": GENOTYPE,
        "settings": SETTINGS.model_dump(mode="json", include={"train", "data", "space"}),
        **{"params": 1, "macs": 30_000, "epochs": 2, "seconds": 1.0},
    }
    artifact_files.TRAINING.save(run.uri, record)
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "model")
    test_images = dataset.load_examples(os.path.join(examples.uri, "Split-test", "*"), SETTINGS.data)
    monkeypatch.setattr(fitting, "served_predictions", lambda *_: test_images.labels)
    monkeypatch.setattr(pretrained, "features", _kill)
    monkeypatch.setattr(linear_head, "train_head", _kill)
    fitted, fit = {}, fitting.fit

    def recorded(name, make, settings, limits, train, *rest):
        fitted[name] = (settings.train.teacher, train.scores is not None, make().distillation is not None)
        if name == "cnn_distilled":
            return fit(name, make, settings, limits, train, *rest)
        return fitting.Outcome(np.zeros(len(test_images), np.int32), verdict.Cost(1, 1, 1.0, 1))

    monkeypatch.setattr(fitting, "fit", recorded)
    types_ = (standard_artifacts.Examples, standard_artifacts.Model, standard_artifacts.ModelRun)
    spec = Baselines(
        *(channel.Channel(type=of) for of in types_),
        baselines=Asked(names=("cnn", "preset"), epochs=1, pretrained=backbone),
        checkpoint_dir=str(tmp_path / "checkpoints"),
    )
    output = artifacts.Baselines()
    output.uri = str(tmp_path / "out")
    inputs = {"examples": [examples], "model": [model], "model_run": [run], "soft_labels": [taught]}
    baselines_executor.Executor().Do(inputs, {"comparison": [output]}, spec.exec_properties)
    found = artifact_files.BASELINES.load(output.uri, Comparison.from_document)
    assert [row.name for row in found.baselines] == ["cnn", "preset", "cnn_distilled", "pretrained"]
    assert fitted == {"cnn": (False,) * 3, "preset": (True,) * 3, "cnn_distilled": (True,) * 3}
    assert verdict.WORDS["cnn_distilled"] in found.sentence
    assert not artifact_files.FEATURES.exists(output.uri)
    # The same classifier as without a teacher: trained on train and val.
    features = artifact_files.FEATURES.load(taught.uri)
    parts = [(features[split], features[f"{split}_labels"]) for split in ("train", "val")]
    strength = artifact_files.TEACHER.load(taught.uri, dict)["strength"]
    expected = linear_head.train_again(*parts, 3, strength).scores(features["test"]).argmax(axis=1)
    np.testing.assert_array_equal(artifact_files.PREDICTIONS.load(output.uri)["pretrained"], expected)
