"""How the result of a search ranks the architectures of a space, and the best of them within a budget.

Three cases: the score adds up over the choices, and a linear program finds the optimum; the space is small, and all
architectures are scored; or the space is large, and a local search looks for the best posterior mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from models.architectures.cell import NONE
from models.oracle.multinomial import Multinomial
from models.search.program import Limit, solve
from models.search.shape import Shape

_LEAST = 1e-12  # least probability in a logarithm, which keeps scores finite
_SMALL = 50_000  # all architectures of a space with at most this number are scored
_BATCH = 4096  # architectures that are scored at once
_POOL = 10_000  # random architectures that a local search knows from the start
_NOISE = 0.5  # the disturbance of a sum of effects, in deviations of the effects
# A gain counts from this number of deviations on: scores are rounded, and a search must not go in circles.
_LEAST_GAIN = 1e-5
_PAIRED = 40  # a pair of changes contains one of this number of best single changes

_Expected = Callable[[np.ndarray], np.ndarray]


class Ranking(Protocol):
    """Scores of architectures, as rows of a shape; larger is better."""

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Returns the scores of rows, float64 (rows,)."""
        ...

    def best(self, budget: Sequence[Limit], known: np.ndarray) -> np.ndarray | None:
        """Returns the best row within a budget; None if there is none.

        Args:
            budget: The limits.
            known: Good rows to start from, which may be over the budget; may be empty.
        """
        ...


def ranking(shape: Shape, multinomial: Multinomial, seed: int) -> Ranking:
    """Returns the ranking by what a search learned.

    Args:
        shape: The architectures.
        multinomial: What the search learned.
        seed: Of the local search.
    """
    effects = multinomial.effects()
    if effects is not None:
        return Additive(shape, _table(shape, effects, 0.0))
    offered = np.array([len(operations) for operations in multinomial.operations])

    def expected(rows: np.ndarray) -> np.ndarray | None:
        # `none`, where the space does not offer it, is a choice that is not active.
        return multinomial.expected(np.where(rows < offered, rows, -1))

    if expected(np.zeros((1, len(offered)), np.int64)) is None:
        logarithms = np.log(np.maximum(multinomial.probabilities, _LEAST))
        if shape.nodes:  # the derivation passes over `none`: it takes the most probable edges
            none = shape.positions(NONE)
            logarithms = _table(shape, logarithms, 0.0)
            logarithms[np.arange(len(none)), none] = 0.0
        return Additive(shape, logarithms)
    scored = _batched(expected)
    if shape.count() <= _SMALL:
        return Enumerated(shape, scored)
    return Searched(shape, scored, multinomial.architectures, seed)


class Additive:
    """Scores that add up over the choices.

    Args:
        shape: The architectures.
        values: float64 (choices, operations).
    """

    def __init__(self, shape: Shape, values: np.ndarray):
        self._shape, self._values = shape, values

    def scores(self, rows: np.ndarray) -> np.ndarray:
        return self._values[np.arange(rows.shape[1]), rows].sum(axis=1)

    def best(self, budget: Sequence[Limit], known: np.ndarray) -> np.ndarray | None:
        del known  # the linear program needs no start
        return solve(self._shape, self._values, budget)


class Enumerated:
    """Scores of all architectures of a small space.

    Args:
        shape: The architectures.
        scored: Returns the scores of rows.
    """

    def __init__(self, shape: Shape, scored: _Expected):
        self._shape, self.scores = shape, scored
        self._rows = shape.everything()
        self._scores = scored(self._rows)

    def best(self, budget: Sequence[Limit], known: np.ndarray) -> np.ndarray | None:
        del known
        fitting = np.flatnonzero(within(self._rows, budget))
        return self._rows[fitting[self._scores[fitting].argmax()]] if len(fitting) else None


