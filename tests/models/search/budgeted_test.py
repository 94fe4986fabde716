"""models/search/budgeted.py: what is derived within a budget, and fronts, in the real spaces."""

import itertools

import numpy as np
import pytest

from models.costs.additive import AdditiveCost
from models.oracle.multinomial import Multinomial
from models.search import derivation
from models.search.budgeted import BudgetError, Selector, cheapest
from models.search.front import Front, Point
from models.search.shape import Shape
from models.search_spaces.base import random_path
from tests.support.spaces import make_space

SPACES = {
    "cell": {"name": "cell"},
    "cell without none": {"name": "cell", "operations": ["skip_connect", "sep_conv_3x3", "max_pool_3x3"]},
    "cell with one operation": {"name": "cell", "operations": ["sep_conv_3x3", "none"]},
    "mobile": {"name": "mobile"},
    "nasbench201": {"name": "nasbench201"},
}
RULES = ("paper", "main_effects", "interactions")


def searched(space, rule, evaluations=40, seed=0):
    """Returns what a search learned of architectures whose operations have random effects."""
    generator = np.random.default_rng(seed)
    effects = {(choice.name, name): generator.normal() for choice in space.choices for name in choice.operations}
    multinomial = Multinomial([(choice.name, choice.operations) for choice in space.choices], rule, seed=seed)
    for _ in range(evaluations):
        path = random_path(space, generator)
        score = sum(effects[edge] for edge in path.items() if edge in effects)
        multinomial.observe(path, score + 0.1 * generator.normal())
    return multinomial


