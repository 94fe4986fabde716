"""Samples within a budget: a distribution over architectures, conditioned on a cost that adds up over the choices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Sequence

import numpy as np

from .costs import Costs
from .values import is_real, shown, shown_limit

# Number of steps into which the costs are divided. More steps mean fewer rejected samples.
_GRID = 2048
# Rounds of proposals. In each, the samples that are over the budget are drawn again.
_ROUNDS = 100


@dataclasses.dataclass(frozen=True)
class Budget:
    """A limit of the cost of every sampled architecture.

    Attributes:
        costs: The cost. When an architecture is sampled, every choice counts, also one that will not be active.
        limit: Largest cost, a finite number.
    """

    costs: Costs
    limit: float

    def __post_init__(self):
        if not is_real(self.limit):
            raise ValueError(f"budget: found the limit {self.limit!r}; expected a finite number")

    def declared(self, names: Sequence[str]) -> bool:
        """Returns whether all choices with costs are among the names."""
        return set(self.costs.table) <= set(names)

    def require(self, names: Sequence[str]) -> None:
        """Checks the choices of a space.

        Raises:
            ValueError: A choice with costs is not among the names.
        """
        if not self.declared(names):
            missing = next(name for name in self.costs.table if name not in names)
            raise ValueError(
                f"budget: found costs of {missing!r}, but no such hyperparameter before the first trial; there are "
                f"{', '.join(names) or 'none'}. Declare it in `hyperparameters`"
            )


class BudgetedSpace:
    """The architectures of a space that fit a budget, and the distribution over them.

    The samples follow the conditional distribution exactly. The costs are rounded down to a grid. On the grid, the
    probability that the remaining choices fit into the remaining budget is computed exactly, from the last choice to
    the first; the operations are then drawn from the first choice to the last. Because of the rounding, a few samples
    are over the budget, but every architecture within it can be drawn. The samples over the budget are drawn again. A
    sample that is still over the budget after 100 rounds is drawn choice by choice: an operation is allowed if the
    cheapest operations of the remaining choices still fit. The cheapest operation of a choice is always allowed, so
    every sample fits. Only these rare samples do not follow the distribution exactly.

    Args:
        budget: The costs and their limit.
        names: Names of the choices.
        operations: The operations of each choice.

    Raises:
        ValueError: No architecture fits, or a cost is missing.
    """

    def __init__(self, budget: Budget, names: Sequence[str], operations: Sequence[Sequence[Hashable]]):
        self._fixed, self._limit = budget.costs.fixed, budget.limit
        self._costs = budget.costs.matrix(names, operations)
        self._mask = np.arange(self._costs.shape[1]) < np.array([len(its) for its in operations])[:, np.newaxis]
        self._cheapest = np.where(self._mask, self._costs, np.inf).min(axis=1)
        least = math.fsum([self._fixed, *self._cheapest.tolist()])
        if least > self._limit:
            raise ValueError(
                f"budget: found the limit {shown(self._limit)}; expected {shown_limit(least)} or more, the cost of the "
                "cheapest architecture. Raise the limit"
            )
        excess, slack = self._costs - self._cheapest[:, np.newaxis], self._limit - least
        # The factor ensures that rounding errors cannot exclude an architecture that costs exactly the limit.
        steps = np.floor(excess / slack * _GRID * (1 - 1e-9)) if slack > 0 else np.where(excess > 0, np.inf, 0.0)
        self._steps = np.minimum(np.where(self._mask, steps, np.inf), _GRID + 1).astype(np.int64)

    def fits(self, architectures: np.ndarray) -> np.ndarray:
        """Returns which architectures fit, bool (architectures,).

        Args:
            architectures: int64 (architectures, choices), -1 where a choice is not active. Here such a choice costs
                nothing, unlike when samples are drawn.
        """
        costs = np.where(architectures < 0, 0.0, self._costs[np.arange(architectures.shape[1]), architectures])
        # `fsum` rounds once. So an order of addition cannot decide, and the sum grows with every cost.
        return np.array([math.fsum([self._fixed, *row]) <= self._limit for row in costs.tolist()], bool)

    def sample(self, probabilities: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
        """Returns samples of the distribution under the condition that they fit, int64 (count, choices).

        If nothing that fits has a positive probability, the samples are uniform over what fits.

        Args:
            probabilities: float64 (choices, operations).
            count: Number of samples.
            generator: Source of the randomness.
        """
        left = self._left(probabilities)
        if left is None:
            probabilities = self._mask / self._mask.sum(axis=1, keepdims=True)
            left = self._left(probabilities)
            assert left is not None  # the cheapest architecture fits
        samples = self._draw(probabilities, left, count, generator)
        for _ in range(_ROUNDS):
            over = np.flatnonzero(~self.fits(samples))
            if not len(over):
                return samples
            samples[over] = self._draw(probabilities, left, len(over), generator)
        for index in np.flatnonzero(~self.fits(samples)):
            samples[index] = self._draw_allowed(probabilities, generator)
        return samples

    def _left(self, probabilities: np.ndarray) -> np.ndarray | None:
        """Returns the probabilities that a choice and all later ones together take at most a number of steps.

        Returns:
            float64 (choices + 1, steps), for each choice and each number of steps; every row is divided by its maximum.
            None if nothing that fits has a positive probability.
        """
        left = np.ones((len(probabilities) + 1, _GRID + 1))
        for choice in reversed(range(len(probabilities))):
            row = np.zeros(_GRID + 1)
            for operation in np.flatnonzero((self._steps[choice] <= _GRID) & (probabilities[choice] > 0)):
                steps = int(self._steps[choice, operation])
                row[steps:] += probabilities[choice, operation] * left[choice + 1, : _GRID + 1 - steps]
            # The row rises with the number of steps.
            if row[-1] <= 0:
                return None
            left[choice] = row / row[-1]
        return left

    def _draw(
        self, probabilities: np.ndarray, left: np.ndarray, count: int, generator: np.random.Generator
    ) -> np.ndarray:
        samples = np.empty((count, len(probabilities)), np.int64)
        budget = np.full(count, _GRID)
        for choice, steps in enumerate(self._steps):
            remaining = budget[:, np.newaxis] - steps
            weights = np.where(remaining >= 0, left[choice + 1][np.maximum(remaining, 0)], 0.0) * probabilities[choice]
            samples[:, choice] = drawn = _draw_rows(weights, generator)
            budget = budget - steps[drawn]
        return samples

    def _draw_allowed(self, probabilities: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        chosen: list[float] = self._cheapest.tolist()
        sample = np.empty(len(chosen), np.int64)
        for choice, costs in enumerate(self._costs):
            allowed = np.zeros(len(costs), bool)
            for operation in np.flatnonzero(self._mask[choice]):
                chosen[choice] = float(costs[operation])
                allowed[operation] = math.fsum([self._fixed, *chosen]) <= self._limit
            weights = np.where(allowed, probabilities[choice], 0.0)
            weights = weights if weights.sum() > 0 else allowed.astype(float)
            sample[choice] = operation = int(_draw_rows(weights[np.newaxis], generator)[0])
            chosen[choice] = float(costs[operation])
        return sample


def _draw_rows(weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Returns one column per row, with a probability proportional to its weight, int64 (rows,)."""
    cumulative = np.cumsum(weights, axis=1)
    draws = generator.random((len(weights), 1)) * cumulative[:, -1:]
    # Rounding errors must not lead to a column of weight 0 at the end.
    last = weights.shape[1] - 1 - (weights[:, ::-1] > 0).argmax(axis=1)
    return np.minimum((draws >= cumulative).sum(axis=1), last)
