"""models/search/payoff.py: what a search recommends, beside the random architectures that it began with."""

import pytest

from models.oracle.distribution import Distribution
from models.oracle.multinomial import Multinomial
from models.search.payoff import payoff

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
