"""models/planning/plan.py: what a plan tells the stages after it and a person."""

import json

import pytest

from models.planning import plan
from models.planning.plan import Plan
from models.runtime.section import SEARCH, TRAINING
from models.settings import ConfigError, Settings

PLAN = Plan(
    minutes=2.0,
    choices={"search.epochs": 30, "train.cells": 3, "train.learning_rate": 0.05},
    reasons=("The network has 3 cells.",),
    warnings=("Too few epochs.",),
    seconds={plan.BEFORE: 20.0, plan.SEARCH: 30.0, plan.TRAINING: 40.0, plan.REPORT: 10.0, plan.RESERVE: 5.0},
    over=(plan.BEFORE,),
    used=22.5,
    figures={"images": 4},
)


def test_a_plan_comes_back_from_json_as_it_was():
    assert Plan.from_document(json.loads(json.dumps(PLAN.document()))) == PLAN
    with pytest.raises(KeyError):
        Plan.from_document({"minutes": 1.0})
    with pytest.raises(TypeError):
        Plan.from_document({**PLAN.document(), "more": 1})


def test_a_plan_changes_the_settings_that_it_chose_and_no_other():
    before = Settings.parse({"search": {"epochs": 5}, "train": {"cells": 9, "channels": 9}})
    after = PLAN.apply(before)
    assert (after.search.epochs, after.train.cells, after.train.learning_rate) == (30, 3, 0.05)
    assert after.train.channels == 9 and after.data == before.data
    assert Plan(0.0).apply(before) == before
    # A resumed search or training depends on what was chosen, not on the minutes.
    other = before.model_copy(update={"budget": PLAN.apply(Settings.parse({"budget": {"minutes": 9.0}})).budget})
    for of in (SEARCH, TRAINING):
        assert other.key(of) == before.key(of) != after.key(of)


def test_a_choice_that_cannot_be_is_named():
    with pytest.raises(ConfigError, match=r"config\.train\.cells: found 0; expected"):
        plan.apply({"train.cells": 0}, Settings())


def test_the_time_after_a_stage_is_that_of_the_later_ones_without_the_reserve():
    assert PLAN.after(plan.SEARCH) == 50
    assert PLAN.after(plan.TRAINING) == 10
    assert PLAN.after(plan.REPORT) == 0


def test_the_lines_of_a_plan_name_stages_choices_and_reasons():
    told = "\n".join(PLAN.lines())
    for part in ("2 minutes", "start and data", "(over)", "config.search.epochs = 30", "The network has 3 cells."):
        assert part in told
