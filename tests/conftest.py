"""Fixtures that several test files share."""

import pytest

from tests import pipeline_runs


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory) -> pipeline_runs.Finished:
    """A small but whole run of the digits pipeline; made once for all tests."""
    finished = pipeline_runs.run(tmp_path_factory.mktemp("digits") / "root")
    assert finished.returncode == 0, finished.stderr
    return finished
