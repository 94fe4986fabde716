"""models/oracle/rules/gaussian_process.py: predictions and likelihood of the posterior."""

import numpy as np
import pytest

from models.oracle.rules import gaussian_process, interactions
from models.oracle.rules.gaussian_process import Evaluations, Posterior

CHOICES, OPERATIONS = 4, 3
WEIGHTS = np.array([0.5, 0.2, 0.4, 0.3])


def evaluations(rows, utility):
    rows = np.asarray(rows)
    return Evaluations(
        architectures=rows,
        width=OPERATIONS,
        utility=np.asarray(utility),
        bumps=np.zeros((len(rows), 0)),
        counts=np.ones(len(rows), np.int64),
        within=np.zeros((1, 1)),
    )


@pytest.fixture
def observed():
    generator = np.random.default_rng(0)
    rows = np.unique(generator.integers(OPERATIONS, size=(20, CHOICES)), axis=0)
    utility = generator.normal(size=len(rows))
    return rows, utility - utility.mean()


def posterior(rows, utility, noise=0.1):
    return Posterior(evaluations(rows, utility), WEIGHTS, noise, 0.01)


def test_predicted_means_are_those_of_the_evaluated_architectures(observed):
    found = posterior(*observed)
    means, covariance = found.predict(observed[0])
    np.testing.assert_allclose(means, found.means, rtol=1e-6)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-6)
    assert np.linalg.eigvalsh(covariance).min() > -1e-5


def test_an_unknown_architecture_is_less_certain_than_an_evaluated_one(observed):
    rows, utility = observed
    far = np.array([[-1] * CHOICES])  # differs from all in all choices
    _, covariance = posterior(rows, utility).predict(np.concatenate([rows[:1], far]))
    assert covariance[1, 1] > 2 * covariance[0, 0] > 0


def test_left_out_predictions_equal_those_of_a_process_without_the_architecture(observed):
    rows, utility = observed
    predicted, shown = posterior(rows, utility).left_out()
    np.testing.assert_array_equal(shown, utility)
    for out in range(len(rows)):
        others = np.arange(len(rows)) != out
        means, _ = posterior(rows[others], utility[others]).predict(rows[out : out + 1])
        assert predicted[out] == pytest.approx(means[0], abs=1e-5)


TREND = interactions.Interactions(trend=True)


def dense_process(evaluations, scores, weights, noise, trend):
    """Posterior means, of the trend too, and log likelihood by plain algebra, a row per evaluation, the variance
    integrated out."""
    kernel = np.exp(-((evaluations[:, np.newaxis] != evaluations) @ weights)) + 1
    bumps = TREND._bumps(len(scores))
    noisy = kernel + noise * np.eye(len(scores)) + trend * bumps @ bumps.T
    dual = np.linalg.solve(noisy, scores)
    prior = gaussian_process._VARIANCE_EVALUATIONS
    likelihood = -(len(scores) + prior) / 2 * np.log(scores @ dual + prior) - np.linalg.slogdet(noisy)[1] / 2
    return kernel @ dual, trend * bumps.T @ dual, likelihood


def grouped(evaluations, scores, width):
    distinct, numbers, counts = np.unique(evaluations, axis=0, return_inverse=True, return_counts=True)
    observed = np.column_stack([TREND._bumps(len(scores)), scores])
    means = np.array([observed[numbers == number].mean(axis=0) for number in range(len(counts))])
    within = observed - means[numbers]
    return Evaluations(distinct, width, means[:, -1], means[:, :-1], counts, within.T @ within), numbers


def test_evaluations_are_taken_together_without_a_loss():
    generator = np.random.default_rng(0)
    # Few architectures, so that most are there several times; -1 is a choice that was not active.
    evaluations, scores = generator.integers(-1, 2, size=(40, 3)), generator.normal(size=40)
    weights = np.array([0.2, 0.5, 1.0])
    together, numbers = grouped(evaluations, scores, 2)
    assert len(together.counts) < 30
    posterior = Posterior(together, weights, 0.3, 0.2)
    means, trend, _ = dense_process(evaluations, scores, weights, 0.3, 0.2)
    np.testing.assert_allclose(posterior.means[numbers], means, atol=1e-5)
    np.testing.assert_allclose(posterior.trend, trend, atol=1e-5)


def test_the_gradient_is_the_slope_of_the_likelihood():
    generator = np.random.default_rng(0)
    evaluations, scores = generator.integers(3, size=(60, 3)), generator.normal(size=60)
    together, _ = grouped(evaluations, scores, 3)
    logs = np.log([0.2, 0.5, 1.0, 0.3, 0.1])
    gradient = Posterior(together, np.exp(logs[:3]), *np.exp(logs[3:])).gradient()
    assert len(gradient) == len(logs)
    for index, step in enumerate(1e-4 * np.eye(len(logs))):
        above, below = (
            dense_process(evaluations, scores, np.exp(moved[:3]), *np.exp(moved[3:]))[-1]
            for moved in (logs + step, logs - step)
        )
        assert gradient[index] == pytest.approx((above - below) / 2e-4, abs=1e-3)


def test_new_architectures_gain_more_the_larger_the_power():
    generator = np.random.default_rng(0)
    together, _ = grouped(generator.integers(3, size=(40, 3)), generator.normal(size=40), 3)
    posterior = Posterior(together, np.array([0.2, 0.5, 1.0]), 0.3, 0.1)
    often, seldom = together.counts.argmax(), together.counts.argmin()
    both = together.architectures[[often, seldom]]
    assert together.counts[often] > together.counts[seldom]
    once, twice = (posterior.improvement(both, power) for power in (1, 2))
    assert twice[1] / twice[0] > once[1] / once[0]