class Searched:
    """Scores of a large space, whose best architectures a local search finds.

    The search starts from several architectures within the budget: the best known one, and the optima of two linear
    programs whose sum of effects is fitted to the scores, one of them with a disturbance. It takes the best change of
    one operation or edge until none is better. From the best end it goes on with pairs of changes, which exchange a
    good operation for cheaper ones elsewhere. All randomness comes from the seed.

    Args:
        shape: The architectures.
        scored: Returns the scores of rows.
        evaluated: The architectures that the search evaluated, int64 (evaluations, choices).
        seed: Of the random architectures and disturbances.
    """

    def __init__(self, shape: Shape, scored: _Expected, evaluated: np.ndarray, seed: int):
        self._shape, self.scores = shape, scored
        self._generator = np.random.default_rng(seed)
        drawn = shape.random(_POOL, self._generator)
        evaluated = evaluated[(evaluated >= 0).all(axis=1)]
        self._pool = np.concatenate([drawn, evaluated[shape.valid(evaluated)]])
        self._pool_scores = scored(self._pool)
        self._least = _LEAST_GAIN * self._pool_scores.std()
        columns = np.eye(shape.sizes.max())[drawn].reshape(len(drawn), -1)
        centred = self._pool_scores[: len(drawn)] - self._pool_scores[: len(drawn)].mean()
        effects, *_ = np.linalg.lstsq(columns, centred, rcond=None)
        self._effects = effects.reshape(len(shape.choices), -1)

    def best(self, budget: Sequence[Limit], known: np.ndarray) -> np.ndarray | None:
        starts = [start for start in self._starts(budget, known) if start is not None]
        if not starts:
            return None
        ends = np.array([self._climbed(start, budget) for start in starts])
        best = ends[self.scores(ends).argmax()]
        while (improved := self._paired(best, budget)) is not None:
            best = self._climbed(improved, budget)
        self._pool = np.concatenate([self._pool, best[np.newaxis]])
        self._pool_scores = np.append(self._pool_scores, self.scores(best[np.newaxis]))
        return best

    def _starts(self, budget: Sequence[Limit], known: np.ndarray) -> Iterator[np.ndarray | None]:
        noise = _NOISE * self._effects.std() * self._generator.standard_normal(self._effects.shape)
        for effects in (self._effects, self._effects + noise):
            yield solve(self._shape, effects, budget)
        fitting = np.flatnonzero(within(self._pool, budget))
        if len(fitting):
            yield self._pool[fitting[self._pool_scores[fitting].argmax()]]
        yield from known[within(known, budget)]

    def _climbed(self, row: np.ndarray, budget: Sequence[Limit]) -> np.ndarray:
        """Returns where the best single changes lead."""
        while (better := self._better(row, self._shape.moves(row), budget)) is not None:
            row = better
        return row

    def _paired(self, row: np.ndarray, budget: Sequence[Limit]) -> np.ndarray | None:
        """Returns the best row within the budget that two changes lead to; None if no such row is better."""
        once = self._shape.moves(row)
        first = once[np.argsort(-self.scores(once), kind="stable")[:_PAIRED]]
        # Both changes at once: the first one's operations, and the second one's wherever it changes something.
        twice = np.where((once != row)[:, np.newaxis], once[:, np.newaxis], first).reshape(-1, len(row))
        twice = twice[self._shape.valid(twice)]
        return self._better(row, twice, budget)

    def _better(self, row: np.ndarray, rows: np.ndarray, budget: Sequence[Limit]) -> np.ndarray | None:
        rows = rows[within(rows, budget)]
        if not len(rows):
            return None
        scores = self.scores(np.concatenate([row[np.newaxis], rows]))
        best = int(scores[1:].argmax())
        return rows[best] if scores[best + 1] > scores[0] + self._least else None


def within(rows: np.ndarray, budget: Sequence[Limit]) -> np.ndarray:
    """Returns which rows are within all limits of a budget, bool (rows,)."""
    return np.all([np.ones(len(rows), bool), *(limit.holds(rows) for limit in budget)], axis=0)


def _table(shape: Shape, values: np.ndarray, other: float) -> np.ndarray:
    """Returns values for the operations of a shape, which may have one more than the space: `none`."""
    table = np.full((len(shape.choices), shape.sizes.max()), other)
    table[:, : values.shape[1]] = values
    return table


def _batched(expected: Callable[[np.ndarray], np.ndarray | None]) -> _Expected:
    def scored(rows: np.ndarray) -> np.ndarray:
        batches = [expected(rows[start : start + _BATCH]) for start in range(0, len(rows), _BATCH)]
        return np.concatenate([batch for batch in batches if batch is not None] or [np.zeros(0)])

    return scored
