import itertools

import numpy as np
import pytest

from models.oracle import budget as budget_module
from models.oracle.budget import Budget, BudgetedSpace
from models.oracle.costs import Costs
from models.oracle.multinomial import Multinomial
from models.oracle.rules.registry import RULES

NAMES = ("a", "b", "c")
OPERATIONS = (("x", "y", "z"), ("x", "y"), ("x", "y", "z", "w"))
TABLE = {"a": {"x": 0.1, "y": 1.7, "z": 3.3}, "b": {"x": 2, "y": 0.6}, "c": {"x": 0, "y": 0.7, "z": 1.1, "w": 5}}
PROBABILITIES = np.array([[0.5, 0.2, 0.3, 0], [0.9, 0.1, 0, 0], [0.1, 0.2, 0.3, 0.4]])


def every():
    return np.array(list(itertools.product(*(range(len(its)) for its in OPERATIONS))))


def cost(indices, fixed=1.0):
    return Costs(TABLE, fixed)({name: its[i] for name, its, i in zip(NAMES, OPERATIONS, indices, strict=True)})


@pytest.mark.parametrize("limit", [2.0, 4.0, 6.5, 12.0])
def test_samples_follow_the_distribution_under_the_condition_that_they_fit(limit):
    space = BudgetedSpace(Budget(Costs(TABLE, 1.0), limit), NAMES, OPERATIONS)
    fitting = np.array([row for row in every() if cost(row) <= limit])
    weights = np.array([PROBABILITIES[np.arange(3), row].prod() for row in fitting])
    expected = 20_000 * weights / weights.sum()
    samples = space.sample(PROBABILITIES, 20_000, np.random.default_rng(1))
    counts = np.array([(samples == row).all(axis=1).sum() for row in fitting])
    assert counts.sum() == 20_000  # none is over the budget
    # The 0.999 quantile of chi-square with n degrees of freedom is below n + 3.1 sqrt(2 n) + 6.
    freedom = len(fitting) - 1
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 3.1 * (2 * freedom) ** 0.5 + 6


def test_one_sample_per_call_follows_it_too():
    """`Multinomial` draws again only where the first sample is over the budget."""
    multinomial = Multinomial(list(zip(NAMES, OPERATIONS, strict=True)), budget=Budget(Costs(TABLE, 1.0), 4.0), seed=3)
    fitting = [row for row in every() if cost(row) <= 4.0]
    samples = [multinomial.indices(multinomial.sample(number)) for number in range(2000)]
    counts = np.array([sum((sample == row).all() for sample in samples) for row in fitting])
    assert counts.sum() == 2000
    expected = 2000 / len(fitting)
    assert ((counts - expected) ** 2 / expected).sum() < 3 * len(fitting)


@pytest.mark.parametrize("rounds", [100, 0])
@pytest.mark.parametrize("seed", range(3))
def test_no_sample_of_a_large_space_is_over_a_tight_budget(rounds, seed, monkeypatch):
    """Also without rejection, where samples are drawn choice by choice."""
    monkeypatch.setattr(budget_module, "_ROUNDS", rounds)
    generator = np.random.default_rng(seed)
    names = [f"choice_{number}" for number in range(28)]
    operations = [tuple(range(8))] * 28
    table = {name: dict(enumerate((10 ** generator.uniform(-3, 6, 8)).tolist())) for name in names}
    least = sum(min(costs.values()) for costs in table.values())
    for limit in (least * (1 + 1e-12), least * 1.01, least * 3):
        costs = Costs(table)
        space = BudgetedSpace(Budget(costs, limit), names, operations)
        samples = space.sample(np.full((28, 8), 0.125), 50, generator)
        assert space.fits(samples).all()
        assert max(costs(dict(zip(names, row.tolist(), strict=True))) for row in samples) <= limit


def test_steps_of_just_over_half_of_the_budget_are_not_taken_twice():
    names = [f"choice_{number}" for number in range(20)]
    table = {name: {"off": 0, "on": 0.50001} for name in names}
    space = BudgetedSpace(Budget(Costs(table), 1.0), names, [("off", "on")] * 20)
    samples = space.sample(np.full((20, 2), 0.5), 300, np.random.default_rng(0))
    assert samples.sum(axis=1).max() == 1
    assert len(np.unique(samples, axis=0)) == 21


def test_budget_of_exactly_the_cheapest_allows_it_and_less_is_refused_with_its_cost():
    choices = list(zip(NAMES, OPERATIONS, strict=True))
    multinomial = Multinomial(choices, budget=Budget(Costs(TABLE, 1.0), 1.7))
    assert [multinomial.sample(number) for number in range(5)] == [{"a": "x", "b": "y", "c": "x"}] * 5
    with pytest.raises(ValueError, match="found the limit 1.6; expected 1.7 or more, the cost of the cheapest"):
        Multinomial(choices, budget=Budget(Costs(TABLE, 1.0), 1.6))


@pytest.mark.parametrize(
    ("least", "told"),
    [(12_345_678.9, "12,345,679"), (12_345_678, "12,345,678"), (0.195312, "0.1954"), (1234.56, "1,235")],
)
def test_the_least_limit_that_an_error_tells_is_accepted(least, told):
    def limited(limit):
        return Multinomial([("a", ["x", "y"])], budget=Budget(Costs({"a": {"x": 0, "y": 1}}, least), limit))

    with pytest.raises(ValueError, match=f"found the limit 0.12345678; expected {told} or more, the cost of the cheap"):
        limited(0.12345678)
    limited(float(told.replace(",", "")))
    with pytest.raises(ValueError, match="found the limit 1,234,567; expected 2,000,000 or more"):
        Multinomial([("a", ["x"])], budget=Budget(Costs({"a": {"x": 0}}, 2e6), 1234567.0))


@pytest.mark.parametrize("rule", RULES)
def test_search_stays_within_its_budget_and_is_repeatable(rule):
    """The score rewards the costly operations."""

    def search(limit):
        choices = list(zip(NAMES, OPERATIONS, strict=True))
        multinomial = Multinomial(choices, rule, seed=2, budget=None if limit is None else Budget(Costs(TABLE), limit))
        found = []
        for number in range(40):
            found.append(multinomial.sample(number))
            multinomial.observe(found[-1], Costs(TABLE)(found[-1]))
        return [*found, multinomial.argmax()]

    found = search(5.0)
    assert max(map(Costs(TABLE), found)) <= 5.0
    assert found == search(5.0)
    # A budget that all fit changes nothing.
    if rule != "interactions":  # its random candidates are drawn in another way
        assert search(1000.0) == search(None)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": {"x": -1, "y": 0, "z": 0}}, "'x' for the choice 'a': found -1; expected a finite number, 0 or more"),
        ({"a": {"x": 1, "y": float("nan"), "z": 0}}, "'y' for the choice 'a': found nan"),
        ({"a": {"x": 1, "y": 1}}, "costs of the choice 'a': found none of the operation 'z'"),
        ({"d": {"x": 1}}, "costs: found the choice 'd'; expected one of a, b, c"),
    ],
)
def test_wrong_costs_are_refused_by_name(table, message):
    with pytest.raises(ValueError, match=message):
        Multinomial(list(zip(NAMES, OPERATIONS, strict=True)), budget=Budget(Costs(table), 9.0))
