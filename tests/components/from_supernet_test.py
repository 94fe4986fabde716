"""config.train.from_supernet: SupernetSearch passes on its weights, and the Trainer starts with them."""

import os
import re
import types

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tensorflow_config
from tfx.types import channel, standard_artifacts

from components import artifacts
from components.supernet_search import executor
from components.supernet_search.component import SupernetSearch
from models import trainer
from models.runtime import artifact_files
from models.settings import Settings
from tests.support import image_fixtures

SECTIONS = {
    "space": {"name": "nasbench201", "operations": ("nor_conv_1x1", "nor_conv_3x3")},
    "search": {"epochs": 2, "cells": 1, "channels": 4, "batch_size": 8, "pad": 1},
    "train": {
        **{"network": "nasbench201", "cells": 1, "channels": 4, "epochs": 1, "batch_size": 8, "pad": 1, "cutout": 0},
        **{"learning_rate": 1e-9, "checkpoint_seconds": 0.0},
    },
}
GENOTYPE = {"space": "nasbench201", "operations": ["nor_conv_3x3"] * 6}


@pytest.fixture(autouse=True, scope="module")
def deterministic_again():
    yield
    tensorflow_config.disable_op_determinism()


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Colour images, sorted by class: nine cats and one dog in each split."""
    splits = {
        split: [
            (f"{split}/{number}", int(number == 9), image_fixtures.encode(10 * start + number)) for number in range(10)
        ]
        for start, split in enumerate(("train", "val", "test"))
    }
    return image_fixtures.write_examples(tmp_path_factory.mktemp("examples"), splits)


def _search(examples, folder, from_supernet, name):
    """Runs the search; returns the folder of the weights."""
    settings = Settings.parse({**SECTIONS, "train": {**SECTIONS["train"], "from_supernet": from_supernet}})
    node = SupernetSearch(
        channel.Channel(type=standard_artifacts.Examples),
        channel.Channel(type=artifacts.ImageReport),
        **{section: getattr(settings, section) for section in ("space", "search", "oracle", "data", "train")},
        seed=0,
        deterministic=True,
        tuned_kernels=True,
        checkpoint_dir=str(folder / "checkpoints"),
    )
    outputs = {key: [standard_artifacts.Model()] for key in ("results", "logs", "supernet")}
    outputs["distribution"] = [artifacts.Distribution()]
    for key, (artifact,) in outputs.items():
        artifact.uri = str(folder / name / key)
    executor.Executor().Do({"examples": [examples]}, outputs, node.exec_properties)
    return outputs["supernet"][0].uri


@pytest.fixture(scope="module")
def searched(examples, tmp_path_factory):
    """The weights of a search that does not pass them on, and of the same search that does."""
    folder = tmp_path_factory.mktemp("search")
    return [_search(examples, folder, from_supernet, str(from_supernet)) for from_supernet in (False, True)]


def _train(examples, folder, from_supernet, **inputs):
    train = {**SECTIONS["train"], "from_supernet": from_supernet}
    settings = Settings.parse({**SECTIONS, "train": train})
    arguments = types.SimpleNamespace(
        hyperparameters={"genotype": GENOTYPE},
        custom_config={
            **settings.model_dump(mode="json", include={"train", "data", "space", "serving"}),
            **{"seed": 0, "deterministic": True, "tuned_kernels": True},
            **{"checkpoint_dir": str(folder / "checkpoints"), **inputs},
        },
        train_files=[os.path.join(examples.uri, f"Split-{split}", "*") for split in ("train", "val")],
        model_run_dir=str(folder / "run"),
        serving_model_dir=str(folder / "model"),
    )
    trainer.run_fn(arguments)
    model = tf.saved_model.load(arguments.serving_model_dir)
    return [value.numpy() for value in model.signatures["serve_uint8"].variables]


def test_the_search_itself_is_the_same(searched):
    without, with_weights = (artifact_files.SUPERNET.load(uri) for uri in searched)
    assert without.keys() == with_weights.keys()
    assert all(np.array_equal(without[name], with_weights[name]) for name in without)
    assert [artifact_files.INHERITED.exists(uri) for uri in searched] == [False, True]
    weights = [array for name, array in with_weights.items() if name.startswith("weights/")]
    given = artifact_files.INHERITED.load(searched[1])
    assert sum(array.size for array in given.values()) == sum(array.size for array in weights)


def test_the_training_starts_with_the_weights_says_how_many_and_depends_on_them(examples, searched, tmp_path, capfd):
    given = artifact_files.INHERITED.load(searched[1])
    stem = given["stem/0"]
    trained = _train(examples, tmp_path / "one", True, supernet=searched[1])
    told = re.search(r"^train: ([\d,]+) of ([\d,]+) weights are those of the search's", capfd.readouterr().err, re.M)
    taken, total = (int(number.replace(",", "")) for number in told.groups())
    assert taken == sum(array.size for name, array in given.items() if "nor_conv_1x1" not in name) < total
    # With a learning rate of nearly 0, the training leaves the weights as they are.
    close = [value for value in trained if value.shape == stem.shape and np.allclose(value, stem, atol=1e-6)]
    assert len(close) == 1
    fresh = _train(examples, tmp_path / "fresh", False)
    assert not any(value.shape == stem.shape and np.allclose(value, stem, atol=1e-6) for value in fresh)

    artifact_files.INHERITED.save(str(tmp_path / "other"), {name: array + 1 for name, array in given.items()})
    _train(examples, tmp_path / "one", True, supernet=str(tmp_path / "other"))
    assert len(os.listdir(tmp_path / "one" / "checkpoints")) == 2
