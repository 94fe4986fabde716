"""models/oracle/rules/paper.py: the rules `paper` and `pairwise`, by hand and as plain loops."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.oracle.multinomial import Multinomial
from tests.support import paths

# The paper's rule by hand. #


def check_golden(multinomial, score_of):
    golden = json.loads((paths.DATA / "paper_rule.json").read_text())
    for evaluation in golden["evaluations"]:
        multinomial.observe({"edge": evaluation["operation"]}, score_of(evaluation["accuracy"]))
        expected = [1 / 3 + golden["alpha"] * steps for steps in evaluation["moved"]]
        np.testing.assert_allclose(multinomial.probabilities[0], expected, atol=1e-12, err_msg=evaluation["why"])


@pytest.mark.parametrize("projection", ["clip", "euclidean"])
def test_paper_rule_takes_the_hand_computed_steps(projection):
    options = {"projection": projection}
    check_golden(Multinomial([("edge", "abc")], rule="paper", rule_options=options), lambda accuracy: accuracy)


def test_golden_steps_catch_an_error_recorded_in_place_of_accuracy():
    with pytest.raises(AssertionError):
        check_golden(Multinomial([("edge", "abc")], rule="paper"), lambda accuracy: 1 - accuracy)


def test_an_error_to_be_minimised_takes_the_same_steps():
    check_golden(Multinomial([("edge", "abc")], rule="paper", direction="min"), lambda accuracy: 1 - accuracy)


def test_clip_takes_what_falls_below_zero_from_all():
    multinomial = Multinomial([("edge", "ab")], rule="paper", rule_options={"alpha": 0.6})
    for operation, accuracy in [("a", 0.1), ("a", 0.1), ("b", 0.9)]:
        multinomial.observe({"edge": operation}, accuracy)
    # b has fewer epochs and more accuracy: (-0.1, 1.1), clipped (0, 1.1).
    assert multinomial.probabilities.tolist() == [[0.0, 1.0]]


def test_euclidean_projection_is_the_nearest_point():
    multinomial = Multinomial([("edge", "abc")], rule="paper", rule_options={"alpha": 0.4, "projection": "euclidean"})
    for operation, accuracy in [("a", 0.1), ("a", 0.1), ("b", 0.9)]:
        multinomial.observe({"edge": operation}, accuracy)
    # (1/3 - 0.4, 1/3 + 0.4, 1/3): a falls to 0, what it lacked (1/15) is taken equally from the two others.
    np.testing.assert_allclose(multinomial.probabilities[0], [0, 0.7, 0.3], atol=1e-12)


def test_softmax_projection_sums_the_steps():
    multinomial = Multinomial([("edge", "ab")], rule="paper", rule_options={"alpha": 0.1, "projection": "softmax"})
    for operation, accuracy in [("a", 0.1), ("a", 0.1), ("b", 0.9), ("a", 0.1)]:
        multinomial.observe({"edge": operation}, accuracy)
    # b won twice: logits (-0.2, 0.2).
    np.testing.assert_allclose(multinomial.probabilities[0], np.exp([-0.2, 0.2]) / np.exp([-0.2, 0.2]).sum())


# Plain loops, written after the equations alone. #


def paper_loops(p, epochs, accuracy, alpha):
    moved = []
    for i in range(len(p)):
        gains = losses = 0
        for j in range(len(p)):
            d_epochs = epochs[i] - epochs[j]
            d_accuracy = accuracy[i] - accuracy[j]
            if d_epochs < 0 and d_accuracy > 0:
                gains += 1
            if d_epochs > 0 and d_accuracy < 0:
                losses += 1
        moved.append(p[i] + alpha * (gains - losses))
    clipped = [max(value, 0.0) for value in moved]
    total = 0.0
    for value in clipped:
        total += value
    return [value / total for value in clipped]


def pairwise_loops(p, epochs, accuracy, alpha):
    p = list(p)

    def give(loser, winner):
        if p[loser] > alpha:
            p[loser] -= alpha
            p[winner] += alpha
        else:
            p[winner] += p[loser]
            p[loser] = 0.0

    for i in range(len(p)):
        for j in range(i + 1, len(p)):
            if epochs[i] >= epochs[j] and accuracy[i] < accuracy[j]:
                give(i, j)
            if epochs[i] <= epochs[j] and accuracy[i] > accuracy[j]:
                give(j, i)
    return p


@pytest.mark.parametrize(("rule", "loops"), [("paper", paper_loops), ("pairwise", pairwise_loops)])
@pytest.mark.parametrize("alpha", [0.01, 0.05])
@pytest.mark.parametrize("record", ["latest", "mean"])
def test_rule_equals_plain_loops_exactly_over_300_random_steps(rule, loops, alpha, record):
    generator = np.random.default_rng(3)
    sizes = [8, 8, 3, 1, 5]
    multinomial = Multinomial(
        [(str(i), range(size)) for i, size in enumerate(sizes)], rule, {"alpha": alpha, "accuracy": record}
    )
    p = [[1 / size] * size for size in sizes]
    epochs = [[0] * size for size in sizes]
    totals = [[0.0] * size for size in sizes]
    accuracy = [[0.0] * size for size in sizes]
    smallest = 1.0
    for step in range(300):
        sample = multinomial.sample(step)
        # Few distinct values, so that equal accuracies occur too.
        score = round(float(generator.random()), 2)
        multinomial.observe(sample, score)
        for choice, size in enumerate(sizes):
            operation = sample[str(choice)]
            epochs[choice][operation] += 1
            totals[choice][operation] += score
            mean = totals[choice][operation] / epochs[choice][operation]
            accuracy[choice][operation] = score if record == "latest" else mean
            p[choice] = loops(p[choice], epochs[choice], accuracy[choice], alpha)
            assert multinomial.probabilities[choice, :size].tolist() == p[choice]
            smallest = min(smallest, *p[choice])
    # Else the walk never met the border of the simplex.
    assert smallest == 0.0


@pytest.mark.parametrize("rule", ["paper", "pairwise"])
@settings(max_examples=50, deadline=None)
@given(
    epochs=st.lists(st.integers(0, 5), min_size=2, max_size=5, unique=True),
    accuracies=st.lists(st.floats(0.01, 1), min_size=5, max_size=5, unique=True),
)
def test_fewer_epochs_and_more_accuracy_gains(rule, epochs, accuracies):
    # The fewer epochs, the more accuracy: every operation that was evaluated beats all that follow.
    epochs = sorted(epochs)
    accuracies = sorted(accuracies, reverse=True)
    multinomial = Multinomial([("edge", range(len(epochs)))], rule)
    evaluations = [(op, accuracies[op]) for op, count in enumerate(epochs) for _ in range(count)]
    for operation, accuracy in evaluations[:-1]:
        multinomial.observe({"edge": operation}, accuracy)
    before = multinomial.probabilities[0].copy()
    multinomial.observe({"edge": evaluations[-1][0]}, evaluations[-1][1])
    evaluated = [op for op, count in enumerate(epochs) if count]
    if len(evaluated) > 1:
        assert multinomial.probabilities[0, evaluated[0]] > before[evaluated[0]]
        assert multinomial.probabilities[0, evaluated[-1]] < before[evaluated[-1]]
