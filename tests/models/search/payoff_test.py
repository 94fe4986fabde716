"""models/search/payoff.py: what a search recommends, beside the random architectures that it began with."""

import dataclasses
import json

import numpy as np
import pytest

from models.oracle.distribution import Distribution
from models.oracle.multinomial import Multinomial
from models.search.payoff import Prediction, payoff, predict, warnings
from tests.support.spaces import make_space

CHOICES = [("first", ("a", "b")), ("second", ("a", "b"))]


def searched(rule="interactions", warmup_rounds=2, evaluations=12):
    """A search whose score is the number of a's, but for a little noise."""
    multinomial = Multinomial(CHOICES, rule=rule, warmup_rounds=warmup_rounds, seed=1)
    for number in range(evaluations):
        path = multinomial.sample(number)
        multinomial.observe(path, sum(operation == "a" for operation in path.values()) + 0.01 * (number % 3))
    return Distribution.from_document(multinomial.document())


def test_the_recommended_architecture_is_compared_with_those_of_the_warmup():
    distribution = searched()
    found = payoff(distribution)
    assert found.count == distribution.warmup == 4
    warmup = [score for _, score in distribution.evaluations[:4]]
    assert found.random == pytest.approx(sum(warmup) / 4)
    assert distribution.argmax == {"first": "a", "second": "a"}
    own = [score for path, score in distribution.evaluations if path == distribution.argmax]
    assert found.evaluations == len(own) >= 1
    assert found.recommended == pytest.approx(sum(own) / len(own))
    assert found.better == sum(score < found.recommended for score in warmup) >= 2


def test_without_a_warmup_there_is_nothing_to_compare_with():
    assert payoff(searched(rule="paper", warmup_rounds=0)) is None


def test_an_architecture_that_was_never_evaluated_has_no_score():
    distribution = searched(rule="paper", warmup_rounds=1, evaluations=2)
    (first, _), (second, _) = distribution.evaluations
    other = next(
        path for path in ({"first": one, "second": two} for one in "ab" for two in "ab") if path not in (first, second)
    )
    found = payoff(Distribution(**{**vars(distribution), "argmax": other}))
    assert (found.recommended, found.evaluations, found.better) == (None, 0, None) and found.count == 2


def cell_search(worth, rule="interactions", direction="max", evaluations=40):
    space = make_space({"name": "nasbench201"})
    multinomial = Multinomial(
        [(choice.name, choice.operations) for choice in space.choices], rule=rule, seed=3, direction=direction
    )
    for number in range(evaluations):
        path = multinomial.sample(number)
        multinomial.observe(path, worth(path, number))
    return multinomial, space


def convolutions(path, _):
    return sum(operation == "nor_conv_3x3" for operation in path.values()) / 6


@pytest.mark.parametrize("direction", ["max", "min"])
def test_a_good_architecture_is_predicted_to_rank_high(direction):
    sign = 1 if direction == "max" else -1
    found = predict(*cell_search(lambda path, number: sign * convolutions(path, number), direction=direction), seed=0)
    low, middle, high = found.rank
    assert 0.8 < low <= middle <= high <= 1
    assert sign * found.gain[1] > 0.2  # a random architecture has 0.2 on average


@pytest.mark.parametrize("seed", range(3))
def test_scores_without_signal_are_told_from_scores_with_signal(seed):
    noise = np.random.default_rng(seed).normal(0, 0.2, 60)
    nothing = predict(*cell_search(lambda _, number: noise[number], evaluations=60), seed=0)
    assert nothing.correlation < 0.3 and nothing.chance > 0.05
    assert "learned nothing" in warnings(nothing)[0]
    signal = predict(*cell_search(lambda path, number: convolutions(path, 0) + noise[number], evaluations=60), seed=0)
    assert signal.correlation > 0.3 and signal.chance < 0.01
    assert warnings(signal) == [] == warnings(None)


def test_equal_scores_have_no_correlation():
    found = predict(*cell_search(lambda *_: 0.5), seed=0)
    assert (found.correlation, found.chance) == (0.0, 1.0)


def test_a_prediction_repeats_and_survives_its_file():
    search = cell_search(convolutions)
    found = predict(*search, seed=0)
    assert found == predict(*search, seed=0)
    assert Prediction.from_document(json.loads(json.dumps(dataclasses.asdict(found)))) == found
    assert Prediction.from_document(None) is None


def test_a_rule_without_a_model_predicts_nothing():
    assert predict(*cell_search(convolutions, rule="paper"), seed=0) is None
    assert predict(*cell_search(convolutions, evaluations=2), seed=0) is None
