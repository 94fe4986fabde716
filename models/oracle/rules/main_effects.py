"""The update rule `main_effects`: Bayesian regression on the operations."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..record import Record
from .base import Rule, check_floor, check_positive, check_whole, option


@dataclasses.dataclass
class MainEffects(Rule):
    """Bayesian main effects: ridge regression of rank utilities on the operations.

    The probability of an operation is the posterior probability that the operation is the best of its choice. Two more
    columns of the regression describe how often the sampled operations had been trained before the evaluation (means of
    log(1 + epochs) and 1 / (1 + epochs)).
    """

    ridge: float = option(
        3.0, "Prior precision of an operation's effect, relative to the precision of the noise, above 0."
    )
    ridge_epochs: float = option(
        0.1,
        "Prior precision of the coefficients of the two regression columns that describe how often the operations were "
        "trained, above 0.",
    )
    draws: int = option(32, "Number of posterior draws from which the probabilities are estimated, at least 1.")
    floor: float = option(0.05, "Share of the uniform distribution in the probabilities, from 0 to below 1.")

    name: ClassVar[str] = "main_effects"
    warmup_rounds: ClassVar[int] = 4

    def __post_init__(self):
        check_positive(self, "ridge", "ridge_epochs")
        check_whole(self, "draws")
        check_floor(self)
        self._columns: list[np.ndarray] = []
        self._inverse: np.ndarray | None = None
        self._mean: np.ndarray | None = None

    def update(self, record: Record) -> np.ndarray:
        choices, width = record.mask.shape
        inverse = self._remember(record)
        architectures = record.architectures
        trained = np.asarray(self._columns)
        trained = trained - trained.mean(axis=0)
        trained /= np.maximum(trained.std(axis=0), 1e-12)
        utility = _rank_utility(record.accuracies)

        operations = record.sum_by_operation(architectures, np.column_stack([utility, trained]))
        operations = operations.reshape(choices * width, 3)
        target, mixed = operations[:, 0], operations[:, 1:]
        # The two columns change with every evaluation, so their two rows of the precision are inverted as a block.
        projected = inverse @ mixed
        block = np.linalg.inv(trained.T @ trained + self.ridge_epochs * np.eye(2) - mixed.T @ projected)
        by_columns = utility @ trained
        slopes = block @ (by_columns - projected.T @ target)
        effects = inverse @ target - projected @ slopes
        residual = utility @ utility - effects @ target - slopes @ by_columns
        noise = max(residual / len(utility), 0.0)
        variance = inverse.diagonal() + ((projected @ block) * projected).sum(axis=1)
        deviation = np.sqrt(noise * variance).reshape(choices, width)
        self._mean = np.where(record.mask, effects.reshape(choices, width), -np.inf)

        normal = record.generator().standard_normal((self.draws, choices, width))
        best = (self._mean + deviation * normal).argmax(axis=2)
        frequency = record.one_hot(best).mean(axis=0)
        return (1 - self.floor) * frequency + self.floor * record.uniform()

    def recommend(self, record: Record) -> np.ndarray:
        if self._mean is None:
            return super().recommend(record)
        # An operation without evaluations (for example, because all its trials failed) must not win: its mean comes
        # only from the prior.
        return np.where(record.epochs > 0, self._mean, -np.inf).argmax(axis=1)

    def effects(self, record: Record) -> np.ndarray | None:
        if self._mean is None:
            return None
        evaluated = record.epochs > 0
        # Operations without evaluations are worse than all others, as in `recommend`, but a sum has to stay finite.
        return np.where(evaluated, self._mean, self._mean[evaluated].min() - 1.0)

    def _remember(self, record: Record) -> np.ndarray:
        """Updates the columns and the inverse precision with the newest architecture.

        The inverse precision of the operations' effects changes by a matrix of rank one (Sherman and Morrison 1950).
        """
        new = record.architectures[-1]
        choices, width = record.mask.shape
        active = np.flatnonzero(new >= 0)
        if self._inverse is None:
            self._inverse = np.eye(choices * width) / self.ridge
        columns = active * width + new[active]
        moved = self._inverse[:, columns].sum(axis=1)
        self._inverse -= np.outer(moved, moved / (1 + moved[columns].sum()))
        # The epochs of each operation before this evaluation.
        before = record.epochs[active, new[active]] - 1.0
        count = max(len(active), 1)
        self._columns.append(np.array([np.log1p(before).sum(), (1 / (1 + before)).sum()]) / count)
        return self._inverse


def _rank_utility(accuracies: np.ndarray) -> np.ndarray:
    """Returns -log((rank + 0.5) / t), centred. Rank 0 is the best; equal accuracies all get their mean rank.

    Args:
        accuracies: float64 (t,).

    Returns:
        float64 (t,).
    """
    _, inverse, counts = np.unique(-accuracies, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    utility = -np.log((rank + 0.5) / len(accuracies))
    return utility - utility.mean()
