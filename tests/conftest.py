"""Fixtures that several test files share."""

import dataclasses
import fcntl
import json

import pytest

from tests.support import pipeline_runs

# Whole pipelines, the longest first: begun last, one of them would keep a single process busy while the other idles.
_LONGEST = (
    *("kubeflow_test.py", "budget_test.py", "reliability_test.py", "pipeline_test.py", "beam_runner_test.py"),
    "sweep_test.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; all else stays in its order."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Weights and draws of a test are the same in each run: what holds in float32 for most would fail now and then."""
    import keras  # Here, as the process that only hands out the tests has no use for TensorFlow.

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory, worker_id) -> pipeline_runs.Finished:
    """A small but whole run of the digits pipeline; made once, by whichever test process needs it first."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with open(shared / "digits.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = shared / "digits.json"
        if not kept.exists():
            finished = pipeline_runs.run(shared / "digits")
            kept.write_text(json.dumps(dataclasses.asdict(finished)))
    finished = pipeline_runs.Finished(**json.loads(kept.read_text()))
    assert finished.returncode == 0, finished.stderr
    return finished
