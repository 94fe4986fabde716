"""models/search/tuner.py: the search epoch by epoch, on a supernet that is tiny but whole."""

import json
import math

import keras_tuner
import numpy as np
import pytest
from tensorflow.python.framework import config as tensorflow_config

from models.data import dataset
from models.oracle.distribution import Distribution
from models.runtime import setup
from models.runtime.section import NOTHING, leaves
from models.search import derivation, tuner
from models.settings import Oracle, Search
from tests.support.spaces import make_space

EPOCHS = 4
SEARCH = {
    "epochs": EPOCHS,
    "max_invalid": 3,
    "batch_size": 8,
    "cells": 3,
    "channels": 4,
    "learning_rate": 0.05,
    "min_learning_rate": 0.01,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "gradient_clip": 5.0,
    "pad": 1,
    "flip": True,
    "cutout": 0,
    "xla": False,
    "traced_architectures": 2,
    "norm_images": 16,
    "checkpoint_every": 1,
}
ORACLE = {"rule": "paper", "warmup_rounds": None, "paper": {"alpha": 0.05}}


@pytest.fixture(autouse=True)
def _deterministic():
    setup.set_up(seed=0, deterministic=True, tuned_kernels=True)
    yield
    tensorflow_config.disable_op_determinism()


def _images(count, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % 3
    images = rng.integers(0, 80, (count, 4, 4, 1), dtype=np.uint8) + (labels * 80).astype(np.uint8)[:, None, None, None]
    ids = np.array([b"%03d" % number for number in range(count)])
    return dataset.ImageDataset(images, labels, ids, ("a", "b", "c"), (0.5,), (0.25,))


def _tuner(directory, name="run", space="tests.support.tiny_space", **search):
    space = make_space({"name": space})
    setup.set_up(seed=0, deterministic=True, tuned_kernels=True)
    search = Search.parse({**SEARCH, **search})
    train = _images(24, seed=0)
    return tuner.SupernetTuner(
        tuner.search_oracle(space, Oracle.parse(ORACLE), search, seed=0),
        tuner.path_trainer(space, search, train.image_shape, 3),
        train,
        _images(18, seed=1),
        search,
        seed=0,
        checkpoint_dir=str(directory / "checkpoints"),
        results_dir=str(directory / name / "results"),
        log_dir=str(directory / name / "logs"),
    )


def _epochs(directory, name="run"):
    return json.loads((directory / name / "results" / "epochs.json").read_text())


def test_a_search_runs_an_epoch_per_trial_and_counts_what_it_trained(tmp_path, capsys):
    searched = _tuner(tmp_path)
    searched.search(verbose=0)
    epochs = _epochs(tmp_path)
    assert [figures["epoch"] for figures in epochs] == list(range(EPOCHS))
    assert all(figures["status"] == "COMPLETED" for figures in epochs)
    assert all(0 <= figures["val_accuracy"] <= 1 and math.isfinite(figures["loss"]) for figures in epochs)
    document = searched.oracle.distribution_document()
    assert len(document["choices"]) == 3
    assert all(sum(choice["epochs"]) == EPOCHS for choice in document["choices"])
    assert [entry["score"] for entry in document["history"]] == [figures["val_accuracy"] for figures in epochs]
    shown = capsys.readouterr().err
    assert f"search 4/{EPOCHS}" in shown and "entropy" in shown and "left" in shown


def test_the_learning_rate_is_a_cosine_over_the_epochs():
    rates = [tuner.learning_rate(Search.parse({**SEARCH, "epochs": 4}), epoch) for epoch in range(5)]
    upper, lower = (0.01 + 0.04 * (1 + sign * math.sqrt(0.5)) / 2 for sign in (1, -1))
    assert rates == pytest.approx([0.05, upper, 0.03, lower, 0.01])


class _Stopped(BaseException):
    """As if the process had been killed: nothing is caught or cleaned up."""


# What a search may be resumed with: all of its settings that change nothing but time and memory.
RESUMED_WITH = {"traced_architectures": 1, "checkpoint_every": 3, "max_invalid": 7}


def test_all_settings_without_effect_are_tried():
    assert set(RESUMED_WITH) == {name for name, _, known in leaves(Search()) if known.changes == (NOTHING,)}


@pytest.mark.parametrize("changed", [{}, RESUMED_WITH], ids=["same settings", "other settings without effect"])
def test_a_search_stopped_in_the_middle_of_an_epoch_ends_bit_for_bit_as_if_it_had_not_been(tmp_path, changed):
    calm = _tuner(tmp_path / "calm")
    calm.search(verbose=0)

    stopped = _tuner(tmp_path / "stormy", "first")
    train_epoch, calls = stopped.trainer.train_epoch, []

    def stop_in_the_third(*args, **kwargs):
        calls.append(1)
        figures = train_epoch(*args, **kwargs)  # the weights have moved, the trial has not ended
        if len(calls) == 3:
            raise _Stopped
        return figures

    stopped.trainer.train_epoch = stop_in_the_third
    with pytest.raises(_Stopped):
        stopped.search(verbose=0)
    again = _tuner(tmp_path / "stormy", "second", **changed)
    trained = []
    train_epoch = again.trainer.train_epoch
    again.trainer.train_epoch = lambda *args, **kwargs: trained.append(1) or train_epoch(*args, **kwargs)
    again.search(verbose=0)

    assert len(trained) == 2  # the third and the fourth
    assert again.oracle.distribution_document() == calm.oracle.distribution_document()
    assert _epochs(tmp_path / "stormy", "second") == _epochs(tmp_path / "calm")
    expected = calm.trainer.state()
    found = again.trainer.state()
    assert all(np.array_equal(found[name], value) for name, value in expected.items())


def test_a_trial_whose_loss_is_not_finite_leaves_weights_and_distribution_alone(tmp_path):
    searched = _tuner(tmp_path)
    train_epoch, states = searched.trainer.train_epoch, []

    def explode_in_the_second(*args, **kwargs):
        states.append(searched.trainer.state())
        figures = train_epoch(*args, **kwargs)
        return {**figures, "loss": math.nan} if len(states) == 2 else figures

    searched.trainer.train_epoch = explode_in_the_second
    searched.search(verbose=0)
    assert [figures["status"] for figures in _epochs(tmp_path)] == ["COMPLETED", "FAILED", "COMPLETED", "COMPLETED"]
    assert all(np.array_equal(states[1][name], states[2][name]) for name in states[1])
    document = searched.oracle.distribution_document()
    assert all(sum(choice["epochs"]) == EPOCHS - 1 for choice in document["choices"])


def test_a_search_in_nas_bench_201_ends_in_a_network(tmp_path):
    searched = _tuner(tmp_path, space="nasbench201", cells=1, epochs=6)
    searched.search(verbose=0)
    assert [figures["status"] for figures in _epochs(tmp_path)] == ["COMPLETED"] * 6
    space = make_space({"name": "nasbench201"})
    distribution = Distribution.from_document(searched.oracle.distribution_document())
    for source in ("argmax", "best"):
        derived = derivation.derive(space, distribution, source)
        network = space.network(derived.genotype, (4, 4, 1), 3, channels=4, cells=1)
        assert network(np.zeros((2, 4, 4, 1), "float32")).shape == (2, 3)


def test_too_many_failures_in_a_row_stop_the_search(tmp_path):
    searched = _tuner(tmp_path)
    searched.trainer.train_epoch = lambda *args, **kwargs: {"loss": math.inf, "accuracy": 0.0}
    with pytest.raises(RuntimeError, match="consecutive failures exceeded the limit of 3"):
        searched.search(verbose=0)


def test_a_mistake_in_the_program_is_seen_and_not_counted_as_a_failed_trial(tmp_path):
    searched = _tuner(tmp_path)

    def broken(*args, **kwargs):
        raise TypeError("broken")

    searched.trainer.train_epoch = broken
    with pytest.raises(TypeError, match="broken"):
        searched.search(verbose=0)


def test_the_hyperparameters_are_the_choices_of_the_space():
    space = make_space({"name": "cell"})
    values = tuner.hyperparameters(space)
    assert isinstance(values, keras_tuner.HyperParameters)
    assert [value.name for value in values.space] == [choice.name for choice in space.choices]
    assert list(values.space[0].values) == list(space.choices[0].operations)
