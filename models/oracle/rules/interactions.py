"""The update rule `interactions`: a Gaussian process over whole architectures (docs/oracle_mathematics.md).

A sum of effects per choice cannot express that two operations are good only together. A Gaussian process can express
it, if the covariance of two architectures decreases with the number of choices in which they differ. Such a covariance
contains interactions of all orders, with a smaller variance for a higher order. This module needs only NumPy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from ..record import Record
from .base import Rule, check_floor, check_one_of, check_positive, check_whole, option
from .gaussian_process import Evaluations, Parameters, Posterior, standardised

# Number of basis functions of time in the trend.
_BUMPS = 8
# Steps of the parameters after an evaluation: _STEPS_ARCHITECTURES divided by the number of architectures, but at least
# 1 and at most _STEPS. With few architectures a step is cheap.
_STEPS, _STEPS_ARCHITECTURES = 8, 100
# A recommendation fits the parameters anew, to _RECOMMENDED architectures at most, in _RECOMMENDED_STEPS steps.
_RECOMMENDED, _RECOMMENDED_STEPS = 1000, 20
# Number of elites from which proposals are derived, number of proposals, number of rounds of local improvement.
_ELITES, _PROPOSALS, _ROUNDS = 10, 8, 2


@dataclasses.dataclass
class Interactions(Rule):
    """Gaussian process with a weighted Hamming kernel and augmented expected improvement.

    The next architectures are sampled from a few proposals: the architectures with the largest augmented expected
    improvement over the best posterior mean (Huang et al. 2006). This criterion repeats an evaluation if, because of
    noise, the repetition is more valuable than a new architecture. A sample is a whole proposal, so operations that are
    good only together stay together. The probability of an operation is the sum of the shares of the proposals with
    this operation.

    The rule recommends the evaluated architecture with the best posterior mean. It does so even if evaluations are
    exact, because a single best score is biased upward by training noise.

    On the shared weights of a supernet, the accuracies of all architectures rise and fall together while the supernet
    is trained. With `trend`, the process includes a smooth trend over the evaluations.
    """

    sharpness: float = option(
        8.0, "Exponent above 0: the share of a proposal is proportional to its expected improvement to this power."
    )
    floor: float = option(
        0.05,
        "Share of the uniform distribution in the probabilities, from 0 to below 1. It is also the probability that a "
        "sample changes one choice at random.",
    )
    architectures: int = option(
        128,
        "Largest number of architectures in an update, at least 1. Half of them are the best architectures; the rest "
        "are the most recent of the others.",
    )
    candidates: int = option(280, "Number of architectures from which the first proposals are selected, at least 1.")
    trend: bool = option(
        False,
        "Whether the process includes a smooth trend of the accuracies over time. If accuracies are stationary, "
        "enabling this costs accuracy: real progress is mistaken for a trend.",
    )

    name: ClassVar[str] = "interactions"
    warmup_rounds: ClassVar[int] = 2

    def __post_init__(self):
        check_positive(self, "sharpness")
        check_whole(self, "architectures", "candidates")
        check_floor(self)
        check_one_of(self, "trend", (False, True))
        # _numbers: distinct architecture -> its number. _evaluated: the number of the architecture of each evaluation.
        self._numbers: dict[bytes, int] = {}
        self._evaluated: list[int] = []
        # The distinct masks of inactive choices.
        self._inactive: dict[bytes, np.ndarray] = {}
        self._parameters: Parameters | None = None
        # The estimated contribution of the trend to the accuracy of each evaluation.
        self._trend = np.zeros(0)
        self._proposals: np.ndarray | None = None
        self._shares: np.ndarray | None = None
        # The number of evaluations and the fit of the last recommendation: a prediction after it needs no other fit.
        self._fitted: tuple[int, Evaluations, Posterior] | None = None

    def update(self, record: Record) -> np.ndarray:
        fitted = self.fit(record)
        if fitted is None:
            return record.uniform()
        evaluations, posterior = fitted
        generator = record.generator()
        # As long as the process includes all architectures, new architectures are preferred to repetitions.
        reluctance = 2 if evaluations.noisy and len(evaluations.counts) < self.architectures else 1
        elites = evaluations.architectures[np.argsort(-posterior.means, kind="stable")[:_ELITES]]

        def improvement(architectures: np.ndarray) -> np.ndarray:
            return posterior.improvement(architectures, reluctance)

        return self.propose(record, elites, improvement, evaluations.noisy is False, generator)

    def fit(self, record: Record) -> tuple[Evaluations, Posterior] | None:
        """Adds the newest evaluation to the process, and takes steps of the parameters.

        Returns:
            The evaluations that the process uses and the posterior; None if there are too few evaluations.
        """
        choices, width = record.mask.shape
        newest = record.architectures[-1]
        self._evaluated.append(self._numbers.setdefault(newest.tobytes(), len(self._numbers)))
        if (newest < 0).any():
            self._inactive[(newest < 0).tobytes()] = newest < 0
        if len(record) < width:
            return None
        # For the new evaluation the trend is not estimated yet, so the latest estimate is used.
        known = self._trend[-1] if len(self._trend) else 0.0
        self._trend = np.append(self._trend, np.full(len(record) - len(self._trend), known))
        evaluations = self._evaluations(record, self.most)
        self._parameters = self._parameters or Parameters(choices)
        steps = min(max(_STEPS_ARCHITECTURES // len(evaluations.counts), 1), _STEPS)
        posterior = self._parameters.fit(evaluations, steps)
        self._trend = evaluations.unit * (self._bumps(len(record)) @ posterior.trend)
        return evaluations, posterior

    def propose(
        self,
        record: Record,
        elites: np.ndarray,
        improvement: Callable[[np.ndarray], np.ndarray],
        exact: bool,
        generator: np.random.Generator,
    ) -> np.ndarray:
        """Searches for the architectures with the largest improvement, and returns the probabilities they give.

        Args:
            record: The evaluations.
            elites: int64 (elites, choices), good architectures, from which the candidates are derived.
            improvement: Function of architectures, int64 (architectures, choices), that returns their improvements,
                float64 (architectures,), 0 or more.
            exact: Whether evaluations are exact, so that an evaluated architecture is not proposed again.
            generator: Decides which candidates there are.

        Returns:
            float64 (choices, operations).
        """
        # The inactive choices of an elite get random operations.
        elites = np.where(elites < 0, record.random(len(elites), generator), elites)
        found, recorded = self._informative(record, self._candidates(record, elites, generator), exact, generator)
        gains = improvement(recorded)
        for _ in range(_ROUNDS):
            best = np.argsort(-gains, kind="stable")[:_PROPOSALS]
            near = _neighbours(record, found[best[:3]], self.candidates // 3, generator)
            found, recorded = self._informative(record, np.concatenate([found[best], near]), exact, generator)
            gains = improvement(recorded)
        best = np.argsort(-gains, kind="stable")[:_PROPOSALS]
        self._proposals = proposals = found[best]
        shares = (gains[best] / max(float(gains[best[0]]), float(np.finfo(float).tiny))) ** self.sharpness
        self._shares = shares = shares / shares.sum() if shares.sum() > 0 else np.full(len(best), 1 / len(best))
        marginal = np.tensordot(shares, record.one_hot(proposals), axes=1)
        return (1 - self.floor) * marginal + self.floor * record.uniform()

    def sample(self, record: Record, generator: np.random.Generator) -> np.ndarray:
        if self._proposals is None or self._shares is None:
            return super().sample(record, generator)
        sample = self._proposals[generator.choice(len(self._shares), p=self._shares)].copy()
        if generator.random() < self.floor:
            choice = generator.integers(len(sample))
            sample[choice] = record.random(1, generator)[0, choice]
        return sample

    def recommend(self, record: Record) -> np.ndarray:
        probable = super().recommend(record)
        if self._proposals is None or self._shares is None:
            return probable
        evaluations, posterior = self._final(record)
        best = evaluations.architectures[posterior.means.argmax()]
        return np.where(best < 0, probable, best)

    def predict(self, record: Record, architectures: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        if self._proposals is None:
            return None
        evaluations, posterior = self._final(record)
        means, covariance = posterior.predict(architectures)
        return evaluations.unit * means, evaluations.unit**2 * covariance

    def expected(self, record: Record, architectures: np.ndarray) -> np.ndarray | None:
        if self._proposals is None:
            return None
        evaluations, posterior = self._final(record)
        return evaluations.unit * posterior.expected(architectures)

    def left_out(self, record: Record) -> tuple[np.ndarray, np.ndarray] | None:
        return None if self._proposals is None else self._final(record)[1].left_out()

    def _final(self, record: Record) -> tuple[Evaluations, Posterior]:
        """Returns the evaluations for a recommendation, and the posterior whose parameters are fitted to them."""
        if self._fitted is None or self._fitted[0] != len(record):
            evaluations = self._evaluations(record, _RECOMMENDED)
            posterior = Parameters(record.mask.shape[0]).fit(evaluations, _RECOMMENDED_STEPS)
            self._fitted = len(record), evaluations, posterior
        return self._fitted[1:]

    def _evaluations(self, record: Record, most: int) -> Evaluations:
        """Returns the evaluations that the process uses: those of at most `most` architectures, to bound the cost."""
        numbers = np.array(self._evaluated)
        # Outliers are clipped after the trend was subtracted. The trend is then added to the utilities again.
        utility, unit = self.standardised(record.accuracies - self._trend)
        observed = np.column_stack([self._bumps(len(numbers)), utility + self._trend / unit])
        counts = np.bincount(numbers)
        means = np.stack([np.bincount(numbers, column) / counts for column in observed.T], axis=1)
        within = observed - means[numbers]
        latest = np.empty(len(counts), np.int64)
        latest[numbers] = np.arange(len(numbers))
        differ = record.accuracies != record.accuracies[latest[numbers]]
        noisy = bool(differ.any()) if counts.max() > 1 else None
        if noisy is False:
            # If repetitions give equal results, they are not further samples of the noise, so each architecture counts
            # once.
            counts, within = np.ones_like(counts), np.zeros_like(within)
        kept = np.argsort(-np.bincount(numbers, utility) / np.bincount(numbers), kind="stable")
        if len(kept) > most:
            best, others = np.split(kept, [most // 2])
            others = others[np.argsort(-latest[others])]
            kept = np.concatenate([best, others[: most - len(best)]])
        within = within[np.isin(numbers, kept)]
        return Evaluations(
            record.architectures[latest[kept]],
            record.mask.shape[1],
            means[kept, -1],
            means[kept, :-1],
            counts[kept],
            within.T @ within,
            unit,
            noisy,
        )

    @property
    def most(self) -> int:
        """Largest number of architectures in an update."""
        return self.architectures

    def standardised(self, accuracies: np.ndarray) -> tuple[np.ndarray, float]:
        """Returns utilities, and the accuracy difference that equals a utility difference of 1."""
        return standardised(accuracies)

    def _bumps(self, evaluations: int) -> np.ndarray:
        """Returns the basis functions of time at each evaluation, float64 (evaluations, functions).

        Their centres are evenly spaced from the first evaluation to the latest. Their means are 0, because the process
        has a separate constant. Without a trend there are no functions.
        """
        functions = np.arange(_BUMPS if self.trend else 0)
        time = np.linspace(0, _BUMPS - 1, evaluations)[:, np.newaxis]
        bumps = np.exp(-0.5 * (time - functions) ** 2)
        return bumps - bumps.mean(axis=0)

    def _informative(
        self, record: Record, architectures: np.ndarray, exact: bool, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the distinct architectures that fit the budget.

        If evaluations are exact, evaluated architectures are removed, unless nothing would remain.

        Returns:
            The architectures, and the same architectures as an evaluation would record them: with -1 for choices that
            are known to be inactive.
        """
        if record.within is not None:
            fit = record.within.fits(architectures)
            architectures = architectures[fit] if fit.any() else record.random(len(architectures), generator)
        recorded = architectures.copy()
        for inactive in self._inactive.values():
            # An architecture that equals an evaluated one in all of its active choices has the same active choices.
            masked = np.where(inactive, -1, architectures)
            known = [architecture.tobytes() in self._numbers for architecture in masked]
            recorded[known] = masked[known]
        once = {architecture.tobytes(): index for index, architecture in enumerate(recorded)}
        if exact:
            once = {key: index for key, index in once.items() if key not in self._numbers} or once
        kept = list(once.values())
        return architectures[kept], recorded[kept]

    def _candidates(self, record: Record, elites: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Returns candidates.

        Half of them are neighbours of elites, a quarter are children, a quarter are random; three elites are added.
        """
        quarter = max(self.candidates // 4, 1)
        mothers, fathers = (elites[generator.integers(len(elites), size=quarter)] for _ in range(2))
        children = np.where(generator.random(mothers.shape) < 0.5, mothers, fathers)
        mutated = generator.random(mothers.shape) < 1.5 / mothers.shape[1]
        children = np.where(mutated, record.random(quarter, generator), children)
        near = _neighbours(record, elites, 2 * quarter, generator)
        return np.concatenate([elites[:3], near, children, record.random(quarter, generator)])


def _neighbours(record: Record, architectures: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Returns at most `most` random architectures that each differ from one of the given ones in a single choice."""
    sizes = record.mask.sum(axis=1)
    choice = np.repeat(np.arange(len(sizes)), sizes - 1)
    # Offsets 1, 2, ... to the other operations of every choice.
    step = np.arange(len(choice)) - (np.cumsum(sizes - 1) - sizes)[choice]
    drawn = generator.permutation(len(architectures) * len(choice))[:most]
    which, where = np.divmod(drawn, max(len(choice), 1))
    near = architectures[which]
    rows = np.arange(len(drawn))
    near[rows, choice[where]] = (near[rows, choice[where]] + step[where]) % sizes[choice[where]]
    return near
