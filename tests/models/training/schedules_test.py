"""models/training/schedules.py: the learning rate of each epoch."""

import math

import pytest

from models.settings import ConfigError, Train
from models.training import schedules

RECIPE = {"learning_rate": 0.1, "epochs": 10, "schedule": "cosine", "decay_rate": 0.97, "warmup_epochs": 0}


def test_the_cosine_starts_at_the_learning_rate_and_ends_near_zero():
    rate = schedules.learning_rate(Train.parse(RECIPE))
    assert rate(0) == 0.1
    assert rate(5) == pytest.approx(0.05)
    assert rate(10) == pytest.approx(0.0)
    assert rate(9) == pytest.approx(0.1 * (1 + math.cos(0.9 * math.pi)) / 2)


def test_the_exponential_schedule_multiplies_by_the_decay_rate_each_epoch():
    rate = schedules.learning_rate(Train.parse({**RECIPE, "schedule": "exponential"}))
    assert [rate(0), rate(1), rate(2)] == pytest.approx([0.1, 0.097, 0.09409])


def test_warm_up_rises_linearly_to_the_schedule():
    rate = schedules.learning_rate(
        Train.parse({**RECIPE, "schedule": "exponential", "decay_rate": 1.0, "warmup_epochs": 3})
    )
    assert [rate(epoch) for epoch in range(5)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])


def test_an_unknown_schedule_is_refused():
    with pytest.raises(
        ConfigError, match=r"config\.train\.schedule: found 'step'; expected one of 'cosine', 'exponential'\."
    ):
        Train.parse({**RECIPE, "schedule": "step"}, "train")
