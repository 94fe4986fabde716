import os
import subprocess
import sys

import pytest

from models.oracle.rules.registry import RULES
from tests.support.oracle_processes import KILL_AFTER, KILL_IN_SAVE, make_oracle, run


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A directory with what every killed search left behind."""
    directory = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, "-m", "tests.support.oracle_processes", "kill", directory], check=True, timeout=120)
    return directory


@pytest.mark.parametrize("rule", RULES)
def test_killed_search_goes_on_with_the_samples_of_an_uninterrupted_one(rule, killed, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    whole = run(make_oracle(tmp_path, rule=rule), max(KILL_AFTER) + 50)
    for moment in (*KILL_AFTER, *KILL_IN_SAVE):
        oracle = make_oracle(killed / rule / str(moment), rule=rule)
        oracle.reload()
        # In a save, twelve trials were started and eleven were ended before.
        done = moment if moment in KILL_AFTER else 11
        assert len(oracle.multinomial) == done
        assert run(oracle, 50) == whole[done : done + 50], moment
