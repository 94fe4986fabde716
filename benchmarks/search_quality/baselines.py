"""What the multinomial oracle is measured against, as KerasTuner oracles."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import keras_tuner
import numpy as np
from scipy.linalg import solve_triangular
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

# Spaces up to this size are searched whole for the largest expected improvement.
_WHOLE = 20_000


class _Categorical(keras_tuner.Oracle):
    """An oracle over Choices, told of scores as (indices, score with more being better)."""

    def __init__(self, objective, max_trials, seed, hyperparameters):
        super().__init__(objective=objective, max_trials=max_trials, seed=seed, hyperparameters=hyperparameters)
        self._generator = np.random.default_rng(seed)
        self._sizes = np.array([len(hp.values) for hp in hyperparameters.space])

    def populate_space(self, trial_id):
        values = {
            hp.name: hp.values[index] for hp, index in zip(self.hyperparameters.space, self.propose(), strict=True)
        }
        return {"status": "RUNNING", "values": values}

    def end_trial(self, trial):
        super().end_trial(trial)
        if trial.status == "COMPLETED":
            indices = [
                list(hp.values).index(trial.hyperparameters.values[hp.name]) for hp in self.hyperparameters.space
            ]
            self.tell(np.array(indices), trial.score if self.objective.direction == "max" else -trial.score)

    def random(self, count: int) -> np.ndarray:
        return self._generator.integers(self._sizes, size=(count, len(self._sizes)))

    def neighbours(self, indices: np.ndarray) -> np.ndarray:
        """All architectures that differ in one choice."""
        result = []
        for choice, size in enumerate(self._sizes):
            for step in range(1, size):
                other = indices.copy()
                other[choice] = (other[choice] + step) % size
                result.append(other)
        return np.array(result)


class RegularizedEvolution(_Categorical):
    """Regularized evolution (Real et al. 2019, arXiv 1802.01548).

    Args:
        population: how many of the latest architectures are alive; as many random ones come first.
        tournament: how many of them, drawn at random, compete to be the parent; its child differs in one choice.
    """

    def __init__(self, objective, max_trials, seed, hyperparameters, population: int = 20, tournament: int = 5):
        super().__init__(objective, max_trials, seed, hyperparameters)
        self._population, self._tournament = population, tournament
        self._alive: list[tuple[np.ndarray, float]] = []

    def propose(self) -> np.ndarray:
        if len(self.trials) < self._population or not self._alive:
            return self.random(1)[0]
        size = min(self._tournament, len(self._alive))
        drawn = self._generator.choice(len(self._alive), size, replace=False)
        parent = max((self._alive[index] for index in drawn), key=lambda item: item[1])[0]
        children = self.neighbours(parent)
        # First the choice, then the operation: choices with many operations are not changed more often.
        changed = (children != parent).argmax(axis=1)
        choice = self._generator.choice(np.unique(changed))
        return self._generator.choice(children[changed == choice])

    def tell(self, indices: np.ndarray, score: float) -> None:
        self._alive = [*self._alive, (indices, score)][-self._population :]


class GaussianProcess(_Categorical):
    """scikit-learn's Gaussian process with a Hamming kernel, noise and expected improvement.

    The kernel exp(-d / l) of the number d of choices that differ is the RBF kernel on one-hot vectors; l, its
    variance and the noise's maximise the marginal likelihood, anew whenever there are a tenth more evaluations. The
    expected improvement over the best posterior mean is maximised over the whole space, or over 2,000 random
    architectures and the neighbours of the five best where the space is large.
    """

    def __init__(self, objective, max_trials, seed, hyperparameters):
        super().__init__(objective, max_trials, seed, hyperparameters)
        self._architectures: list[np.ndarray] = []
        self._scores: list[float] = []
        self._kernel = ConstantKernel(1.0) * RBF(2.0, (0.3, 30)) + WhiteKernel(0.1, (1e-4, 1e1))
        self._next_fit = 0
        self._whole = None
        if np.prod(self._sizes, dtype=float) <= _WHOLE:
            self._whole = _Whole(np.indices(self._sizes).reshape(len(self._sizes), -1).T, self._one_hot)

    def propose(self) -> np.ndarray:
        if len(self._scores) < 2 * self._sizes.max():
            return self.random(1)[0]
        process = self._fit()
        evaluated = np.array(self._architectures)
        means = process.predict(self._one_hot(evaluated))
        if self._whole is None:
            best = evaluated[np.argsort(-means)[:5]]
            candidates = np.concatenate([self.random(2000), *(self.neighbours(architecture) for architecture in best)])
            mean, deviation = process.predict(self._one_hot(candidates), return_std=True)
        else:
            candidates = self._whole.architectures
            mean, deviation = self._whole.predict(process)
        gain = (mean - means.max()) / np.maximum(deviation, 1e-9)
        improvement = deviation * (gain * norm.cdf(gain) + norm.pdf(gain))
        seen = {architecture.tobytes() for architecture in self._architectures}
        for index in np.argsort(-improvement, kind="stable"):
            if candidates[index].tobytes() not in seen:
                return candidates[index]
        return self.random(1)[0]

    def tell(self, indices: np.ndarray, score: float) -> None:
        self._architectures.append(indices)
        self._scores.append(score)

    def argmax_hyperparameters(self) -> keras_tuner.HyperParameters:
        """The evaluated architecture with the best posterior mean."""
        mean = self._fit().predict(self._one_hot(np.array(self._architectures)))
        hyperparameters = self.hyperparameters.copy()
        for hp, index in zip(hyperparameters.space, self._architectures[mean.argmax()], strict=True):
            hyperparameters.values[hp.name] = hp.values[index]
        return hyperparameters

    def _fit(self) -> GaussianProcessRegressor:
        """The process of the standardised scores."""
        scores = np.array(self._scores)
        anew = len(scores) >= self._next_fit
        process = GaussianProcessRegressor(self._kernel, optimizer="fmin_l_bfgs_b" if anew else None, alpha=1e-8)
        with warnings.catch_warnings():
            # A variance that ends at its bound is fine.
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(self._one_hot(np.array(self._architectures)), (scores - scores.mean()) / (scores.std() or 1.0))
        if anew:
            self._kernel = process.kernel_
            self._next_fit = 1.1 * len(scores)
        return process

    def _one_hot(self, architectures: np.ndarray) -> np.ndarray:
        return (architectures[:, :, np.newaxis] == np.arange(self._sizes.max())).reshape(len(architectures), -1) * 1.0


class _Whole:
    """Predictions for all architectures of a space, at the cost of the newest evaluations only.

    `GaussianProcessRegressor.predict` solves L v = k for every architecture anew, L being the Cholesky factor of the
    evaluations' covariance. As long as the kernel stays, more evaluations only add rows to L, and so to v.
    """

    def __init__(self, architectures: np.ndarray, one_hot: Callable[[np.ndarray], np.ndarray]):
        self.architectures = architectures
        self._features = one_hot(architectures)
        self._kernel = None

    def predict(self, process: GaussianProcessRegressor) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations, as `process.predict` returns them."""
        if process.kernel_ != self._kernel:
            self._kernel = process.kernel_
            self._solved = np.zeros((0, len(self.architectures)))
            self._variance = self._kernel.diag(self._features)
        known, factor = len(self._solved), process.L_
        if known < len(factor):
            covariance = self._kernel(process.X_train_[known:], self._features)
            rest = covariance - factor[known:, :known] @ self._solved
            rows = solve_triangular(factor[known:, known:], rest, lower=True)
            self._solved = np.concatenate([self._solved, rows])
            self._variance = self._variance - (rows**2).sum(axis=0)
        means = (factor.T @ process.alpha_) @ self._solved
        return means, np.sqrt(np.maximum(self._variance, 0.0))
