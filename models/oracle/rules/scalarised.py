"""The search for a Pareto front by any update rule: one copy of the rule per weighting of the objectives."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np

from ..record import Record
from .base import Rule

# Steps of the weights from 0 to 1, by the number of objectives: 9 weightings of two, 10 of three.
_STEPS = {2: 8, 3: 3}
# Share of the sum in the augmented Tchebycheff function. It decides between architectures that are equal in the
# objective that is furthest from its best value.
_SUM = 0.05
# The units of the objectives are estimated when the number of evaluations reaches this number, and whenever it has
# doubled since. The copies then start anew and see all evaluations again.
_FIRST = 8


class Scalarised(Rule):
    """Random scalarisation, as in ParEGO (Knowles 2006), with a fixed set of weightings.

    Every copy of the rule observes every evaluation. In place of the accuracy, a copy observes the negative augmented
    Tchebycheff function of the objectives' distances from their best values, with the copy's own weighting. A sample
    comes from one copy, drawn at random.

    Args:
        rule: The rule; its options are those of the copies.
    """

    def __init__(self, rule: Rule):
        self._rule = rule
        self._copies: list[tuple[Record, Rule]] = []
        self._weights = np.zeros((0, 0))
        self._best = self._unit = np.zeros(0)
        self._next = _FIRST

    def update(self, record: Record) -> np.ndarray:
        objectives = record.objectives
        new = range(len(record) - 1, len(record))
        if not self._copies or len(record) >= self._next:
            self._next = max(_FIRST, 2 * len(record))
            self._start(record, objectives)
            new = range(len(record))
        for (known, rule), weights in zip(self._copies, self._weights, strict=True):
            for index in new:
                distance = weights * (self._best - objectives[index]) / self._unit
                accuracy = -float(distance.max() + _SUM * distance.sum())
                known.add(record.architectures[index], accuracy, record.trials[index])
                known.probabilities = rule.update(known)
        return np.mean([known.probabilities for known, _ in self._copies], axis=0)

    def sample(self, record: Record, generator: np.random.Generator) -> np.ndarray:
        if not self._copies:
            return super().sample(record, generator)
        known, rule = self._copies[generator.integers(len(self._copies))]
        return rule.sample(known, generator)

    def recommend(self, record: Record) -> np.ndarray:
        """Returns the recommendation of the weighting in the middle."""
        if not self._copies:
            return super().recommend(record)
        known, rule = self._copies[int(self._weights.min(axis=1).argmax())]
        return rule.recommend(known)

    def options(self) -> dict[str, Any]:
        return self._rule.options()

    def _start(self, record: Record, objectives: np.ndarray) -> None:
        """Starts the copies anew, with the units that the evaluations so far suggest."""
        self._best = objectives.max(axis=0)
        unit = self._best - np.median(objectives, axis=0)
        unit = np.where(unit > 0, unit, self._best - objectives.min(axis=0))
        self._unit = np.where(unit > 0, unit, 1.0)
        count = objectives.shape[1]
        steps = _STEPS[count]
        parts = [parts for parts in itertools.product(range(steps + 1), repeat=count) if sum(parts) == steps]
        self._weights = np.array(parts) / steps
        choices = list(zip(record.names, record.operations, strict=True))
        self._copies = [
            (Record(choices, record.seed), type(self._rule)(**copy.deepcopy(self._rule.options()))) for _ in parts
        ]
