"""SupernetSearch: what a search that fails leaves a person with."""

import json
import types

import pytest
from tfx.types import standard_artifacts

from components.supernet_search import executor
from models.oracle import TooManyFailures


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Runs the executor with a search that raises an error."""

    def run(error):
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
        settings = {
            "space": {"name": "cell"},
            "search": {"max_invalid": 3},
            "oracle": {"rule": "paper", "warmup_rounds": None},
            "data": {},
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


def test_another_error_is_passed_on_whatever_it_says(search):
    error = RuntimeError("the driver reports consecutive failures")
    with pytest.raises(RuntimeError) as passed:
        search(error)
    assert passed.value is error
