"""models/oracle/rules/base.py: what holds for every rule of the registry."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.oracle.multinomial import Multinomial
from models.oracle.rules import registry

RULES = list(registry.RULES)
# The paper's rule and its later version, whose argmax is little better than chance in a clear case: docs/oracle.md.
LEARN_LITTLE = ("paper", "pairwise")


@st.composite
def searches(draw):
    """A space, a seed and scores with which a rule is driven by its own samples; some choices are left out."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    score = st.one_of(st.floats(-1e3, 1e3), st.sampled_from([0.0, 0.5]))
    steps = st.tuples(score, st.sets(st.integers(0, len(sizes) - 1)))
    return sizes, draw(st.integers(0, 2**31)), draw(st.lists(steps, min_size=1, max_size=40))


DRIVEN = [*((rule, None) for rule in RULES), ("interactions", {"trend": True})]
DRIVEN_IDS = [*RULES, "interactions with trend"]


def drive(rule, options, sizes, seed, steps, warmup_rounds=None):
    multinomial = Multinomial([(str(i), range(n)) for i, n in enumerate(sizes)], rule, options, warmup_rounds, seed)
    for number, (score, left_out) in enumerate(steps):
        sample = multinomial.sample(number)
        yield multinomial, {name: op for name, op in sample.items() if int(name) not in left_out}, score


@pytest.mark.parametrize(("rule", "options"), DRIVEN, ids=DRIVEN_IDS)
@settings(max_examples=25, deadline=None)
@given(search=searches())
def test_probabilities_stay_a_distribution_and_the_statistics_count_right(rule, options, search):
    sizes, _, _ = search
    epochs = {(str(i), op): 0 for i, size in enumerate(sizes) for op in range(size)}
    latest = {}
    for multinomial, architecture, score in drive(rule, options, *search, warmup_rounds=1):
        multinomial.observe(architecture, score)
        np.testing.assert_allclose(multinomial.probabilities.sum(axis=1), 1, atol=1e-9)
        assert (multinomial.probabilities >= 0).all()
        assert (multinomial.probabilities[~multinomial.mask] == 0).all()
        for item in architecture.items():
            epochs[item] += 1
            latest[item] = score
        assert 0 <= multinomial.entropy() <= sum(map(math.log, sizes)) + 1e-9
    for choice in multinomial.document()["choices"]:
        for operation, count, accuracy in zip(
            choice["operations"], choice["epochs"], choice["accuracies"], strict=True
        ):
            assert count == epochs[choice["name"], operation]
            assert accuracy == latest.get((choice["name"], operation))
    multinomial.indices(multinomial.argmax())  # An architecture of the space.


@pytest.mark.parametrize(("rule", "options"), DRIVEN, ids=DRIVEN_IDS)
@settings(max_examples=10, deadline=None)
@given(search=searches())
def test_told_the_same_evaluations_again_it_continues_the_same(rule, options, search):
    evaluations = []
    for multinomial, architecture, score in drive(rule, options, *search):
        multinomial.observe(architecture, score)
        evaluations.append((architecture, score))
    sizes, seed, _ = search
    again = Multinomial([(str(i), range(n)) for i, n in enumerate(sizes)], rule, options, seed=seed)
    for architecture, score in evaluations:
        again.observe(architecture, score)
    assert again.document() == multinomial.document()
    assert [again.sample(n) for n in range(50)] == [multinomial.sample(n) for n in range(50)]


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=10, deadline=None)
@given(search=searches())
def test_less_is_better_is_more_is_better_of_the_negative(rule, search):
    sizes, seed, steps = search
    choices = [(str(i), range(n)) for i, n in enumerate(sizes)]
    more = Multinomial(choices, rule, seed=seed)
    less = Multinomial(choices, rule, seed=seed, direction="min")
    for number, (score, _) in enumerate(steps):
        sample = more.sample(number)
        assert less.sample(number) == sample
        more.observe(sample, score)
        less.observe(sample, -score)
    assert less.best() == (more.best()[0], -more.best()[1], more.best()[2])


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in LEARN_LITTLE])
def test_rule_finds_the_best_operations_of_a_clear_case(rule):
    multinomial = Multinomial([(f"edge_{i}", [f"op_{k}" for k in range(8)]) for i in range(5)], rule, seed=0)
    generator = np.random.default_rng(0)
    for number in range(300):
        sample = multinomial.sample(number)
        good = sum(int(operation[-1]) for operation in sample.values()) / 35
        multinomial.observe(sample, good + 0.01 * generator.normal())
    mean = np.mean([int(operation[-1]) for operation in multinomial.argmax().values()])
    # 3.5 is the mean of all operations.
    assert mean > 5.5
