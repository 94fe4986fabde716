"""The update rule "interactions": a Gaussian process over whole architectures (docs/oracle_mathematics.md).

A sum of effects per choice cannot say that two operations are good only together. A Gaussian process can, when the
covariance of two architectures falls with the number of choices in which they differ: it holds interactions of all
orders, less of each higher one. NumPy only.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..record import Record
from .base import Rule, check_floor, check_one_of, check_positive, check_whole, option
from .gaussian_process import Evaluations, Parameters, standardised

_BUMPS = 8
# Steps of the parameters after an evaluation: one, and more while there are few architectures and a step costs little.
_STEPS, _STEPS_ARCHITECTURES = 8, 100
# A recommendation fits the parameters anew: the greatest number of architectures, and the number of steps.
_RECOMMENDED, _RECOMMENDED_STEPS = 1000, 20
# The architectures from which proposals are made, and the proposals.
_ELITES, _PROPOSALS, _ROUNDS = 10, 8, 2


@dataclasses.dataclass
class Interactions(Rule):
    """Gaussian process with a weighted Hamming kernel and augmented expected improvement.

    The next architectures are sampled from a few proposals: those for which the process expects most improvement over
    its best mean (augmented expected improvement, Huang et al. 2006, which repeats an evaluation when noise makes that
    worth more than a new one). The probabilities are the proposals' shares, operation by operation, so that samples
    keep together what is good only together. The architecture recommended is the one evaluated with the best mean,
    also where evaluations are exact: a single best score is biased upward by training noise.

    Accuracies on the shared weights of a supernet rise and fall with its training, whatever the architecture. With
    `trend`, a smooth trend over the evaluations is part of the process.

    Attributes:
        sharpness: a proposal's share is its expected improvement to this power.
        floor: share of the uniform distribution in the probabilities; as often, a sample changes one choice at random.
        architectures: an update looks at this many architectures at most: half are the best, half the latest others.
        candidates: architectures among which the first proposals are looked for.
        trend: whether accuracies may move with time. If accuracies are stationary, enabling this costs accuracy: real
            progress is mistaken for a trend.
    """

    sharpness: float = option(8.0, "a proposal's share is its expected improvement to this power")
    floor: float = option(0.05, "share of the uniform distribution; as often, a sample changes one choice")
    architectures: int = option(
        128, "most architectures that an update looks at: half the best, half the latest others"
    )
    candidates: int = option(280, "architectures among which the first proposals are looked for")
    trend: bool = option(False, "whether accuracies may move with time; if they do not, this costs accuracy")

    name: ClassVar[str] = "interactions"
    warmup_rounds: ClassVar[int] = 2

    def __post_init__(self):
        check_positive(self, "sharpness")
        check_whole(self, "architectures", "candidates")
        check_floor(self)
        check_one_of(self, "trend", (False, True))
        # Distinct architectures -> their numbers, and of each evaluation the number of its architecture.
        self._numbers: dict[bytes, int] = {}
        self._evaluated: list[int] = []
        # Where choices were not active, once each.
        self._inactive: dict[bytes, np.ndarray] = {}
        self._parameters: Parameters | None = None
        # Of each evaluation, what the trend has added to its accuracy.
        self._trend = np.zeros(0)
        self._proposals: np.ndarray | None = None
        self._shares: np.ndarray | None = None

    def update(self, record: Record) -> np.ndarray:
        choices, width = record.mask.shape
        newest = record.architectures[-1]
        self._evaluated.append(self._numbers.setdefault(newest.tobytes(), len(self._numbers)))
        if (newest < 0).any():
            self._inactive[(newest < 0).tobytes()] = newest < 0
        if len(record) < width:
            return record.uniform()
        generator = record.generator()
        # The trend of new evaluations is unknown yet: the latest known value stands in.
        known = self._trend[-1] if len(self._trend) else 0.0
        self._trend = np.append(self._trend, np.full(len(record) - len(self._trend), known))
        evaluations = self._evaluations(record, self.architectures)
        self._parameters = self._parameters or Parameters(choices)
        steps = min(max(_STEPS_ARCHITECTURES // len(evaluations.counts), 1), _STEPS)
        posterior = self._parameters.fit(evaluations, steps)
        self._trend = evaluations.unit * (self._bumps(len(record)) @ posterior.trend)
        # New architectures are worth more than repetitions as long as the process can look at all of them.
        reluctance = 2 if evaluations.noisy and len(evaluations.counts) < self.architectures else 1
        elites = evaluations.architectures[np.argsort(-posterior.means, kind="stable")[:_ELITES]]
        # What was not active in an elite may be anything.
        elites = np.where(elites < 0, _random(record, len(elites), generator), elites)
        found, recorded = self._worth_it(self._candidates(record, elites, generator), evaluations)
        gains = posterior.improvement(recorded, reluctance)
        for _ in range(_ROUNDS):
            best = np.argsort(-gains, kind="stable")[:_PROPOSALS]
            near = _neighbours(record, found[best[:3]], self.candidates // 3, generator)
            found, recorded = self._worth_it(np.concatenate([found[best], near]), evaluations)
            gains = posterior.improvement(recorded, reluctance)
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
            sample[choice] = _random(record, 1, generator)[0, choice]
        return sample

    def recommend(self, record: Record) -> np.ndarray:
        probable = super().recommend(record)
        if self._proposals is None or self._shares is None:
            return probable
        evaluations = self._evaluations(record, _RECOMMENDED)
        posterior = Parameters(len(probable)).fit(evaluations, _RECOMMENDED_STEPS)
        best = evaluations.architectures[posterior.means.argmax()]
        return np.where(best < 0, probable, best)

    def _evaluations(self, record: Record, most: int) -> Evaluations:
        """Returns the evaluations that the process uses: a limited number, so that its cost is bounded."""
        numbers = np.array(self._evaluated)
        # Outliers are clipped relative to the trend; the trend itself stays.
        utility, unit = standardised(record.accuracies - self._trend)
        observed = np.column_stack([self._bumps(len(numbers)), utility + self._trend / unit])
        counts = np.bincount(numbers)
        means = np.stack([np.bincount(numbers, column) / counts for column in observed.T], axis=1)
        within = observed - means[numbers]
        latest = np.empty(len(counts), np.int64)
        latest[numbers] = np.arange(len(numbers))
        differ = record.accuracies != record.accuracies[latest[numbers]]
        noisy = bool(differ.any()) if counts.max() > 1 else None
        if noisy is False:
            # The same result again is no second sample: it says nothing of the chance that the first one had.
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

    def _bumps(self, evaluations: int) -> np.ndarray:
        """Returns the functions of time at each of the evaluations, float64 (evaluations, functions).

        Evenly spread from the first to the latest, and of mean 0: the constant is the process's. None without a trend.
        """
        functions = np.arange(_BUMPS if self.trend else 0)
        time = np.linspace(0, _BUMPS - 1, evaluations)[:, np.newaxis]
        bumps = np.exp(-0.5 * (time - functions) ** 2)
        return bumps - bumps.mean(axis=0)

    def _worth_it(self, architectures: np.ndarray, evaluations: Evaluations) -> tuple[np.ndarray, np.ndarray]:
        """Returns the architectures worth an evaluation: each once, and only new ones if the objective is exact.

        Returns:
            The architectures, and the form in which an evaluation would record them: inactive choices as -1.
        """
        recorded = architectures.copy()
        for inactive in self._inactive.values():
            # What agrees with an evaluated architecture in all that was active there has the same choices active.
            masked = np.where(inactive, -1, architectures)
            known = [architecture.tobytes() in self._numbers for architecture in masked]
            recorded[known] = masked[known]
        once = {architecture.tobytes(): index for index, architecture in enumerate(recorded)}
        if evaluations.noisy is False:
            once = {key: index for key, index in once.items() if key not in self._numbers} or once
        kept = list(once.values())
        return architectures[kept], recorded[kept]

    def _candidates(self, record: Record, elites: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Returns candidates: half neighbours of the elites, a quarter children, a quarter random; and the best."""
        quarter = max(self.candidates // 4, 1)
        mothers, fathers = (elites[generator.integers(len(elites), size=quarter)] for _ in range(2))
        children = np.where(generator.random(mothers.shape) < 0.5, mothers, fathers)
        mutated = generator.random(mothers.shape) < 1.5 / mothers.shape[1]
        children = np.where(mutated, _random(record, quarter, generator), children)
        near = _neighbours(record, elites, 2 * quarter, generator)
        return np.concatenate([elites[:3], near, children, _random(record, quarter, generator)])


def _random(record: Record, count: int, generator: np.random.Generator) -> np.ndarray:
    return generator.integers(record.mask.sum(axis=1), size=(count, len(record.mask)))


def _neighbours(record: Record, architectures: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Returns architectures that differ from the given ones in one choice; `most` of them at most, drawn at random."""
    sizes = record.mask.sum(axis=1)
    choice = np.repeat(np.arange(len(sizes)), sizes - 1)
    # 1, 2, ... up to the other operations of every choice.
    step = np.arange(len(choice)) - (np.cumsum(sizes - 1) - sizes)[choice]
    drawn = generator.permutation(len(architectures) * len(choice))[:most]
    which, where = np.divmod(drawn, max(len(choice), 1))
    near = architectures[which]
    rows = np.arange(len(drawn))
    near[rows, choice[where]] = (near[rows, choice[where]] + step[where]) % sizes[choice[where]]
    return near
