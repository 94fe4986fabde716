"""The Gaussian process of the rule `interactions`: evaluations, parameters, posterior (docs/oracle_mathematics.md)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

# Bounds of the utilities, in units of the deviation from the median. The lower bound is nearer to the median than the
# upper bound, because differences among bad architectures do not matter.
_WORST, _BEST = -2.5, 10.0


# Medians and log-deviations of the log-normal priors. The weight of a choice has a prior around the mean of all
# weights, and this mean has a prior too. The noise is a variance relative to the variance of the kernel.
_WEIGHT, _WEIGHT_DEVIATION, _MEAN_DEVIATION = 0.3, 0.7, 1.0
_NOISE, _NOISE_DEVIATION = 0.05, 2.0
_SMALLEST_NOISE, _LARGEST_NOISE = 1e-5, 30.0


# Median, log-deviation and bounds of the variance of the trend's weights, relative to the variance of the kernel.
_TREND, _TREND_DEVIATION = 0.003, 2.0
_SMALLEST_TREND, _LARGEST_TREND = 1e-6, 1e3


# The prior of the kernel's variance is centred at 1 and has the weight of this number of evaluations. Without it, a few
# good guesses would make the process overconfident.
_VARIANCE_EVALUATIONS = 40


# Rprop on the logarithms of the parameters: bounds of the step sizes, and the factors of a step size if the sign of the
# gradient stays the same or changes.
_FIRST_STEP, _SMALLEST_STEP, _LARGEST_STEP = 0.2, 0.005, 0.5
_GROW, _SHRINK = 1.2, 0.5
_erf = np.frompyfunc(math.erf, 1, 1)


@dataclasses.dataclass
class Evaluations:
    """Evaluations, grouped by architecture.

    Attributes:
        architectures: int64 (architectures, choices), -1 where a choice was not active.
        width: Number of operations of the largest choice.
        utility: float64 (architectures,): mean utility of each architecture.
        bumps: float64 (architectures, functions): mean of the basis functions of time over each architecture's
            evaluations.
        counts: int64 (architectures,): number of evaluations of each architecture.
        within: float64 (functions + 1, functions + 1). For each evaluation, the outer product of its deviation from the
            mean of its architecture; then the sum of these products. The first rows belong to the functions of time,
            the last row to the utility.
        unit: Accuracy difference that equals a utility difference of 1.
        noisy: Whether repeated evaluations of an architecture differed; None without repeated evaluations.
    """

    architectures: np.ndarray
    width: int
    utility: np.ndarray
    bumps: np.ndarray
    counts: np.ndarray
    within: np.ndarray
    unit: float = 1.0
    noisy: bool | None = None


class Parameters:
    """The parameters of the process. They move by few steps per evaluation, which bounds the cost of an update.

    A step follows the signs of the gradient of the log posterior (marginal likelihood times prior) with respect to the
    logarithms of the parameters. Every parameter has a step size, which grows while the sign stays the same and shrinks
    when it changes (Rprop, Riedmiller and Braun 1993).

    Attributes:
        weights: float64 (choices,): for each choice, the distance between two architectures that differ only in this
            choice.
        noise: Variance of the noise relative to that of the kernel.
        trend: Variance of the weights of the trend's basis functions relative to that of the kernel.
    """

    def __init__(self, choices: int):
        self._logs = np.log(np.append(np.full(choices, _WEIGHT), [2 * _NOISE, _TREND]))
        self._sizes = np.full(len(self._logs), _FIRST_STEP)
        self._signs = np.zeros(len(self._logs))

    @property
    def weights(self) -> np.ndarray:
        """float64 (choices,), above 0."""
        return np.exp(self._logs[:-2])

    @property
    def noise(self) -> float:
        """A variance, above 0."""
        return math.exp(self._logs[-2])

    @property
    def trend(self) -> float:
        """A variance, above 0."""
        return math.exp(self._logs[-1])

    def fit(self, evaluations: Evaluations, steps: int) -> Posterior:
        """Takes `steps` steps.

        Returns the posterior of the process with the parameters as they were before the last step: the inverse of its
        covariance is already computed.
        """
        posterior = None
        for _ in range(steps):
            posterior = Posterior(evaluations, self.weights, self.noise, self.trend)
            self.step(posterior.gradient())
        assert posterior is not None  # there is a step
        return posterior

    def step(self, gradient: np.ndarray) -> None:
        """Takes one step.

        Args:
            gradient: float64 (choices + 2,): the gradient of the log marginal likelihood with respect to the logarithms
                of weights, noise and trend.
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


