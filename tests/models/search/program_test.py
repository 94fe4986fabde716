"""models/search/program.py and ranking.py: the best architecture within a budget, against all architectures."""

import itertools

import numpy as np
import pytest

from models.architectures.choices import Choice
from models.costs.additive import AdditiveCost
from models.search.program import Limit, solve
from models.search.ranking import Additive, Enumerated, Searched, within
from models.search.shape import Shape

OPERATIONS = ("conv", "none", "skip_connect", "pool")
CHOICES = tuple(Choice(f"edge_{number}", OPERATIONS) for number in range(5))
SHAPES = {
    "free": Shape((Choice("a", ("x", "y", "z")), Choice("b", ("x", "y")), Choice("c", ("x", "y", "z", "w")))),
    "two edges a node": Shape(CHOICES, nodes=((0, 1), (2, 3, 4))),
    "two edges a node, one skip connection": Shape(CHOICES, nodes=((0, 1), (2, 3, 4)), max_skips=1),
    "routes": Shape(CHOICES, routes=((0,), (1, 2), (3, 4, 1))),
    "routes, no skip connection": Shape(CHOICES, routes=((0,), (1, 2)), max_skips=0),
}


def everything(shape):
    """Returns all rows of a shape, by hand."""
    rows = np.array(list(itertools.product(*(range(size) for size in shape.sizes))))
    kept = []
    for row in rows:
        names = list(shape.path(row).values())
        real = [name != "none" for name in names]
        kept.append(
            all(sum(real[edge] for edge in node) == 2 for node in shape.nodes)
            and (not shape.routes or any(all(real[edge] for edge in route) for route in shape.routes))
            and (shape.max_skips is None or names.count("skip_connect") <= shape.max_skips)
        )
    return rows[kept]


def limit(shape, generator, rows, kind, share):
    """Returns a limit between the cheapest and the dearest of some rows, on random costs."""
    if kind == "whole":
        draw = lambda: int(generator.integers(1, 50)) * 36_864  # noqa: E731
    elif kind == "equal":  # many architectures cost the same, and the limit is just below
        draw = lambda: int(generator.integers(0, 3)) * 10**8 + 7  # noqa: E731
    else:
        draw = generator.random
    parts = {choice.name: {name: draw() for name in choice.operations if name != "none"} for choice in shape.choices}
    cost = AdditiveCost(kind, "", 3 if kind != "real" else 0.3, parts)
    costs = sorted(cost.of(shape.path(row)) for row in rows)
    chosen = costs[int(share * (len(costs) - 1))]
    return Limit(cost, chosen - 1 if kind == "equal" else chosen, shape.table(parts))


@pytest.mark.parametrize("kind", ["whole", "real", "equal"])
@pytest.mark.parametrize("name", SHAPES)
def test_the_linear_program_finds_the_best_of_all_architectures(name, kind):
    shape = SHAPES[name]
    rows = everything(shape)
    for seed in range(6):
        generator = np.random.default_rng([seed, len(name)])
        values = generator.normal(size=(len(shape.choices), shape.sizes.max()))
        budget = [limit(shape, generator, rows, kind, share) for share in (0.7, 0.4)[: seed % 3]]
        found = solve(shape, values, budget)
        fitting = [
            row for row in rows if all(part.cost.of(shape.path(row)) <= part.limit * (1 + 1e-12) for part in budget)
        ]
        if not fitting:
            assert found is None
            continue
        best = Additive(shape, values).scores(np.array(fitting)).max()
        assert Additive(shape, values).scores(found[np.newaxis])[0] == pytest.approx(best, abs=1e-9)
        assert any((found == row).all() for row in fitting)


def test_nothing_is_found_where_nothing_fits():
    shape = SHAPES["two edges a node"]
    cost = AdditiveCost("macs", "", 10, {choice.name: {"conv": 5, "pool": 5} for choice in CHOICES})
    table = shape.table(cost.parts)
    assert solve(shape, table, [Limit(cost, 9, table)]) is None
    found = solve(shape, table, [Limit(cost, 10, table)])  # the best costs as much as the limit
    assert found is not None and set(shape.path(found).values()) == {"skip_connect", "none"}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_counts_draws_and_changes_architectures_that_keep_to_it(name):
    shape = SHAPES[name]
    rows = {tuple(row) for row in everything(shape)}
    drawn = shape.random(300, np.random.default_rng(0))
    assert len(drawn) == 300 and {tuple(row) for row in drawn} <= rows
    found = [tuple(row) for row in shape.everything()]
    assert set(found) == rows and len(found) == len(rows)
    if shape.max_skips is None and not shape.routes:
        assert shape.count() == len(rows)
    # Every architecture can be reached by single changes.
    reached, new = set(), {tuple(drawn[0])}
    while new:
        reached |= new
        new = {tuple(row) for start in new for row in shape.moves(np.array(start))} - reached
    assert reached == rows


def interacting(shape, seed):
    """Returns scores that do not add up over the choices."""
    table = np.random.default_rng(seed).normal(size=(len(shape.choices), shape.sizes.max(), shape.sizes.max()))

    def scores(rows):
        pairs = list(enumerate(itertools.pairwise(range(rows.shape[1]))))
        return sum(table[number, rows[:, first], rows[:, second]] for number, (first, second) in pairs)

    return scores


@pytest.mark.parametrize("name", ["two edges a node", "two edges a node, one skip connection", "routes"])
def test_the_local_search_finds_the_best_of_all_in_a_small_space(name):
    shape = SHAPES[name]
    rows = everything(shape)
    for seed in range(4):
        scores = interacting(shape, seed)
        searched = Searched(shape, scores, rows[:0], seed)
        for share in (0.2, 0.6):
            budget = [limit(shape, np.random.default_rng(seed), rows, "real", share)]
            fitting = rows[within(rows, budget)]
            best = searched.best(budget, rows[:0])
            assert within(best[np.newaxis], budget).all()
            assert scores(best[np.newaxis])[0] == pytest.approx(scores(fitting).max())


def test_the_local_search_gives_the_same_again_and_uses_what_was_evaluated():
    shape = Shape(tuple(Choice(f"block_{number}", tuple("abcdef")) for number in range(12)))
    scores = interacting(shape, 0)
    budget = [limit(shape, np.random.default_rng(0), shape.random(100, np.random.default_rng(1)), "whole", 0.3)]
    first, second = (Searched(shape, scores, shape.random(0, np.random.default_rng(0)), 7) for _ in range(2))
    nothing = np.zeros((0, 12), np.int64)
    assert (first.best(budget, nothing) == second.best(budget, nothing)).all()
    # A needle that only an evaluation can know.
    needle = np.full(12, 3)
    with_needle = lambda rows: scores(rows) + 1000.0 * (rows == needle).all(axis=1)  # noqa: E731
    found = Searched(shape, with_needle, needle[np.newaxis], 7).best([], nothing)
    assert (found == needle).all()


def test_enumeration_and_sum_agree_where_the_score_is_a_sum():
    shape = SHAPES["routes"]
    values = np.random.default_rng(0).normal(size=(5, 4))
    added = Additive(shape, values)
    counted = Enumerated(shape, added.scores)
    nothing = np.zeros((0, 5), np.int64)
    for share in (0.1, 0.5, 0.9):
        budget = [limit(shape, np.random.default_rng(3), everything(shape), "whole", share)]
        both = np.array([ranking.best(budget, nothing) for ranking in (added, counted)])
        assert added.scores(both)[0] == pytest.approx(added.scores(both)[1])
        assert within(both, budget).all()
