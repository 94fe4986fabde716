"""models/runtime/progress.py: the time that is left."""

import re

from models.runtime import progress


def lines(capsys) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_line_shows_the_time_left_for_the_job_and_for_the_run_if_it_is_known(capsys):
    shown = progress.Progress("train", 2)
    with progress.followed_by(3600.0):
        shown.epoch(1, loss=0.5)
    shown.epoch(1, loss=0.5)
    with progress.followed_by(None):
        shown.epoch(1, loss=0.5)
    planned, *others = lines(capsys)
    assert planned == "train 2/2  loss 0.5000  0:00:00 left, 1:00:00 of the run"
    assert others == ["train 2/2  loss 0.5000  0:00:00 left"] * 2


def test_the_run_is_not_known_after_an_error(capsys):
    try:
        with progress.followed_by(60.0):
            raise InterruptedError
    except InterruptedError:
        progress.Progress("search", 1).epoch(0)
    assert not re.search("of the run", lines(capsys)[0])