class Posterior:
    """The posterior of the process, with a constant unknown mean and a trend.

    The evaluations of an architecture have a mean and deviations from this mean. Given the weights of the trend, means
    and deviations are independent. So the trend's weights are first conditioned on the deviations. The resulting
    distribution is then the prior of the trend's weights when they are conditioned on the means.

    Args:
        evaluations: The evaluations to condition on.
        weights: float64 (choices,), above 0.
        noise: Variance relative to that of the kernel, above 0.
        trend: Variance relative to that of the kernel, above 0.

    Attributes:
        means: float64 (architectures,): posterior means of the evaluated architectures, without the trend.
        trend: float64 (functions,): posterior means of the trend's weights.
    """

    def __init__(self, evaluations: Evaluations, weights: np.ndarray, noise: float, trend: float):
        self._evaluations, self._weights = evaluations, weights
        self._relative_noise, self._relative_trend = noise, trend
        self._columns = self._one_hot(evaluations.architectures)
        self._weighted = self._weigh(self._columns)
        covariance = self._covariance(evaluations.architectures)
        self._kernel = covariance - 1.0
        products, with_utility = evaluations.within[:-1, :-1], evaluations.within[:-1, -1]
        within = np.linalg.inv(np.eye(len(products)) / trend + products / noise)
        by_within = within @ with_utility / noise
        spread = evaluations.bumps @ within
        observed = covariance + spread @ evaluations.bumps.T
        observed[np.diag_indices(len(observed))] += noise / evaluations.counts
        self._inverse = np.linalg.inv(observed)
        self._rest = rest = evaluations.utility - evaluations.bumps @ by_within
        self._dual = self._inverse @ rest
        squares = rest @ self._dual + (evaluations.within[-1, -1] - with_utility @ by_within) / noise
        self._scale = (squares + _VARIANCE_EVALUATIONS) / (evaluations.counts.sum() + _VARIANCE_EVALUATIONS)
        self._noise = self._scale * noise
        self.means = covariance @ self._dual
        self.trend = by_within + spread.T @ self._dual
        self._trend_covariance = within - spread.T @ self._inverse @ spread

    def gradient(self) -> np.ndarray:
        """Returns the gradient of the log marginal likelihood, float64 (choices + 2,).

        The derivatives are with respect to the logarithms of the weights, the noise and the trend. The variance of the
        kernel is integrated out; `_scale` is its estimate. The derivative by a variance is half the difference between
        the expected squares under the posterior and under the prior (Fisher's identity).
        """
        counts, noise, covariance = self._evaluations.counts, self._relative_noise, self._trend_covariance
        # `slope` is twice the derivative by each entry of the covariance. The derivative of an entry by the weight of a
        # choice is -kernel if the choice differs, and otherwise 0.
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
        """Returns the augmented expected improvement over the best posterior mean, float64 (architectures,).

        Args:
            architectures: int64 (architectures, choices), -1 where a choice is not active.
            reluctance: Power of the factor for noise; a larger power penalises repetitions more.
        """
        means, variance = self.marginal(architectures)
        expected = expected_excess(means - self.means.max(), np.sqrt(variance))
        return expected * self.novelty(variance) ** reluctance

    def marginal(self, architectures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the posterior means and variances of utilities without the trend and without the noise.

        Args:
            architectures: int64 (architectures, choices), -1 where a choice is not active.

        Returns:
            Two arrays, each float64 (architectures,).
        """
        covariance = self._covariance(architectures)
        explained = np.einsum("ij,ij->i", covariance @ self._inverse, covariance)
        # The prior variance is 2: 1 from the kernel and 1 from the unknown constant.
        variance = self._scale * np.maximum(2.0 - explained, 1e-10) + np.finfo(float).tiny
        return covariance @ self._dual, variance

    def novelty(self, variance: np.ndarray) -> np.ndarray:
        """Returns the factor of Huang et al. (2006), from 0 to 1.

        It is near 0 where the noise is much larger than the posterior variance.

        Args:
            variance: float64 (architectures,), the posterior variances of the architectures.
        """
        return 1 - np.sqrt(self._noise / (self._noise + variance))

    def predict(self, architectures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the posterior means and covariances of utilities without the trend and without the noise.

        Args:
            architectures: int64 (architectures, choices), -1 where a choice is not active.

        Returns:
            float64 (architectures,) and float64 (architectures, architectures).
        """
        covariance = self._covariance(architectures)
        prior = self._covariance(architectures, self._weigh(self._one_hot(architectures)))
        return covariance @ self._dual, self._scale * (prior - covariance @ self._inverse @ covariance.T)

    def expected(self, architectures: np.ndarray) -> np.ndarray:
        """Returns the posterior means of `predict` alone, in a fraction of the time and memory.

        Args:
            architectures: int64 (architectures, choices), -1 where a choice is not active.

        Returns:
            float64 (architectures,).
        """
        return self._covariance(architectures) @ self._dual

    def left_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns for each architecture its mean utility as predicted from all other ones, and as observed.

        The prediction without an observation follows from the inverse of the covariance (Rasmussen and Williams 2006,
        equation 5.12). The parameters are those that were fitted to all evaluations.

        Returns:
            Two arrays, each float64 (architectures,): predicted and observed.
        """
        return self._rest - self._dual / self._inverse.diagonal(), self._rest

    def _weigh(self, columns: np.ndarray) -> np.ndarray:
        return (columns * np.repeat(self._weights, self._evaluations.width + 1).astype(np.float32)).T

    def _covariance(self, architectures: np.ndarray, weighted: np.ndarray | None = None) -> np.ndarray:
        # Single precision is enough for the distances and takes half the time.
        near = self._one_hot(architectures) @ (self._weighted if weighted is None else weighted)
        near -= np.float32(self._weights.sum())
        covariance = np.exp(near, out=near).astype(float)
        covariance += 1.0
        return covariance

    def _one_hot(self, architectures: np.ndarray) -> np.ndarray:
        # An inactive choice counts as one more operation.
        rows = np.eye(self._evaluations.width + 1, dtype=np.float32)
        return rows[architectures + 1].reshape(len(architectures), -1)


def expected_excess(distance: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Returns the expectation of the positive part of a normal variable, float64 of the arguments' common shape.

    Args:
        distance: The means of the variable, float64.
        deviation: The standard deviations, float64, above 0.
    """
    gain = distance / deviation
    below = 0.5 * (1 + _erf(gain / math.sqrt(2)).astype(float))
    density = np.exp(-0.5 * gain**2) / math.sqrt(2 * math.pi)
    return deviation * np.maximum(gain * below + density, 0.0)


def standardised(accuracies: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns standardised utilities and the accuracy difference that equals a utility difference of 1.

    The distances of the accuracies from their median, in units of the median absolute deviation, are clipped and then
    standardised.

    Args:
        accuracies: float64 (evaluations,).

    Returns:
        float64 (evaluations,), and a number above 0.
    """
    distance = accuracies - np.median(accuracies)
    deviation = 1.4826 * np.median(np.abs(distance)) or distance.std() or 1.0
    with np.errstate(over="ignore"):
        utility = np.clip(distance / deviation, _WORST, _BEST)
    scale = utility.std() or 1.0
    return (utility - utility.mean()) / scale, float(deviation * scale)
