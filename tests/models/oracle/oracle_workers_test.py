import json
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """What the chief and the workers of both searches left behind."""
    directory = tmp_path_factory.mktemp("workers")
    subprocess.run(
        [sys.executable, "-m", "tests.support.oracle_processes", "workers", directory], check=True, timeout=120
    )
    result = {}
    for name in ("calm", "killed"):
        place = directory / name
        result[name] = json.loads((place / "result.json").read_text())
        result[name]["ran"] = [(place / f"{worker}.txt").read_text().split() for worker in ("first", "second")]
    return result


def counted(search):
    document = search["document"]
    assert {sum(choice["epochs"]) for choice in document["choices"]} == {len(document["history"])}
    return [evaluation["trial"] for evaluation in document["history"]]


def test_two_workers_run_every_trial_and_each_counts_once(searches):
    search = searches["calm"]
    first, second = search["ran"]
    assert first and second
    assert sorted(first + second) == sorted(search["statuses"]) == sorted(counted(search))
    assert len(search["statuses"]) == 30
    assert set(search["statuses"].values()) == {"COMPLETED"}


def test_killed_worker_loses_the_trial_it_was_in_and_no_other(searches):
    search = searches["killed"]
    lost = search["ran"][1][2]
    assert len(search["statuses"]) == 30
    assert {trial: status for trial, status in search["statuses"].items() if status != "COMPLETED"} == {lost: "FAILED"}
    assert sorted([*counted(search), lost]) == sorted(search["statuses"])
