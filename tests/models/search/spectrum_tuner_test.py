"""models/search/spectrum_tuner.py: the search by scores, on a supernet that is tiny but whole."""

import json

import numpy as np
import pytest
import tensorflow as tf
from absl import logging
from tensorflow.python.framework import config as tensorflow_config

from models.data import dataset
from models.runtime import setup
from models.runtime.section import NOTHING, leaves
from models.search import spectrum, spectrum_tuner, tuner
from models.settings import Oracle, Search, Train
from tests.support.spaces import make_space

EPOCHS = 5
SEARCH = {"objective": "spectrum", "epochs": EPOCHS, "score_images": 6, "max_invalid": 3, "checkpoint_every": 1}
ORACLE = {"rule": "paper", "paper": {"alpha": 0.05}}


@pytest.fixture(autouse=True)
def _deterministic(monkeypatch):
    monkeypatch.setattr(spectrum, "REFERENCE", 4)
    yield
    tensorflow_config.disable_op_determinism()


@pytest.fixture
def warned(monkeypatch):
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *arguments: lines.append(text % arguments))
    return lines


def _images(count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 1), np.uint8)
    ids = np.array([b"%03d" % number for number in range(count)])
    return dataset.ImageDataset(pixels, np.arange(count, dtype=np.int32) % 3, ids, ("a", "b", "c"), (0.5,), (0.25,))


def _tuner(directory, name="run", space="tests.support.tiny_space", score=None, **search):
    space = make_space({"name": space})
    setup.set_up(seed=0, deterministic=True, tuned_kernels=True)
    search = Search.parse({**SEARCH, **search})
    return spectrum_tuner.SpectrumTuner(
        tuner.search_oracle(space, Oracle.parse(ORACLE), search, seed=0),
        score or spectrum_tuner.spectral_score(space, search, Train(channels=4), _images(20), seed=0),
        search,
        checkpoint_dir=str(directory / "checkpoints"),
        results_dir=str(directory / name / "results"),
        log_dir=str(directory / name / "logs"),
    )


def _epochs(directory, name="run"):
    return json.loads((directory / name / "results" / "epochs.json").read_text())


def _scored(searched, function):
    """Replaces the score by a function of the number of the call (from 1) and the true score's function."""
    score, calls = searched._score.score, []

    def replaced(path, number):
        calls.append(number)
        return function(len(calls), lambda: score(path, number))

    searched._score.score = replaced
    return calls


def test_a_search_scores_an_architecture_per_trial_and_learns_from_the_scores(tmp_path, capsys, warned):
    searched = _tuner(tmp_path)
    searched.search(verbose=0)
    epochs = _epochs(tmp_path)
    assert [figures["epoch"] for figures in epochs] == list(range(EPOCHS))
    for figures in epochs:
        assert figures["status"] == "COMPLETED"
        assert set(figures) == {"epoch", "status", "entropy", "best", "spectrum"}
        assert 0 < figures["spectrum"] <= figures["best"] <= 1
    document = searched.oracle.distribution_document()
    assert [entry["score"] for entry in document["history"]] == [figures["spectrum"] for figures in epochs]
    assert searched.arrays() == {}
    shown = capsys.readouterr().err
    assert f"search {EPOCHS}/{EPOCHS}" in shown and "spectrum" in shown and "entropy" in shown
    assert not warned


class _Stopped(BaseException):
    """As if the process had been killed: nothing is caught or cleaned up."""


# What a search may be resumed with: all settings of a search that change nothing but time and memory.
RESUMED_WITH = {"traced_architectures": 1, "checkpoint_every": 3, "max_invalid": 7}


def test_all_settings_without_effect_are_tried():
    assert set(RESUMED_WITH) == {name for name, _, known in leaves(Search()) if known.changes == (NOTHING,)}


@pytest.mark.parametrize("changed", [{}, RESUMED_WITH], ids=["same settings", "other settings without effect"])
def test_a_search_stopped_in_the_middle_of_a_trial_ends_bit_for_bit_as_if_it_had_not_been(tmp_path, changed):
    calm = _tuner(tmp_path / "calm")
    calm.search(verbose=0)

    def stop_in_the_third(call, score):
        found = score()  # the weights have been drawn, the trial has not ended
        if call == 3:
            raise _Stopped
        return found

    stopped = _tuner(tmp_path / "stormy", "first")
    _scored(stopped, stop_in_the_third)
    with pytest.raises(_Stopped):
        stopped.search(verbose=0)
    again = _tuner(tmp_path / "stormy", "second", **changed)
    calls = _scored(again, lambda _, score: score())
    again.search(verbose=0)
    assert calls == [2, 3, 4]
    assert again.oracle.distribution_document() == calm.oracle.distribution_document()
    assert _epochs(tmp_path / "stormy", "second") == _epochs(tmp_path / "calm")


def test_a_trial_without_memory_has_failed_and_changes_nothing(tmp_path):
    def out_of_memory(call, score):
        if call == 2:
            raise tf.errors.ResourceExhaustedError(None, None, "no room for a tensor")
        return score()

    searched = _tuner(tmp_path)
    _scored(searched, out_of_memory)
    searched.search(verbose=0)
    assert [figures["status"] for figures in _epochs(tmp_path)] == ["COMPLETED", "FAILED", *["COMPLETED"] * 3]
    assert searched.oracle.trials["1"].message == "Out of memory: no room for a tensor"
    assert all(sum(choice["epochs"]) == EPOCHS - 1 for choice in searched.oracle.distribution_document()["choices"])


def test_a_mistake_in_the_program_is_seen_and_not_counted_as_a_failed_trial(tmp_path):
    def broken(call, score):
        raise TypeError("broken")

    searched = _tuner(tmp_path)
    _scored(searched, broken)
    with pytest.raises(TypeError, match="broken"):
        searched.search(verbose=0)


def test_equal_scores_are_warned_of_once_at_the_end(tmp_path, warned):
    searched = _tuner(tmp_path)
    _scored(searched, lambda call, score: warned.append("scored") or 0.25)
    searched.search(verbose=0)
    assert warned[:-1] == ["scored"] * EPOCHS
    assert f"all {EPOCHS} scores are 0.250" in warned[-1]


def test_the_scored_architectures_of_the_cell_space_are_those_that_can_be_built(tmp_path):
    scored = []

    class Score:
        def score(self, path, number):
            scored.append(dict(path))
            return 0.1 * (1 + number)

    searched = _tuner(tmp_path, space="cell", score=Score(), epochs=2)
    searched.search(verbose=0)
    assert len(scored) == 2
    for path in scored:
        assert sum(name != "none" for name in path.values()) == 2 * 4 * 2
    assert searched.oracle.multinomial.best().architecture == scored[1]


def test_a_search_that_trains_samples_all_edges():
    space = make_space({"name": "cell"})
    oracle = tuner.search_oracle(space, Oracle.parse(ORACLE), Search(epochs=2), seed=0)
    trial = oracle.populate_space("0")
    assert sum(name != "none" for name in trial["values"].values()) > 16
