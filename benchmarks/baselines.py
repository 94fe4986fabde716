"""What the multinomial oracle is measured against, as KerasTuner oracles."""

from __future__ import annotations

import warnings

import keras_tuner
import numpy as np
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
            self._whole = np.indices(self._sizes).reshape(len(self._sizes), -1).T

    def propose(self) -> np.ndarray:
        if len(self._scores) < 2 * self._sizes.max():
            return self.random(1)[0]
        process = self._fit()
        mean = process.predict(self._one_hot(np.array(self._architectures)))
        if self._whole is None:
            best = np.argsort(-mean)[:5]
            candidates = np.concatenate([self.random(2000)] + [self.neighbours(self._architectures[i]) for i in best])
        else:
            candidates = self._whole
        seen = {architecture.tobytes() for architecture in self._architectures}
        candidates = candidates[[candidate.tobytes() not in seen for candidate in candidates]]
        if not len(candidates):
            return self.random(1)[0]
        mu, sigma = process.predict(self._one_hot(candidates), return_std=True)
        gain = (mu - mean.max()) / np.maximum(sigma, 1e-9)
        return candidates[(sigma * (gain * norm.cdf(gain) + norm.pdf(gain))).argmax()]

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
        anew = len(self._scores) >= self._next_fit
        process = GaussianProcessRegressor(
            self._kernel, optimizer="fmin_l_bfgs_b" if anew else None, normalize_y=True, alpha=1e-8
        )
        with warnings.catch_warnings():
            # A variance that ends at its bound is fine.
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(self._one_hot(np.array(self._architectures)), np.array(self._scores))
        if anew:
            self._kernel = process.kernel_
            self._next_fit = 1.1 * len(self._scores)
        return process

    def _one_hot(self, architectures: np.ndarray) -> np.ndarray:
        return (architectures[:, :, np.newaxis] == np.arange(self._sizes.max())).reshape(len(architectures), -1) * 1.0
