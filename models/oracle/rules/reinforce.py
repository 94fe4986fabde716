"""The update rule `reinforce`, the classic baseline."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..record import Record
from .base import Rule, check_positive, option
from .simplex import softmax


@dataclasses.dataclass
class Reinforce(Rule):
    """REINFORCE on a softmax per choice (Williams 1992): the classic baseline.

    The advantage is the newest accuracy, standardised over all evaluations.
    """

    learning_rate: float = option(0.2, "Step of the logits, above 0.")

    name: ClassVar[str] = "reinforce"

    def __post_init__(self):
        check_positive(self, "learning_rate")
        self._logits = 0.0

    def update(self, record: Record) -> np.ndarray:
        accuracies = record.accuracies
        deviation = accuracies.std()
        advantage = (accuracies[-1] - accuracies.mean()) / deviation if deviation > 0 else 0.0
        gradient = record.one_hot(record.architectures[-1:])[0] - record.probabilities
        gradient[~record.active] = 0.0
        self._logits = self._logits + self.learning_rate * advantage * gradient
        return softmax(self._logits, record.mask)
