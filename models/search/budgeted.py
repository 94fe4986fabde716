"""The best architecture within a budget, and a front from the cheapest to the best, from one finished search.

docs/costs.md says what is exact here and what is a prediction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from models.architectures.choices import Path
from models.architectures.genotype import Genotype
from models.costs.additive import AdditiveCost
from models.oracle.multinomial import Multinomial
from models.oracle.values import shown, shown_limit
from models.search.program import Limit, fits, solve
from models.search.ranking import ranking
from models.search.shape import Shape, genotype_of
from models.search_spaces.base import SearchSpace

FRONT_COST = "macs"
"""The cost over which a front is spread if no budget is named."""


class BudgetError(ValueError):
    """No architecture is within the budget, or a cost of the budget is not known."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An architecture that can be derived.

    Attributes:
        genotype: The architecture.
        costs: Name -> cost.
        predicted: Its score by what the search learned: the sum of the logarithms of its probabilities or of its
            effects, or the posterior mean, which is known up to a constant.
    """

    genotype: Genotype
    costs: Mapping[str, float]
    predicted: float


class Selector:
    """Selects architectures by what a search learned and by what they cost.

    Args:
        space: The space that was searched.
        multinomial: What the search learned.
        costs: All costs that are known.
        max_skip_connections: The largest number of skip connections; None for no limit.
        seed: Of the local search in large spaces; the same calls in the same order give the same architectures.
    """

    def __init__(
        self,
        space: SearchSpace,
        multinomial: Multinomial,
        costs: Sequence[AdditiveCost],
        max_skip_connections: int | None = None,
        seed: int = 0,
    ):
        self._space = space
        self._shape = Shape.of(space, max_skip_connections)
        self._costs = {cost.name: cost for cost in costs}
        self._ranking = ranking(self._shape, multinomial, seed)

    def best(self, limits: Mapping[str, float] | None = None) -> Candidate:
        """Returns the best architecture within a budget.

        Args:
            limits: Name of a cost -> its limit.

        Raises:
            BudgetError: No architecture is within the budget, or a cost is not known.
        """
        limits = limits or {}
        require_known(limits, self._costs)
        row = self._best(limits, [])
        if row is None:
            require_possible(self._shape, self._costs, limits)
            raise BudgetError(_apart(limits))
        return self._candidate(row)

    def front(self, count: int, name: str = FRONT_COST) -> list[Candidate]:
        """Returns architectures from the cheapest to the best, each the best that costs no more than it does.

        Args:
            count: Their number; fewer come back if several budgets have the same best architecture.
            name: The cost over which they are spread evenly.

        Raises:
            BudgetError: The cost is not known.
        """
        require_known({name: 0.0}, self._costs)
        cost = self._costs[name]
        best = self._best({}, [])
        assert best is not None  # there is always an architecture
        least, most = cheapest(self._shape, cost), cost.of(self._shape.path(best))
        rows = []
        for limit in np.linspace(least, max(most, least), count)[:-1]:
            row = self._best({name: max(float(limit), least)}, rows)
            if row is not None:
                rows.append(row)
        return _undominated([self._candidate(row) for row in (*rows, best)], name)

    def candidate(self, path: Path) -> Candidate:
        """Returns cost and score of an architecture that a derivation can give."""
        return self._candidate(self._shape.row(path))

    def _best(self, limits: Mapping[str, float], known: Sequence[np.ndarray]) -> np.ndarray | None:
        rows = np.array(known[-1:], np.int64).reshape(-1, len(self._shape.choices))
        return self._ranking.best(_budget(self._shape, self._costs, limits), rows)

    def _candidate(self, row: np.ndarray) -> Candidate:
        path = self._shape.path(row)
        return Candidate(
            genotype_of(self._space, path),
            {name: cost.of(path) for name, cost in self._costs.items()},
            float(self._ranking.scores(row[np.newaxis])[0]),
        )


def cheapest(shape: Shape, cost: AdditiveCost) -> float:
    """Returns the smallest cost of the architectures of a shape."""
    row = solve(shape, -shape.table(cost.parts))
    if row is None:
        raise BudgetError(
            f"config.derive.max_skip_connections: found {shape.max_skips}; no architecture has so few skip connections."
        )
    return cost.of(shape.path(row))


def require_known(limits: Mapping[str, float], costs: Mapping[str, AdditiveCost]) -> None:
    """Raises a BudgetError if a limit is of a cost that is not known."""
    for name in limits:
        if name not in costs:
            table = " Measure a latency table first, or remove this limit." if name == "latency_ms" else ""
            raise BudgetError(
                f"config.derive.budget.{name}: this cost is not known; known are {', '.join(costs)}.{table}"
            )


def require_possible(shape: Shape, costs: Mapping[str, AdditiveCost], limits: Mapping[str, float]) -> None:
    """Checks that some architecture is within a budget.

    Args:
        shape: The architectures.
        costs: Name -> cost.
        limits: Name of a cost -> its limit.

    Raises:
        BudgetError: None is; the message names the budget and the cheapest architecture's cost.
    """
    for name, limit in limits.items():
        least = cheapest(shape, costs[name])
        if not fits(least, limit):
            unit = f" {costs[name].unit}" if costs[name].unit else ""
            raise BudgetError(
                f"config.derive.budget.{name}: found {shown(limit)}{unit}; the cheapest architecture of the space has "
                f"{shown_limit(least)}{unit}. Raise the limit to this or more, or make the final network smaller "
                "(docs/costs.md)."
            )
    if solve(shape, shape.table({}), _budget(shape, costs, limits)) is None:
        raise BudgetError(_apart(limits))


def _budget(shape: Shape, costs: Mapping[str, AdditiveCost], limits: Mapping[str, float]) -> list[Limit]:
    return [Limit(costs[name], limit, shape.table(costs[name].parts)) for name, limit in limits.items()]


def _apart(limits: Mapping[str, float]) -> str:
    found = ", ".join(f"{name}={shown(limit)}" for name, limit in limits.items())
    return (
        f"config.derive.budget: found {found}; each limit can be met, but no architecture meets all of them together. "
        "Raise one of them."
    )


def _undominated(candidates: Sequence[Candidate], name: str) -> list[Candidate]:
    """Returns the candidates, cheapest first, without those that a cheaper one equals or beats."""
    ordered = sorted(candidates, key=lambda candidate: (candidate.costs[name], -candidate.predicted))
    kept: list[Candidate] = []
    for candidate in ordered:
        if not kept or candidate.predicted > kept[-1].predicted:
            kept.append(candidate)
    return kept
