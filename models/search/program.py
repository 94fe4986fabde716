"""The best architecture within a budget if score and costs add up over the choices: a mixed-integer linear program."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import optimize, sparse

from models.architectures.cell import NONE
from models.costs.additive import AdditiveCost
from models.search.derivation import SKIP
from models.search.shape import Shape
from models.search_spaces.cell import EDGES_PER_NODE

# The solver's optimum is within 1e-6 of the best value. Values are scaled to this size first.
_SCALE = 1e4
# The solver tolerates a violation of about 1e-6 of a budget. So many solutions that violate one are excluded one by
# one, then the budgets are lowered by twice the tolerance.
_EXCLUDED, _TOLERANCE = 20, 2e-6
_INFEASIBLE = 2  # a status of scipy.optimize.milp


@dataclasses.dataclass(frozen=True)
class Limit:
    """The largest cost of an architecture.

    Attributes:
        cost: The cost.
        limit: Its largest value.
        table: float64 (choices, operations): the parts of the cost in the order of a shape.
    """

    cost: AdditiveCost
    limit: float
    table: np.ndarray

    def holds(self, rows: np.ndarray) -> np.ndarray:
        """Returns which rows cost no more, bool (rows,)."""
        return fits(self.cost.fixed + self.table[np.arange(rows.shape[1]), rows].sum(axis=1), self.limit)


def solve(shape: Shape, values: np.ndarray, budget: Sequence[Limit] = ()) -> np.ndarray | None:
    """Returns the row with the largest sum of values that keeps to the shape and to the budget; None if none does.

    Args:
        shape: The shape of the architectures.
        values: float64 (choices, operations), finite.
        budget: The limits.
    """
    program = _Program(shape)
    offered = program.offered(values)
    span = np.ptp(offered) or 1.0
    objective = program.coefficients((values - offered.min()) / span * _SCALE)
    shaped = list(program.shape())
    cuts: list[optimize.LinearConstraint] = []
    while True:
        tightened = _TOLERANCE if len(cuts) >= _EXCLUDED else 0.0
        limits = [program.limit(limit, tightened) for limit in budget]
        found = optimize.milp(
            -objective,
            integrality=np.ones(program.size),
            bounds=optimize.Bounds(0, 1),
            constraints=[*shaped, *limits, *cuts],
            options={"mip_rel_gap": 0.0},
        )
        if found.status == _INFEASIBLE:
            return None
        if found.x is None:
            raise RuntimeError(f"The search for the best architecture within the budget failed: {found.message}")
        row = program.row(found.x)
        path = shape.path(row)
        if all(fits(limit.cost.of(path), limit.limit) for limit in budget):
            return row
        cuts.append(program.exclude(row))


def fits(cost: float | np.ndarray, limit: float) -> bool | np.ndarray:
    """Returns whether a cost is within a limit; the rounding of a sum does not count."""
    return cost <= limit * (1 + 1e-12)


class _Program:
    """The variables: one for each choice and operation, 1 if it is taken; then one for each route that is whole."""

    def __init__(self, shape: Shape):
        self._shape = shape
        sizes = shape.sizes
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._mask = np.arange(sizes.max()) < sizes[:, np.newaxis]
        self.size = int(self._starts[-1]) + len(shape.routes)

    def offered(self, table: np.ndarray) -> np.ndarray:
        """Returns the numbers of all operations, choice after choice."""
        return table[self._mask]

    def coefficients(self, table: np.ndarray) -> np.ndarray:
        """Returns a coefficient for each variable."""
        return np.concatenate([self.offered(table), np.zeros(len(self._shape.routes))])

    def row(self, solution: np.ndarray) -> np.ndarray:
        """Returns the row of a solution."""
        return np.array([int(solution[start:end].argmax()) for start, end in itertools.pairwise(self._starts)])

    def shape(self) -> Iterator[optimize.LinearConstraint]:
        """Yields the constraints that keep a solution to the shape."""
        shape = self._shape
        none, skip = shape.positions(NONE), shape.positions(SKIP)
        everything = [np.arange(start, end) for start, end in itertools.pairwise(self._starts)]
        yield self._sums(everything, 1, 1)
        if shape.nodes:
            lacking = [self._starts[list(node)] + none[list(node)] for node in shape.nodes]
            counts = np.array([len(node) - EDGES_PER_NODE for node in shape.nodes])
            yield self._sums(lacking, counts, counts)
        if shape.routes:
            whole = self._starts[-1] + np.arange(len(shape.routes))
            yield self._sums([whole], 1, np.inf)
            broken = [
                np.array([whole[number], self._starts[edge] + none[edge]])
                for number, route in enumerate(shape.routes)
                for edge in route
            ]
            yield self._sums(broken, 0, 1)
        if shape.max_skips is not None:
            skips = [start + index for start, index in zip(self._starts[:-1], skip, strict=True) if index >= 0]
            yield self._sums([np.array(skips)], 0, shape.max_skips)

    def limit(self, limit: Limit, tightened: float) -> optimize.LinearConstraint:
        """Returns the constraint of a limit, which is lowered by a share of it."""
        left = limit.limit - limit.cost.fixed
        if isinstance(limit.cost.fixed, int):
            # Small whole numbers are exact: a solution above the limit is above it by 1 or more.
            unit = math.gcd(*self.offered(limit.table).astype(int).tolist()) or 1
            left = math.floor(left / unit)
        else:
            unit = abs(left) or 1.0
            left /= unit
        return optimize.LinearConstraint(self.coefficients(limit.table / unit), -np.inf, left - abs(left) * tightened)

    def exclude(self, row: np.ndarray) -> optimize.LinearConstraint:
        """Returns the constraint that one row is no solution."""
        return self._sums([self._starts[:-1] + row], 0, len(row) - 1)

    def _sums(self, groups: Sequence[np.ndarray], low, high) -> optimize.LinearConstraint:
        """Returns the constraint that the sum of each group of variables is between two bounds."""
        numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        columns = np.concatenate(groups)
        matrix = sparse.csr_matrix((np.ones(len(columns)), (numbers, columns)), shape=(len(groups), self.size))
        return optimize.LinearConstraint(matrix, low, high)
