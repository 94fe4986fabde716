"""models/oracle/rules/gaussian_process.py: predictions of the posterior."""

import numpy as np
import pytest

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
