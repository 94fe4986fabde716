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

from models.rule import Rule, check_floor, check_positive

if TYPE_CHECKING:
    from models.multinomial import Multinomial

# Utilities are cut at so many deviations from the median: how bad the bad ones are does not matter.
_WORST, _BEST = -2.5, 10.0
# As many evaluations say what the kernel's parameters are; they are asked when there are a tenth more evaluations.
_FITTED = 120
# Prior medians: of a choice's weight in the distance, and of the noise's variance relative to the kernel's.
_WEIGHT, _NOISE = 0.3, 0.05
_SMALLEST_NOISE = 3e-4
# The architectures from which proposals are made, and the proposals.
_ELITES, _PROPOSALS, _ROUNDS = 10, 8, 2

_erf = np.frompyfunc(math.erf, 1, 1)


@dataclasses.dataclass
class Interactions(Rule):
    """Gaussian process with a weighted Hamming kernel and augmented expected improvement.

    The next architectures are sampled from a few proposals: those for which the process expects most improvement over
    its best mean (augmented expected improvement, Huang et al. 2006, which repeats an evaluation when noise makes that
    worth more than a new one). The probabilities are the proposals' shares, operation by operation, so that samples
    keep together what is good only together. The architecture recommended is the one evaluated with the best mean.

    Attributes:
        sharpness: a proposal's share is its expected improvement to this power.
        floor: share of the uniform distribution in the probabilities; as often, a sample changes one choice at random.
        evaluations: the process looks at this many evaluations at most: half are the best, half the latest others.
        candidates: architectures among which the first proposals are looked for.
    """

    sharpness: float = 8.0
    floor: float = 0.05
    evaluations: int = 160
    candidates: int = 200

    name: ClassVar[str] = "interactions"
    warmup_rounds: ClassVar[int] = 2

    def __post_init__(self):
        check_positive(self, "sharpness", "evaluations", "candidates")
        check_floor(self)
        self._weights: np.ndarray | None = None
        self._noise = 2 * _NOISE
        self._next_fit = 0
        self._proposals: np.ndarray | None = None
        self._shares: np.ndarray | None = None
        self._best: np.ndarray | None = None

    def update(self, multinomial: Multinomial) -> np.ndarray:
        choices, width = multinomial.mask.shape
        count = len(multinomial)
        if count < width:
            return multinomial.uniform()
        generator = multinomial.generator()
        kept = self._kept(multinomial.accuracies)
        architectures = multinomial.architectures[kept]
        utility = _utility(multinomial.accuracies)[kept]
        if self._weights is None:
            self._weights = np.full(choices, _WEIGHT)
        if count >= self._next_fit and utility.any():
            part = generator.permutation(len(kept))[:_FITTED]
            self._weights, self._noise = _fit(architectures[part], utility[part], self._weights, self._noise, generator)
            # The first ones teach much, the hundredth little.
            self._next_fit = max(count + 3, math.ceil(1.1 * count))
        posterior = _Posterior(architectures, utility, width, self._weights, self._noise)
        order = np.argsort(-posterior.means, kind="stable")
        self._best = architectures[order[0]]

        elites = architectures[order[:_ELITES]]
        # What was not active in an elite may be anything.
        elites = np.where(elites < 0, _random(multinomial, len(elites), generator), elites)
        found = _distinct(self._candidates(multinomial, elites, generator))
        gains = posterior.improvement(found)
        for _ in range(_ROUNDS):
            best = np.argsort(-gains, kind="stable")[:_PROPOSALS]
            near = _neighbours(multinomial, found[best[:3]], self.candidates // 2, generator)
            found = _distinct(np.concatenate([found[best], near]))
            gains = posterior.improvement(found)
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
        if self._best is None:
            return super().recommend(multinomial)
        return np.where(self._best < 0, super().recommend(multinomial), self._best)

    def _kept(self, accuracies: np.ndarray) -> np.ndarray:
        """Indices of the evaluations that the process looks at, so that its cost does not grow for ever."""
        count = len(accuracies)
        if count <= self.evaluations:
            return np.arange(count)
        order = np.argsort(-accuracies, kind="stable")
        best, others = order[: self.evaluations // 2], np.sort(order[self.evaluations // 2 :])
        return np.concatenate([best, others[len(best) - self.evaluations :]])

    def _candidates(self, multinomial, elites, generator) -> np.ndarray:
        """A third each: the best ones' neighbours, children of the elites, and random architectures."""
        third = max(self.candidates // 3, 1)
        mothers, fathers = (elites[generator.integers(len(elites), size=third)] for _ in range(2))
        children = np.where(generator.random(mothers.shape) < 0.5, mothers, fathers)
        mutated = generator.random(mothers.shape) < 1.5 / mothers.shape[1]
        children = np.where(mutated, _random(multinomial, third, generator), children)
        near = _neighbours(multinomial, elites[:3], third, generator)
        return np.concatenate([elites[:3], near, children, _random(multinomial, third, generator)])


class _Posterior:
    """The process after the evaluations, with a constant unknown mean.

    Args:
        architectures: int64 (evaluations, choices), -1 where a choice was not active.
        utility: float64 (evaluations,).
        width: operations of the largest choice.
        weights: float64 (choices,): how far apart two architectures are that differ in the choice.
        noise: variance of the noise relative to the kernel's.

    Attributes:
        means: float64 (evaluations,): the posterior means of the architectures.
    """

    def __init__(self, architectures, utility, width, weights, noise):
        self._width = width
        weights = weights.astype(np.float32)
        self._total = weights.sum()
        self._columns = np.repeat(weights, width)
        self._weighted = (self._one_hot(architectures) * self._columns).T
        covariance = self._covariance(architectures)
        self._inverse = np.linalg.inv(covariance + noise * np.eye(len(utility)))
        self._dual = self._inverse @ utility
        scale = utility @ self._dual / len(utility)
        self._scale, self._noise = scale, scale * noise
        self.means = covariance @ self._dual

    def improvement(self, architectures: np.ndarray) -> np.ndarray:
        """Augmented expected improvement over the best mean."""
        covariance = self._covariance(architectures)
        explained = np.einsum("ij,ij->i", covariance @ self._inverse, covariance)
        # 2 is the prior variance: of the kernel and of the unknown constant.
        variance = self._scale * np.maximum(2.0 - explained, 1e-10) + np.finfo(float).tiny
        deviation = np.sqrt(variance)
        gain = (covariance @ self._dual - self.means.max()) / deviation
        below = 0.5 * (1 + _erf(gain / math.sqrt(2)).astype(float))
        density = np.exp(-0.5 * gain**2) / math.sqrt(2 * math.pi)
        expected = deviation * np.maximum(gain * below + density, 0.0)
        return expected * (1 - np.sqrt(self._noise / (self._noise + variance)))

    def _covariance(self, architectures: np.ndarray) -> np.ndarray:
        # Single precision is enough for the distances, and half the time.
        return np.exp(self._one_hot(architectures) @ self._weighted - self._total).astype(float) + 1.0

    def _one_hot(self, architectures: np.ndarray) -> np.ndarray:
        one_hot = architectures[:, :, np.newaxis] == np.arange(self._width)
        return one_hot.reshape(len(architectures), len(self._columns)).astype(np.float32)


def _fit(architectures, utility, weights, noise, generator) -> tuple[np.ndarray, float]:
    """Weights and noise of more marginal likelihood times prior, one factor at a time from those given.

    The priors are log-normal: of the choices' weights around their own mean, of that mean, and of the noise.
    """
    differ = (architectures[:, np.newaxis] != architectures).astype(float)

    def evaluate(distance, weights, noise):
        covariance = np.exp(-distance) + 1.0
        covariance[np.diag_indices(len(utility))] += noise
        factor = np.linalg.cholesky(covariance)
        whitened = np.linalg.solve(factor, utility)
        logs = np.log(weights)
        likelihood = len(utility) * np.log(whitened @ whitened) / 2 + np.log(np.diag(factor)).sum()
        prior = ((logs - logs.mean()) ** 2).sum() / 0.7**2 + (logs.mean() - math.log(_WEIGHT)) ** 2
        return -likelihood - 0.5 * (prior + (math.log(noise / _NOISE) / 2) ** 2)

    distance = differ @ weights
    best = evaluate(distance, weights, noise)
    for factor in (0.6, 1 / 0.6):
        while (value := evaluate(distance * factor, weights * factor, noise)) > best:
            best, distance, weights = value, distance * factor, weights * factor
    for factor in (1 / 3, 3.0):
        while noise * factor > _SMALLEST_NOISE and (value := evaluate(distance, weights, noise * factor)) > best:
            best, noise = value, noise * factor
    for choice in generator.permutation(len(weights)):
        for factor in (0.5, 2.0):
            changed = weights.copy()
            changed[choice] *= factor
            moved = distance + (changed - weights)[choice] * differ[:, :, choice]
            if (value := evaluate(moved, changed, noise)) > best:
                best, distance, weights = value, moved, changed
                break
    return weights, noise


def _utility(accuracies: np.ndarray) -> np.ndarray:
    """Accuracies in units of their deviation from the median, cut, then standardised."""
    distance = accuracies - np.median(accuracies)
    deviation = 1.4826 * np.median(np.abs(distance)) or distance.std() or 1.0
    with np.errstate(over="ignore"):
        utility = np.clip(distance / deviation, _WORST, _BEST)
    return (utility - utility.mean()) / (utility.std() or 1.0)


def _random(multinomial: Multinomial, count: int, generator: np.random.Generator) -> np.ndarray:
    return generator.integers(multinomial.mask.sum(axis=1), size=(count, len(multinomial.mask)))


def _distinct(architectures: np.ndarray) -> np.ndarray:
    """Each architecture once."""
    return architectures[list({row.tobytes(): index for index, row in enumerate(architectures)}.values())]


def _neighbours(multinomial, architectures, most, generator) -> np.ndarray:
    """What differs from the architectures in one choice, at most so many, drawn at random."""
    sizes = multinomial.mask.sum(axis=1)
    choice = np.repeat(np.arange(len(sizes)), sizes - 1)
    step = np.concatenate([np.arange(1, size) for size in sizes])
    drawn = generator.permutation(len(architectures) * len(choice))[:most]
    which, where = np.divmod(drawn, max(len(choice), 1))
    near = architectures[which]
    rows = np.arange(len(drawn))
    near[rows, choice[where]] = (near[rows, choice[where]] + step[where]) % sizes[choice[where]]
    return near
