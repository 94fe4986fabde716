"""SupernetSearch: its parameters, a search by scores, and what a search that fails leaves a person with."""

import json
import types

import numpy as np
import pytest
from tensorflow.python.framework import config as tensorflow_config
from tfx.types import channel, standard_artifacts

from components import artifacts
from components.parameters import parse_settings
from components.supernet_search import executor
from components.supernet_search.component import SupernetSearch
from models.data import dataset
from models.oracle import TooManyFailures
from models.planning.plan import Plan
from models.runtime import artifact_files
from models.runtime.section import SEARCH
from models.search import spectrum
from models.settings import Settings
from tests.support.spaces import make_space


def component(**sections):
    settings = Settings.parse(sections)
    return SupernetSearch(
        channel.Channel(type=standard_artifacts.Examples),
        channel.Channel(type=artifacts.ImageReport),
        **{name: getattr(settings, name) for name in ("space", "search", "oracle", "data", "train")},
        seed=0,
        deterministic=True,
        tuned_kernels=True,
        checkpoint_dir="somewhere",
    )


@pytest.mark.parametrize(
    "train", [{"cells": 5}, {"channels": 5}, {"epochs": 5}], ids=["cells", "channels", "what a score does not look at"]
)
def test_the_final_networks_size_is_a_parameter_of_a_search_that_looks_at_it(train):
    """TFX takes the result of an earlier search where the parameters are equal."""
    for objective in ("val_accuracy", "spectrum"):
        search = {"objective": objective}
        one, other = (component(search=search, train=values).exec_properties for values in ({}, train))
        assert (one != other) == (objective == "spectrum" and "epochs" not in train)
        # Just as the checkpoints of a search that was interrupted.
        keys = [
            parse_settings(properties, "space", "search", "oracle", "data", "train").key(SEARCH)
            for properties in (one, other)
        ]
        assert (keys[0] != keys[1]) == (one != other)
        assert keys[1] == Settings.parse({"search": search, "train": train}).key(SEARCH)


@pytest.mark.parametrize("epochs", [3, 4], ids=["as the settings say", "as a plan says"])
def test_a_search_by_scores_leaves_what_the_next_components_read(tmp_path, monkeypatch, capfd, epochs):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), np.uint8)
    labels = np.arange(8, dtype=np.int32) % 2
    data = dataset.ImageDataset(pixels, labels, labels.astype(bytes), ("a", "b"), (0.5,), (0.25,))
    monkeypatch.setattr(executor, "load_split", lambda *_: data)
    monkeypatch.setattr(spectrum, "REFERENCE", 4)
    space = {"name": "tests.support.tiny_space"}
    search = {"objective": "spectrum", "score_images": 4, "epochs": 3}
    properties = component(space=space, search=search, train={"channels": 4}).exec_properties
    outputs = {name: [standard_artifacts.Model()] for name in ("results", "logs", "supernet")}
    outputs["distribution"] = [artifacts.Distribution()]
    for name, (artifact,) in outputs.items():
        artifact.uri = str(tmp_path / name)
    plan = artifacts.Plan()
    plan.uri = str(tmp_path / "plan")
    choices = {"search.epochs": epochs} if epochs != 3 else {}
    artifact_files.PLAN.save(plan.uri, Plan(1.0, choices).document())
    inputs = {"examples": [], "plan": [plan]} if choices else {"examples": []}
    try:
        executor.Executor().Do(inputs, outputs, {**properties, "checkpoint_dir": str(tmp_path / "kept")})
    finally:
        tensorflow_config.disable_op_determinism()
    scores = [figures["spectrum"] for figures in artifact_files.EPOCHS.load(outputs["results"][0].uri, list)]
    assert len(scores) == epochs
    assert outputs["distribution"][0].get_float_custom_property("seconds") > 0
    shown = [line for line in capfd.readouterr().err.splitlines() if line.startswith("search ")]
    assert all(("of the run" in line) == bool(choices) for line in shown) and len(shown) == epochs
    document = artifact_files.DISTRIBUTION.load(outputs["distribution"][0].uri, dict)
    assert [choice["name"] for choice in document["choices"]] == [choice.name for choice in make_space(space).choices]
    assert document["best"]["score"] == max(scores)
    assert artifact_files.SUPERNET.load(outputs["supernet"][0].uri) == {}


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Runs the executor with a search that raises an error."""

    def run(error, objective="val_accuracy"):
        class Tuner:
            def __init__(self, *_, **__):
                pass

            def search(self, **_):
                raise error

        data = types.SimpleNamespace(image_shape=(8, 8, 1), class_names=("a", "b"), fingerprint="")
        monkeypatch.setattr(executor, "load_split", lambda *_: data)
        monkeypatch.setattr(executor.setup, "set_up", lambda **_: None)
        monkeypatch.setattr(executor.tuner, "path_trainer", lambda *_: None)
        monkeypatch.setattr(executor.tuner, "SupernetTuner", Tuner)
        monkeypatch.setattr(executor.spectrum_tuner, "spectral_score", lambda *_: None)
        monkeypatch.setattr(executor.spectrum_tuner, "SpectrumTuner", Tuner)
        settings = {
            "space": {"name": "cell"},
            "search": {"max_invalid": 3, "objective": objective},
            "oracle": {"rule": "paper", "warmup_rounds": None},
            "data": {},
            "train": {},
        }
        properties = {name: json.dumps(value) for name, value in settings.items()}
        properties |= {
            "seed": 0,
            "search_epochs": 4,
            "deterministic": 0,
            "tuned_kernels": 0,
            "checkpoint_dir": str(tmp_path),
        }
        outputs = {name: [standard_artifacts.Model()] for name in ("results", "logs")}
        for name, (artifact,) in outputs.items():
            artifact.uri = str(tmp_path / name)
        executor.Executor().Do({"examples": []}, outputs, properties)

    return run


def test_too_many_failed_trials_end_with_what_to_do(search):
    with pytest.raises(RuntimeError, match="after 3 failed trials in a row.*config.search.max_invalid.*out of memory"):
        search(TooManyFailures("out of memory"))


def test_what_to_do_is_said_in_settings_that_the_objective_has_a_use_for(search):
    failures = TooManyFailures("out of memory")
    with pytest.raises(RuntimeError, match=r"config\.search\.learning_rate, .*\.mixed_precision=''"):
        search(failures)
    with pytest.raises(
        RuntimeError, match=r"config\.search\.score_images, .*\.channels or config\.train\.cells"
    ) as told:
        search(failures, "spectrum")
    assert "learning_rate" not in str(told.value)


def test_another_error_is_passed_on_whatever_it_says(search):
    error = RuntimeError("the driver reports consecutive failures")
    with pytest.raises(RuntimeError) as passed:
        search(error)
    assert passed.value is error


def test_the_weights_are_made_before_the_oracle_which_takes_one_of_the_random_numbers(search, monkeypatch):
    made = []
    strategy, search_oracle = executor.setup.strategy, executor.tuner.search_oracle
    monkeypatch.setattr(executor.setup, "strategy", lambda: made.append("weights") or strategy())
    monkeypatch.setattr(executor.tuner, "search_oracle", lambda *all_: made.append("oracle") or search_oracle(*all_))
    with pytest.raises(InterruptedError):
        search(InterruptedError())
    assert made == ["weights", "oracle"]
