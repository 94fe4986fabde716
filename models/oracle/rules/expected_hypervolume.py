"""The search for a Pareto front by the rule `interactions` (docs/oracle_mathematics.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from ..hypervolume import boxes, nondominated, spread
from ..record import Record
from .gaussian_process import Evaluations, Posterior, expected_excess
from .interactions import Interactions

# The reference point is worse than the worst value of every objective by this share of the range of its values.
_MARGIN = 0.1
# Number of architectures of the front from which proposals are derived.
_ELITES = 40
# A front of three objectives counts with at most this many points: the number of its boxes grows with their square.
_POINTS = 100
# An update considers this many times the option `architectures`.
_MANY = 4


class _Linear(Interactions):
    """A process whose utilities are linear in the accuracies.

    The volume that an architecture adds is linear in its values, and the cheap end of a front often lies far below the
    median accuracy. So bad values are not clipped.
    """

    name: ClassVar[str] = "linear"

    def standardised(self, accuracies: np.ndarray) -> tuple[np.ndarray, float]:
        unit = accuracies.std() or 1.0
        return (accuracies - accuracies.mean()) / unit, float(unit)

    @property
    def most(self) -> int:
        # A front has many more good architectures than a single objective.
        return _MANY * self.architectures


class ExpectedHypervolume(_Linear):
    """One Gaussian process per objective, and the expected improvement of the dominated hypervolume.

    The improvement is computed exactly: the region that the front does not dominate is cut into boxes. The part of a
    box that an architecture will dominate has a random volume, whose expectation is a product over the objectives. A
    known objective takes part with its exact value. With three objectives, points that are spread over the front stand
    for a long front. Candidates, proposals and samples are those of `interactions`, with the front in place of the best
    architectures.

    Each architecture of the front would dominate some volume without the others, down to the reference point. The rule
    recommends the architecture with the largest one.
    """

    name: ClassVar[str] = "interactions"

    def __post_init__(self):
        super().__post_init__()
        # Position of a goal -> its process. The process of the score is this object.
        self._processes: dict[int, Interactions] = {}
        # Position of a goal and architecture -> known value.
        self._known: dict[tuple[int, bytes], float] = {}
        self._balanced: np.ndarray | None = None

    def update(self, record: Record) -> np.ndarray:
        fits = [self.fit(record), *(self._fit_goal(record, position) for position in range(len(record.goals)))]
        if fits[0] is None:
            return record.uniform()
        generator = record.generator()
        evaluated = record.architectures[np.unique(np.array(self._evaluated), return_index=True)[1]]
        values = np.stack([self._values(record, column, fit, evaluated) for column, fit in enumerate(fits)], axis=1)
        worst = values.min(axis=0)
        reference = worst - _MARGIN * (values.max(axis=0) - worst)
        on_front = nondominated(values)
        front = evaluated[on_front]
        self._balanced = front[(values[on_front] - reference).prod(axis=1).argmax()]
        elites = front[generator.permutation(len(front))[:_ELITES]]
        improvement = self._improvement(record, fits, values[on_front], reference)
        return self.propose(record, elites, improvement, fits[0][0].noisy is False, generator)

    def recommend(self, record: Record) -> np.ndarray:
        probable = record.probabilities.argmax(axis=1)
        if self._balanced is None:
            return probable
        return np.where(self._balanced < 0, probable, self._balanced)

    def _fit_goal(self, record: Record, position: int) -> tuple[Evaluations, Posterior] | None:
        if record.goals[position].known is not None:
            return None
        process = self._processes.setdefault(position, _Linear(**self.options()))
        return process.fit(record.of_goal(position))

    def _values(
        self, record: Record, column: int, fit: tuple[Evaluations, Posterior] | None, architectures: np.ndarray
    ) -> np.ndarray:
        """Returns the values of an objective for all evaluated architectures, float64 (architectures,).

        If evaluations seem exact, these are the observed values, otherwise the posterior means.
        """
        if fit is None:
            return self._exact(record, column - 1, architectures)
        evaluations, posterior = fit
        if evaluations.noisy or self.trend:
            return posterior.marginal(architectures)[0]
        utility, _ = self.standardised(record.objectives[:, column])
        return np.bincount(self._evaluated, utility) / np.bincount(self._evaluated)

    def _improvement(
        self,
        record: Record,
        fits: list[tuple[Evaluations, Posterior] | None],
        front: np.ndarray,
        reference: np.ndarray,
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Returns the function of architectures that returns their expected improvements of the hypervolume."""
        lower, upper = boxes(front if len(reference) == 2 else spread(front, _POINTS), reference)
        # The edges of the boxes along each objective, the last of which is infinite.
        edges = [np.unique(np.concatenate([low, up])) for low, up in zip(lower.T, upper.T, strict=True)]
        below = [np.searchsorted(edge, low) for edge, low in zip(edges, lower.T, strict=True)]
        above = [np.searchsorted(edge, up) for edge, up in zip(edges, upper.T, strict=True)]

        def improvement(architectures: np.ndarray) -> np.ndarray:
            volumes, factor = np.ones((len(architectures), len(lower))), np.ones(len(architectures))
            for column, fit in enumerate(fits):
                excess = np.zeros((len(architectures), len(edges[column])))
                if fit is None:
                    exact = self._exact(record, column - 1, architectures)
                    excess[:, :-1] = np.maximum(exact[:, np.newaxis] - edges[column][:-1], 0.0)
                else:
                    means, variance = fit[1].marginal(architectures)
                    distance = means[:, np.newaxis] - edges[column][:-1]
                    excess[:, :-1] = expected_excess(distance, np.sqrt(variance)[:, np.newaxis])
                    # As for one objective: a repetition is worth its cost only if noise makes it so.
                    factor *= fit[1].novelty(variance) if fit[0].noisy else 1.0
                volumes *= excess[:, below[column]] - excess[:, above[column]]
            return np.maximum(volumes.sum(axis=1), 0.0) * factor

        return improvement

    def _exact(self, record: Record, position: int, architectures: np.ndarray) -> np.ndarray:
        """Returns the known values of a goal, float64 (architectures,); larger is better."""
        goal = record.goals[position]
        keys = [(position, architecture.tobytes()) for architecture in architectures]
        for key, architecture in zip(keys, architectures, strict=True):
            if key not in self._known:
                self._known[key] = goal.sign * goal.value(record.architecture(architecture))
        return np.array([self._known[key] for key in keys])
