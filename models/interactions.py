"""The update rule "interactions": a Gaussian process over whole architectures (docs/oracle.md).

A sum of effects per choice cannot say that two operations are good only together. A Gaussian process can, when the
covariance of two architectures falls with the number of choices in which they differ: it holds interactions of all
orders, less of each higher one. NumPy only.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models.rule import Rule, check_floor, check_one_of, check_positive, check_whole

if TYPE_CHECKING:
    from models.multinomial import Multinomial

# Utilities are cut at so many deviations from the median: how bad the bad ones are does not matter.
_WORST, _BEST = -2.5, 10.0
# Log-normal priors, medians and deviations of the logarithms: of a choice's weight in the distance (around the choices'
# mean, and of that mean), and of the noise's variance relative to the kernel's.
_WEIGHT, _WEIGHT_DEVIATION, _MEAN_DEVIATION = 0.3, 0.7, 1.0
_NOISE, _NOISE_DEVIATION = 0.05, 2.0
_SMALLEST_NOISE, _LARGEST_NOISE = 1e-5, 30.0
# The same of the trend's variance, and how many functions of time the trend is a sum of.
_TREND, _TREND_DEVIATION = 0.003, 2.0
_SMALLEST_TREND, _LARGEST_TREND = 1e-6, 1e3
_BUMPS = 8
# The kernel's variance is 1 as far as so many evaluations say: a few good guesses must not make the process too sure.
_VARIANCE_EVALUATIONS = 40
# Steps of the parameters after an evaluation: one, and more while there are few architectures and a step costs little.
_STEPS, _STEPS_ARCHITECTURES = 8, 100
# For a recommendation the parameters are found anew, from this many architectures at most and in so many steps.
_RECOMMENDED, _RECOMMENDED_STEPS = 1000, 20
# Sizes of these steps (of the logarithms), and what they are multiplied by.
_FIRST_STEP, _SMALLEST_STEP, _LARGEST_STEP = 0.2, 0.005, 0.5
_GROW, _SHRINK = 1.2, 0.5
# The architectures from which proposals are made, and the proposals.
_ELITES, _PROPOSALS, _ROUNDS = 10, 8, 2

_erf = np.frompyfunc(math.erf, 1, 1)


@dataclasses.dataclass
class Interactions(Rule):
    """Gaussian process with a weighted Hamming kernel and augmented expected improvement.

    The next architectures are sampled from a few proposals: those for which the process expects most improvement over
    its best mean (augmented expected improvement, Huang et al. 2006, which repeats an evaluation when noise makes that
    worth more than a new one). The probabilities are the proposals' shares, operation by operation, so that samples
    keep together what is good only together. The architecture recommended is the one evaluated with the best mean,
    also where evaluations are exact: the best one evaluated owes something to the chance of its one training.

    Accuracies on the shared weights of a supernet rise and fall with its training, whatever the architecture. With
    `trend`, a smooth trend over the evaluations is part of the process.

    Attributes:
        sharpness: a proposal's share is its expected improvement to this power.
        floor: share of the uniform distribution in the probabilities; as often, a sample changes one choice at random.
        architectures: an update looks at this many architectures at most: half are the best, half the latest others.
        candidates: architectures among which the first proposals are looked for.
        trend: whether accuracies may move with time. Where they do not, it takes some of what the search gains for one.
    """

    sharpness: float = 8.0
    floor: float = 0.05
    architectures: int = 128
    candidates: int = 280
    trend: bool = False

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
        self._parameters: _Parameters | None = None
        # Of each evaluation, what the trend has added to its accuracy.
        self._trend = np.zeros(0)
        self._proposals: np.ndarray | None = None
        self._shares: np.ndarray | None = None

    def update(self, multinomial: Multinomial) -> np.ndarray:
        choices, width = multinomial.mask.shape
        newest = multinomial.architectures[-1]
        self._evaluated.append(self._numbers.setdefault(newest.tobytes(), len(self._numbers)))
        if (newest < 0).any():
            self._inactive[(newest < 0).tobytes()] = newest < 0
        if len(multinomial) < width:
            return multinomial.uniform()
        generator = multinomial.generator()
        # As far as is known, it was the same for what is new.
        known = self._trend[-1] if len(self._trend) else 0.0
        self._trend = np.append(self._trend, np.full(len(multinomial) - len(self._trend), known))
        evaluations = self._evaluations(multinomial, self.architectures)
        self._parameters = self._parameters or _Parameters(choices)
        steps = min(max(_STEPS_ARCHITECTURES // len(evaluations.counts), 1), _STEPS)
        posterior = self._parameters.fit(evaluations, steps)
        self._trend = evaluations.unit * (self._bumps(len(multinomial)) @ posterior.trend)
        # New architectures are worth more than repetitions as long as the process can look at all of them.
        reluctance = 2 if evaluations.noisy and len(evaluations.counts) < self.architectures else 1
        elites = evaluations.architectures[np.argsort(-posterior.means, kind="stable")[:_ELITES]]
        # What was not active in an elite may be anything.
        elites = np.where(elites < 0, _random(multinomial, len(elites), generator), elites)
        found, recorded = self._worth_it(self._candidates(multinomial, elites, generator), evaluations)
        gains = posterior.improvement(recorded, reluctance)
        for _ in range(_ROUNDS):
            best = np.argsort(-gains, kind="stable")[:_PROPOSALS]
            near = _neighbours(multinomial, found[best[:3]], self.candidates // 3, generator)
            found, recorded = self._worth_it(np.concatenate([found[best], near]), evaluations)
            gains = posterior.improvement(recorded, reluctance)
        best = np.argsort(-gains, kind="stable")[:_PROPOSALS]
        self._proposals = found[best]
        shares = (gains[best] / max(gains[best[0]], np.finfo(float).tiny)) ** self.sharpness
        self._shares = shares / shares.sum() if shares.sum() > 0 else np.full(len(best), 1 / len(best))
        marginal = np.tensordot(self._shares, multinomial.one_hot(self._proposals), axes=1)
        return (1 - self.floor) * marginal + self.floor * multinomial.uniform()

    def sample(self, multinomial: Multinomial, generator: np.random.Generator) -> np.ndarray:
        if self._proposals is None:
            return super().sample(multinomial, generator)
        sample = self._proposals[generator.choice(len(self._shares), p=self._shares)].copy()
        if generator.random() < self.floor:
            choice = generator.integers(len(sample))
            sample[choice] = _random(multinomial, 1, generator)[0, choice]
        return sample

    def recommend(self, multinomial: Multinomial) -> np.ndarray:
        probable = super().recommend(multinomial)
        if self._proposals is None:
            return probable
        evaluations = self._evaluations(multinomial, _RECOMMENDED)
        posterior = _Parameters(len(probable)).fit(evaluations, _RECOMMENDED_STEPS)
        best = evaluations.architectures[posterior.means.argmax()]
        return np.where(best < 0, probable, best)

    def _evaluations(self, multinomial: Multinomial, most: int) -> _Evaluations:
        """What the process looks at: at most so many architectures, so that its cost does not grow for ever."""
        numbers = np.array(self._evaluated)
        # What is cut off are outliers beside the trend, which stays in.
        utility, unit = _utility(multinomial.accuracies - self._trend)
        observed = np.column_stack([self._bumps(len(numbers)), utility + self._trend / unit])
        counts = np.bincount(numbers)
        means = np.stack([np.bincount(numbers, column) / counts for column in observed.T], axis=1)
        within = observed - means[numbers]
        latest = np.empty(len(counts), np.int64)
        latest[numbers] = np.arange(len(numbers))
        differ = multinomial.accuracies != multinomial.accuracies[latest[numbers]]
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
        return _Evaluations(
            multinomial.architectures[latest[kept]],
            multinomial.mask.shape[1],
            means[kept, -1],
            means[kept, :-1],
            counts[kept],
            within.T @ within,
            unit,
            noisy,
        )

    def _bumps(self, evaluations: int) -> np.ndarray:
        """The functions of time at each of the evaluations, float64 (evaluations, functions).

        Evenly spread from the first to the latest, and of mean 0: the constant is the process's. None without a trend.
        """
        functions = np.arange(_BUMPS if self.trend else 0)
        time = np.linspace(0, _BUMPS - 1, evaluations)[:, np.newaxis]
        bumps = np.exp(-0.5 * (time - functions) ** 2)
        return bumps - bumps.mean(axis=0)

    def _worth_it(self, architectures: np.ndarray, evaluations: _Evaluations) -> tuple[np.ndarray, np.ndarray]:
        """Those that another evaluation can teach about: each once, and only new ones where the objective is exact.

        Returns:
            The architectures, and what an evaluation of them would record as far as is known: not active choices as -1.
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

    def _candidates(self, multinomial, elites, generator) -> np.ndarray:
        """Half of them the elites' neighbours, a quarter their children, a quarter random; the very best besides."""
        quarter = max(self.candidates // 4, 1)
        mothers, fathers = (elites[generator.integers(len(elites), size=quarter)] for _ in range(2))
        children = np.where(generator.random(mothers.shape) < 0.5, mothers, fathers)
        mutated = generator.random(mothers.shape) < 1.5 / mothers.shape[1]
        children = np.where(mutated, _random(multinomial, quarter, generator), children)
        near = _neighbours(multinomial, elites, 2 * quarter, generator)
        return np.concatenate([elites[:3], near, children, _random(multinomial, quarter, generator)])


@dataclasses.dataclass
class _Evaluations:
    """Evaluations, those of the same architecture taken together.

    Attributes:
        architectures: int64 (architectures, choices), -1 where a choice was not active.
        width: operations of the largest choice.
        utility: float64 (architectures,): the means.
        bumps: float64 (architectures, functions): the means of the functions of time.
        counts: int64 (architectures,): how many evaluations an architecture had.
        within: float64 (functions + 1, functions + 1): products, summed over the evaluations, of the deviations from
            their architectures' means: of the functions of time, and last of the utility.
        unit: the accuracy that is a utility of 1.
        noisy: whether repeated evaluations differed; None if there are none.
    """

    architectures: np.ndarray
    width: int
    utility: np.ndarray
    bumps: np.ndarray
    counts: np.ndarray
    within: np.ndarray
    unit: float = 1.0
    noisy: bool | None = None


class _Parameters:
    """The parameters of the process: moved a step per evaluation, so that no update costs more than another.

    A step follows the signs of the gradient of the log posterior (marginal likelihood times prior) by the parameters'
    logarithms, with a step size per parameter that grows while the sign stays and shrinks when it turns (Rprop,
    Riedmiller and Braun 1993).

    Attributes:
        weights: float64 (choices,): how far apart two architectures are that differ in the choice.
        noise: variance of the noise relative to the kernel's.
        trend: variance of the weights of the functions of time that the trend is a sum of, relative to the kernel's.
    """

    def __init__(self, choices: int):
        self._logs = np.log(np.append(np.full(choices, _WEIGHT), [2 * _NOISE, _TREND]))
        self._sizes = np.full(len(self._logs), _FIRST_STEP)
        self._signs = np.zeros(len(self._logs))

    @property
    def weights(self) -> np.ndarray:
        return np.exp(self._logs[:-2])

    @property
    def noise(self) -> float:
        return math.exp(self._logs[-2])

    @property
    def trend(self) -> float:
        return math.exp(self._logs[-1])

    def fit(self, evaluations: _Evaluations, steps: int) -> _Posterior:
        """Moves the parameters so many steps; the process before the last of them, whose inverse is there."""
        for _ in range(steps):
            posterior = _Posterior(evaluations, self.weights, self.noise, self.trend)
            self.step(posterior.gradient())
        return posterior

    def step(self, gradient: np.ndarray) -> None:
        """Moves the parameters.

        Args:
            gradient: float64 (choices + 2,): of the log marginal likelihood by the logarithms of weights, noise and
                trend.
        """
        weights, noise, trend = self._logs[:-2], self._logs[-2], self._logs[-1]
        mean = weights.mean()
        apart = (weights - mean) / _WEIGHT_DEVIATION**2
        together = (mean - math.log(_WEIGHT)) / _MEAN_DEVIATION**2 / len(weights)
        variances = [
            (noise - math.log(_NOISE)) / _NOISE_DEVIATION**2,
            (trend - math.log(_TREND)) / _TREND_DEVIATION**2,
        ]
        prior = np.concatenate([apart + together, variances])
        signs = np.sign(gradient - prior)
        turned = signs * self._signs
        self._sizes *= np.where(turned > 0, _GROW, np.where(turned < 0, _SHRINK, 1.0))
        self._sizes = np.clip(self._sizes, _SMALLEST_STEP, _LARGEST_STEP)
        self._signs = signs
        self._logs = self._logs + signs * self._sizes
        self._logs[-2:] = np.clip(
            self._logs[-2:],
            np.log([_SMALLEST_NOISE, _SMALLEST_TREND]),
            np.log([_LARGEST_NOISE, _LARGEST_TREND]),
        )


class _Posterior:
    """The process after the evaluations, with a constant unknown mean and a trend.

    Architectures' means and the deviations from them are independent but for the trend's weights. So what the
    deviations say of these comes first, and is the prior for what the means say of everything.

    Attributes:
        means: float64 (architectures,): the posterior means of the evaluated architectures, without the trend.
        trend: float64 (functions,): the posterior means of the trend's weights.
    """

    def __init__(self, evaluations: _Evaluations, weights: np.ndarray, noise: float, trend: float):
        self._evaluations, self._weights = evaluations, weights
        self._relative_noise, self._relative_trend = noise, trend
        self._columns = self._one_hot(evaluations.architectures)
        self._weighted = (self._columns * np.repeat(weights, evaluations.width + 1).astype(np.float32)).T
        covariance = self._covariance(evaluations.architectures)
        self._kernel = covariance - 1.0
        products, with_utility = evaluations.within[:-1, :-1], evaluations.within[:-1, -1]
        within = np.linalg.inv(np.eye(len(products)) / trend + products / noise)
        by_within = within @ with_utility / noise
        spread = evaluations.bumps @ within
        observed = covariance + spread @ evaluations.bumps.T
        observed[np.diag_indices(len(observed))] += noise / evaluations.counts
        self._inverse = np.linalg.inv(observed)
        rest = evaluations.utility - evaluations.bumps @ by_within
        self._dual = self._inverse @ rest
        squares = rest @ self._dual + (evaluations.within[-1, -1] - with_utility @ by_within) / noise
        self._scale = (squares + _VARIANCE_EVALUATIONS) / (evaluations.counts.sum() + _VARIANCE_EVALUATIONS)
        self._noise = self._scale * noise
        self.means = covariance @ self._dual
        self.trend = by_within + spread.T @ self._dual
        self._trend_covariance = within - spread.T @ self._inverse @ spread

    def gradient(self) -> np.ndarray:
        """Of the log marginal likelihood by the logarithms of weights, noise and trend, float64 (choices + 2,).

        The kernel's variance is integrated out. That of a variance is half of by how much the squares expected after
        the evaluations exceed those expected before (Fisher's identity).
        """
        counts, noise, covariance = self._evaluations.counts, self._relative_noise, self._trend_covariance
        # The derivative by a covariance's entry, twice: where a choice differs, its weight moves it by -kernel.
        slope = np.outer(self._dual, self._dual / self._scale)
        slope -= self._inverse
        moved = (slope * self._kernel).astype(np.float32)
        same = np.einsum("ij,ij->j", moved @ self._columns, self._columns).reshape(len(self._weights), -1).sum(axis=1)
        by_noise = noise * (slope.diagonal() / counts).sum()
        away = np.append(-self.trend, 1.0)
        products = self._evaluations.within
        squares = away @ products @ away / self._noise + (products[:-1, :-1] * covariance).sum() / noise
        repeated = squares - (counts - 1).sum()
        weights = (self.trend @ self.trend / self._scale + covariance.trace()) / self._relative_trend
        by_variances = [by_noise + repeated, weights - len(self.trend)]
        return 0.5 * np.append(self._weights * (same - moved.sum()), by_variances)

    def improvement(self, architectures: np.ndarray, reluctance: int) -> np.ndarray:
        """Augmented expected improvement over the best mean; its factor for noise to the power of `reluctance`."""
        covariance = self._covariance(architectures)
        explained = np.einsum("ij,ij->i", covariance @ self._inverse, covariance)
        # 2 is the prior variance: of the kernel and of the unknown constant.
        variance = self._scale * np.maximum(2.0 - explained, 1e-10) + np.finfo(float).tiny
        deviation = np.sqrt(variance)
        gain = (covariance @ self._dual - self.means.max()) / deviation
        below = 0.5 * (1 + _erf(gain / math.sqrt(2)).astype(float))
        density = np.exp(-0.5 * gain**2) / math.sqrt(2 * math.pi)
        expected = deviation * np.maximum(gain * below + density, 0.0)
        return expected * (1 - np.sqrt(self._noise / (self._noise + variance))) ** reluctance

    def _covariance(self, architectures: np.ndarray) -> np.ndarray:
        # Single precision is enough for the distances, and half the time.
        near = self._one_hot(architectures) @ self._weighted
        near -= np.float32(self._weights.sum())
        covariance = np.exp(near, out=near).astype(float)
        covariance += 1.0
        return covariance

    def _one_hot(self, architectures: np.ndarray) -> np.ndarray:
        # What is not active is an operation of its own.
        rows = np.eye(self._evaluations.width + 1, dtype=np.float32)
        return rows[architectures + 1].reshape(len(architectures), -1)


def _utility(accuracies: np.ndarray) -> tuple[np.ndarray, float]:
    """Accuracies in units of their deviation from the median, cut, then standardised; and what a utility of 1 is."""
    distance = accuracies - np.median(accuracies)
    deviation = 1.4826 * np.median(np.abs(distance)) or distance.std() or 1.0
    with np.errstate(over="ignore"):
        utility = np.clip(distance / deviation, _WORST, _BEST)
    scale = utility.std() or 1.0
    return (utility - utility.mean()) / scale, deviation * scale


def _random(multinomial: Multinomial, count: int, generator: np.random.Generator) -> np.ndarray:
    return generator.integers(multinomial.mask.sum(axis=1), size=(count, len(multinomial.mask)))


def _neighbours(multinomial, architectures, most, generator) -> np.ndarray:
    """What differs from the architectures in one choice, at most so many, drawn at random."""
    sizes = multinomial.mask.sum(axis=1)
    choice = np.repeat(np.arange(len(sizes)), sizes - 1)
    # 1, 2, ... up to the other operations of every choice.
    step = np.arange(len(choice)) - (np.cumsum(sizes - 1) - sizes)[choice]
    drawn = generator.permutation(len(architectures) * len(choice))[:most]
    which, where = np.divmod(drawn, max(len(choice), 1))
    near = architectures[which]
    rows = np.arange(len(drawn))
    near[rows, choice[where]] = (near[rows, choice[where]] + step[where]) % sizes[choice[where]]
    return near
