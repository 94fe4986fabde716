"""models/trainer.py: a training that leaves out val, and its accuracy there."""

import os
import types

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tensorflow_config

from models import trainer
from models.data import dataset
from models.runtime import artifact_files
from models.settings import Settings
from tests.support import image_fixtures

TRAIN = {
    **{"network": "nasbench201", "cells": 1, "channels": 4, "epochs": 2, "batch_size": 8, "pad": 1, "cutout": 0},
    **{"learning_rate": 0.05},
}
GENOTYPE = {"space": "nasbench201", "operations": ["nor_conv_3x3"] * 6}


@pytest.fixture(autouse=True, scope="module")
def deterministic_again():
    yield
    tensorflow_config.disable_op_determinism()


def _examples(folder, val):
    """Ten images in train, and in val as many as there are labels."""
    labels = {"train": [0] * 5 + [1] * 5, "val": val, "test": [0, 1]}
    splits = {
        split: [(f"{split}/{number}", label, image_fixtures.encode(number)) for number, label in enumerate(found)]
        for split, found in labels.items()
    }
    folder.mkdir()
    return image_fixtures.write_examples(folder, splits)


def _train(examples, folder, hold_out):
    space = {"name": "nasbench201", "operations": ("nor_conv_1x1", "nor_conv_3x3")}
    settings = Settings.parse({"space": space, "train": {**TRAIN, "hold_out_val": hold_out}})
    arguments = types.SimpleNamespace(
        hyperparameters={"genotype": GENOTYPE},
        custom_config={
            **settings.model_dump(mode="json", include={"train", "data", "space", "serving"}),
            **{"seed": 0, "deterministic": True, "tuned_kernels": True, "checkpoint_dir": str(folder / "checkpoints")},
        },
        train_files=[os.path.join(examples.uri, f"Split-{split}", "*") for split in ("train", "val")],
        model_run_dir=str(folder / "run"),
        serving_model_dir=str(folder / "model"),
    )
    trainer.run_fn(arguments)
    model = tf.saved_model.load(arguments.serving_model_dir)
    return artifact_files.TRAINING.load(arguments.model_run_dir, dict), model, arguments.train_files[1]


# One class alone in val, and more images there than a batch has.
@pytest.mark.parametrize("val", [[1] * 3, [0, 1] * 5])
def test_val_is_left_out_and_its_accuracy_is_that_of_the_exported_model(tmp_path, val):
    examples = _examples(tmp_path / "examples", val)
    record, model, files = _train(examples, tmp_path / "held out", True)
    images = dataset.load_examples(files, Settings().data)
    answer = model.signatures["serve_uint8"](tf.constant(images.images))
    right = np.mean(answer["probabilities"].numpy().argmax(axis=1) == images.labels)
    assert record["val_accuracy"] == pytest.approx(right)
    assert record["settings"]["train"]["hold_out_val"] is True


def test_the_training_does_not_depend_on_a_val_that_is_held_out(tmp_path):
    one, other = (_examples(tmp_path / name, val) for name, val in (("one", [0, 1]), ("other", [1, 1, 1, 0])))
    held_out = [_train(examples, tmp_path / f"run {i}", True)[0]["history"] for i, examples in enumerate((one, other))]
    assert held_out[0] == held_out[1]
    record, *_ = _train(one, tmp_path / "used", False)
    assert record["history"] != held_out[0]
    assert record["val_accuracy"] is None
