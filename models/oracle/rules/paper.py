"""The update rules `paper` (arXiv 1905.07529) and `pairwise`, from the authors' later code."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..record import Record
from .base import Rule, check_one_of, check_positive, option
from .simplex import normalize, simplex, softmax


def _recorded(record: Record, accuracy: str) -> np.ndarray:
    """Returns H_a, float64 (choices, operations). Without a sample it is -inf, so that the operation never wins."""
    recorded = record.latest if accuracy == "latest" else record.mean
    return np.where(record.epochs > 0, recorded, -np.inf)


@dataclasses.dataclass
class Paper(Rule):
    """The paper's rule (arXiv 1905.07529, the equation for p).

    An operation gains `alpha` for every other operation that was trained more epochs and has a lower accuracy. It loses
    `alpha` for every other operation that was trained fewer epochs and has a higher accuracy. The paper does not define
    how negative probabilities are avoided; `projection` selects a method.
    """

    alpha: float = option(0.01, "Step of a probability per pair of operations, above 0; the paper uses 0.01.")
    projection: str = option(
        "clip",
        'Method against negative probabilities: "clip" (set to 0, then divide by the sum), "euclidean" (nearest point '
        'of the simplex) or "softmax" (of the sums of all steps).',
    )
    accuracy: str = option(
        "latest", 'Accuracy by which operations are compared: the "latest" (the paper\'s H_a) or the "mean" of all.'
    )

    name: ClassVar[str] = "paper"

    def __post_init__(self):
        check_positive(self, "alpha")
        check_one_of(self, "projection", ("clip", "euclidean", "softmax"))
        check_one_of(self, "accuracy", ("latest", "mean"))
        self._logits = 0.0

    def update(self, record: Record) -> np.ndarray:
        epochs, accuracy = record.epochs, _recorded(record, self.accuracy)
        both = record.mask[:, :, np.newaxis] & record.mask[:, np.newaxis, :]
        fewer = epochs[:, :, np.newaxis] < epochs[:, np.newaxis, :]
        better = accuracy[:, :, np.newaxis] > accuracy[:, np.newaxis, :]
        wins = fewer & better & both
        # i loses against j exactly if j wins against i, so the transposed sum counts the losses.
        step = self.alpha * (wins.sum(axis=2) - wins.sum(axis=1))
        step[~record.active] = 0.0
        if self.projection == "softmax":
            self._logits = self._logits + step
            return softmax(self._logits, record.mask)
        moved = record.probabilities + step
        if self.projection == "euclidean":
            return simplex(moved, record.mask)
        return normalize(np.maximum(moved, 0.0))


@dataclasses.dataclass
class Pairwise(Rule):
    """Pairwise transfer, as in the authors' later code (XNAS).

    The rule compares the pairs of operations in turn. If one operation was trained at least as many epochs as the other
    and has a lower accuracy, `alpha` of its probability (or all of it, if it is smaller than `alpha`) moves to the
    other operation.
    """

    alpha: float = option(0.01, "Probability moved per pair of operations, above 0.")
    accuracy: str = option("latest", 'Accuracy by which operations are compared: the "latest" or the "mean" of all.')

    name: ClassVar[str] = "pairwise"

    def __post_init__(self):
        check_positive(self, "alpha")
        check_one_of(self, "accuracy", ("latest", "mean"))

    def update(self, record: Record) -> np.ndarray:
        epochs, accuracy = record.epochs, _recorded(record, self.accuracy)
        p = record.probabilities.copy()
        for i in range(p.shape[1]):
            for j in range(i + 1, p.shape[1]):
                exists = record.active & record.mask[:, j]
                down = exists & (epochs[:, i] >= epochs[:, j]) & (accuracy[:, i] < accuracy[:, j])
                up = exists & (epochs[:, i] <= epochs[:, j]) & (accuracy[:, i] > accuracy[:, j])
                self._transfer(p, down, i, j)
                self._transfer(p, up, j, i)
        return p

    def _transfer(self, p: np.ndarray, where: np.ndarray, loser: int, winner: int) -> None:
        left = p[:, loser]
        whole = left > self.alpha
        p[:, winner] += np.where(where, np.where(whole, self.alpha, left), 0.0)
        p[:, loser] = np.where(where, np.where(whole, left - self.alpha, 0.0), left)