def costs(space, seed=0):
    """Returns two random costs, one in whole numbers."""
    generator = np.random.default_rng(seed)

    def parts(draw):
        return {c.name: {name: draw() for name in c.operations if name != "none"} for c in space.choices}

    return (
        AdditiveCost("macs", "", 1000, parts(lambda: int(generator.integers(100, 5000)))),
        AdditiveCost("file_mb", "MB", 0.5, parts(generator.random)),
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", SPACES)
def test_no_budget_is_violated_and_no_random_architecture_that_fits_is_better(name, rule):
    space = make_space(SPACES[name])
    macs, file_mb = costs(space)
    shape = Shape.of(space)
    selector = Selector(space, searched(space, rule), (macs, file_mb))
    random = [shape.path(row) for row in shape.random(200, np.random.default_rng(1))]
    middle = {cost.name: float(np.median([cost.of(path) for path in random])) for cost in (macs, file_mb)}
    for limits in ({}, {"macs": middle["macs"]}, middle):
        found = selector.best(limits)
        path = space.path(found.genotype)
        assert all(found.costs[cost.name] == cost.of(path) for cost in (macs, file_mb))
        assert all(found.costs[cost] <= limit for cost, limit in limits.items())
        assert selector.candidate(path).predicted == pytest.approx(found.predicted, rel=1e-5)
        for other in random:
            candidate = selector.candidate(other)
            if all(candidate.costs[cost] <= limit for cost, limit in limits.items()):
                assert candidate.predicted <= found.predicted + 1e-5


@pytest.mark.parametrize("name", ["cell", "mobile", "nasbench201"])
def test_without_a_budget_the_papers_rule_gives_the_papers_derivation(name):
    space = make_space(SPACES[name])
    multinomial = searched(space, "paper")
    generator = np.random.default_rng(5)
    drawn = [generator.dirichlet(np.ones(len(choice.operations))) for choice in space.choices]
    for row, probabilities in enumerate(drawn):
        multinomial.probabilities[row, : len(probabilities)] = probabilities
    found = Selector(space, multinomial, costs(space)).best()
    assert found.genotype == space.derive(
        {choice.name: probabilities for choice, probabilities in zip(space.choices, drawn, strict=True)}
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["cell", "cell with one operation", "mobile", "nasbench201"])
def test_a_front_rises_from_the_cheapest_to_the_best(name, rule):
    space = make_space(SPACES[name])
    macs, file_mb = costs(space)
    multinomial = searched(space, rule)
    selector = Selector(space, multinomial, (macs, file_mb))
    front = selector.front(6)
    assert 2 <= len(front) <= 6
    for before, after in itertools.pairwise(front):
        assert before.costs["macs"] < after.costs["macs"] and before.predicted < after.predicted
    shape = Shape.of(space)
    least = min(macs.of(shape.path(row)) for row in shape.random(2000, np.random.default_rng(0)))
    assert front[0].costs["macs"] <= least
    assert front[-1].predicted >= selector.best().predicted - 1e-5
    again = Selector(space, multinomial, (macs, file_mb)).front(6)
    assert [candidate.genotype for candidate in again] == [candidate.genotype for candidate in front]
    spread = Selector(space, multinomial, (macs, file_mb)).front(3, "file_mb")
    assert all(a.costs["file_mb"] < b.costs["file_mb"] for a, b in itertools.pairwise(spread))


@pytest.mark.parametrize("name", ["cell", "nasbench201"])
@pytest.mark.parametrize("rule", ["paper", "interactions"])
def test_the_limit_on_skip_connections_holds_within_a_budget(name, rule):
    space = make_space(SPACES[name])
    macs, _ = costs(space)
    cheap = {choice: {**parts, "skip_connect": 0} for choice, parts in macs.parts.items()}
    macs = AdditiveCost("macs", "", 1000, cheap)
    selector = Selector(space, searched(space, rule), (macs,), max_skip_connections=1)
    for candidate in selector.front(4):
        assert len(derivation.skip_connections(space, candidate.genotype)) <= 1


def test_a_budget_that_nothing_meets_is_refused_with_the_cheapest():
    space = make_space(SPACES["cell"])
    macs, file_mb = costs(space)
    for rule in RULES:
        selector = Selector(space, searched(space, rule), (macs, file_mb))
        least = selector.front(2)[0].costs["macs"]
        with pytest.raises(BudgetError, match=rf"budget\.macs: found 900; the cheapest architecture .* {least:,}\."):
            selector.best({"macs": 900, "file_mb": 9.0})
        assert selector.best({"macs": least}).costs["macs"] == least
    small = selector.front(2, "file_mb")[0].costs["file_mb"]
    with pytest.raises(BudgetError, match="each limit can be met, but no architecture meets all of them together"):
        selector.best({"macs": least, "file_mb": small})


@pytest.mark.parametrize(
    ("fixed", "limit", "found", "told"),
    [
        (0.195312, 0.19, "0.19", "0.1954"),
        (1e-6 / 3, 1e-7, "1e-07", "3.334e-07"),
        (1234567.8, 9e5, "900,000", "1,234,568"),
    ],
)
def test_the_least_limit_that_an_error_tells_is_accepted(fixed, limit, found, told):
    space = make_space(SPACES["nasbench201"])
    selector = Selector(space, searched(space, "paper"), [AdditiveCost("latency_ms", "ms", fixed, {})])
    with pytest.raises(BudgetError, match=rf"found {found} ms; the cheapest architecture .* has {told} ms\."):
        selector.best({"latency_ms": limit})
    assert selector.best({"latency_ms": float(told.replace(",", ""))}).costs["latency_ms"] == fixed


def test_limits_in_messages_have_all_of_their_digits():
    space = make_space(SPACES["cell"])
    macs, file_mb = costs(space)
    least, small = (cheapest(Shape.of(space), cost) for cost in (macs, file_mb))
    with pytest.raises(BudgetError, match=f"found macs={least:,}, file_mb={small}; each limit can be met, but"):
        Selector(space, searched(space, "paper"), (macs, file_mb)).best({"macs": least, "file_mb": small})


def test_a_cost_that_is_not_known_is_refused():
    space = make_space(SPACES["nasbench201"])
    selector = Selector(space, searched(space, "paper"), costs(space))
    with pytest.raises(BudgetError, match=r"latency_ms: this cost is not known; known are macs, file_mb\. Measure a"):
        selector.best({"latency_ms": 3.0})
    latency = AdditiveCost("latency_ms", "ms", 1.0, {})
    table = Selector(space, searched(space, "paper"), (*costs(space), latency))
    assert table.best({"latency_ms": 3.0}).costs["latency_ms"] == 1.0
    with pytest.raises(BudgetError, match=r"latency_ms: found 0\.5 ms; the cheapest architecture .* has 1 ms\."):
        table.best({"latency_ms": 0.5})


def test_a_front_is_json_and_reads_back():
    space = make_space(SPACES["nasbench201"])
    selector = Selector(space, searched(space, "paper"), costs(space))
    best = selector.best()
    front = Front("macs", (Point.of(best, "front/00.json"),), Point.of(best), {"other": Point.of(best)})
    assert Front.from_document(front.document()) == front
    assert front.document()["points"][0]["latency_ms"] is None
    assert front.within("/a").points[0].genotype == "/a/front/00.json"
