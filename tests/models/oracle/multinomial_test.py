import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.oracle.distribution import Distribution
from models.oracle.multinomial import Multinomial
from models.oracle.rules import gaussian_process, interactions, registry
from tests.support import paths

DATA = paths.DATA
CELL = [(f"edge_{i}", [f"op_{k}" for k in range(8)]) for i in range(5)]
RULES = list(registry.RULES)


# The paper's rule by hand. #


def check_golden(multinomial, score_of):
    golden = json.loads((DATA / "paper_rule.json").read_text())
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


def test_elite_transfer_equals_plain_loops():
    eta, elites, floor = 0.05, 3, 0.1
    options = {"eta": eta, "elites": elites, "floor": floor}
    generator = np.random.default_rng(0)
    multinomial = Multinomial([("x", range(4)), ("y", range(3))], "elite", options)
    p = [[1 / 4] * 4, [1 / 3] * 3]
    seen = []
    for step in range(60):
        sample = multinomial.sample(step)
        new, score = [sample["x"], sample["y"]], round(float(generator.random()), 1)
        best = sorted(seen, key=lambda item: -item[1])[:elites]
        others = [item for item in best if item[0] != new]
        for choice in range(2):
            for old, old_score in others:
                if old_score != score and old[choice] != new[choice]:
                    winner, loser = (old, new) if old_score > score else (new, old)
                    moved = min(eta / len(others), p[choice][loser[choice]])
                    p[choice][loser[choice]] -= moved
                    p[choice][winner[choice]] += moved
            p[choice] = [max(value, floor / len(p[choice])) for value in p[choice]]
            p[choice] = [value / sum(p[choice]) for value in p[choice]]
        seen.append((new, score))
        multinomial.observe(sample, score)
        np.testing.assert_allclose(multinomial.probabilities[0], p[0], atol=1e-12)
        np.testing.assert_allclose(multinomial.probabilities[1, :3], p[1], atol=1e-12)


def test_main_effects_are_the_ridge_regression_of_rank_utilities():
    generator = np.random.default_rng(1)
    multinomial = Multinomial([("x", range(3)), ("y", range(2))], "main_effects", warmup_rounds=0)
    epochs = {(name, op): 0 for name, size in (("x", 3), ("y", 2)) for op in range(size)}
    rows, trained, scores = [], [], []
    for step in range(300):
        sample = multinomial.sample(step)
        counts = [epochs[item] for item in sample.items()]
        trained.append([np.mean(np.log1p(counts)), np.mean([1 / (1 + count) for count in counts])])
        rows.append([float(sample["x"] == op) for op in range(3)] + [float(sample["y"] == op) for op in range(2)])
        scores.append(sample["x"] - sample["y"] + generator.normal())
        for item in sample.items():
            epochs[item] += 1
        multinomial.observe(sample, scores[-1])
    trained = (np.array(trained) - np.mean(trained, axis=0)) / np.std(trained, axis=0)
    design = np.hstack([rows, trained])
    rank = np.argsort(np.argsort(-np.array(scores)))
    utility = -np.log((rank + 0.5) / 300)
    utility -= utility.mean()
    effects = np.linalg.solve(design.T @ design + np.diag([3.0] * 5 + [0.1] * 2), design.T @ utility)
    assert multinomial.argmax() == {"x": int(effects[:3].argmax()), "y": int(effects[3:5].argmax())}
    found = multinomial.rule._mean
    np.testing.assert_allclose([*found[0], *found[1, :2]], effects[:5], atol=1e-9)


def test_interactions_finds_what_is_good_only_together():
    # No operation is better than another by itself.
    reward = lambda sample: 1.0 * (sample["a"] == sample["b"]) + 1.0 * (sample["c"] == sample["d"])  # noqa: E731
    found = {"interactions": 0, "main_effects": 0}
    for rule in found:
        for seed in range(5):
            multinomial = Multinomial([(name, range(4)) for name in "abcd"], rule, seed=seed)
            generator = np.random.default_rng(seed)
            for number in range(50):
                sample = multinomial.sample(number)
                multinomial.observe(sample, reward(sample) + 0.1 * generator.normal())
            found[rule] += reward(multinomial.argmax()) == 2
    assert found["interactions"] == 5 > found["main_effects"]


def test_interactions_keeps_operations_together_that_its_probabilities_do_not():
    multinomial = Multinomial([("a", range(2)), ("b", range(2))], "interactions", {"floor": 0.0}, seed=1)
    multinomial.observe({"a": 0, "b": 0}, 0.9)
    multinomial.observe({"a": 1, "b": 0}, 0.1)
    rule = multinomial.rule
    rule._proposals, rule._shares = np.array([[0, 0], [1, 1]]), np.array([0.5, 0.5])
    samples = [rule.sample(multinomial, np.random.default_rng(seed)).tolist() for seed in range(50)]
    assert {tuple(sample) for sample in samples} == {(0, 0), (1, 1)}


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
    return gaussian_process.Evaluations(
        distinct, width, means[:, -1], means[:, :-1], counts, within.T @ within
    ), numbers


def test_interactions_takes_evaluations_together_without_a_loss():
    generator = np.random.default_rng(0)
    # Few architectures, so that most are there several times; -1 is a choice that was not active.
    evaluations, scores = generator.integers(-1, 2, size=(40, 3)), generator.normal(size=40)
    weights = np.array([0.2, 0.5, 1.0])
    together, numbers = grouped(evaluations, scores, 2)
    assert len(together.counts) < 30
    posterior = gaussian_process.Posterior(together, weights, 0.3, 0.2)
    means, trend, _ = dense_process(evaluations, scores, weights, 0.3, 0.2)
    np.testing.assert_allclose(posterior.means[numbers], means, atol=1e-5)
    np.testing.assert_allclose(posterior.trend, trend, atol=1e-5)


def test_interactions_parameters_follow_the_slope_of_the_likelihood():
    generator = np.random.default_rng(0)
    evaluations, scores = generator.integers(3, size=(60, 3)), generator.normal(size=60)
    together, _ = grouped(evaluations, scores, 3)
    logs = np.log([0.2, 0.5, 1.0, 0.3, 0.1])
    gradient = gaussian_process.Posterior(together, np.exp(logs[:3]), *np.exp(logs[3:])).gradient()
    assert len(gradient) == len(logs)
    for index, step in enumerate(1e-4 * np.eye(len(logs))):
        above, below = (
            dense_process(evaluations, scores, np.exp(moved[:3]), *np.exp(moved[3:]))[-1]
            for moved in (logs + step, logs - step)
        )
        assert gradient[index] == pytest.approx((above - below) / 2e-4, abs=1e-3)


def test_interactions_finds_out_what_matters_and_how_noisy_it_is(monkeypatch):
    multinomial = Multinomial([(str(i), range(3)) for i in range(4)], "interactions", {"floor": 0.5}, seed=1)
    generator = np.random.default_rng(1)
    for number in range(80):
        sample = multinomial.sample(number)
        multinomial.observe(sample, sample["0"] + 0.3 * generator.normal())
    weights, noise = multinomial.rule._parameters.weights, multinomial.rule._parameters.noise
    assert weights[0] > 2 * weights[1:].max()
    assert noise > 0.01
    # As it does anew for a recommendation.
    fitted = []
    posterior = gaussian_process.Posterior.__init__
    monkeypatch.setattr(
        gaussian_process.Posterior,
        "__init__",
        lambda *arguments: (fitted.append(arguments[2:]), posterior(*arguments))[1],
    )
    multinomial.argmax()
    weights, noise, _ = fitted[-1]
    assert weights[0] > 2 * weights[1:].max()
    assert noise > 0.01


@pytest.mark.parametrize(
    ("trend", "evaluations", "most"),
    [(lambda time: 5 * np.sin(6 * time), 40, 0.2), (lambda time: 10 * (1 - np.exp(-5 * time)), 60, 0.1)],
    ids=["wave", "rise"],
)
def test_interactions_sees_through_a_trend(trend, evaluations, most):
    # Accuracies rise or fall by more than architectures differ, as on the shared weights of a supernet. Without a trend
    # in the process the losses are 0.75 and 0.19.
    lost = []
    for seed in range(8):
        multinomial = Multinomial([(str(i), range(3)) for i in range(6)], "interactions", {"trend": True}, seed=seed)
        generator = np.random.default_rng(seed)

        def reward(sample):
            return (sample["0"] + sample["1"] + sample["2"]) / 2 + (sample["3"] == sample["4"])

        for number in range(evaluations):
            sample = multinomial.sample(number)
            noise = 0.3 * generator.normal()
            multinomial.observe(sample, reward(sample) + trend(number / evaluations) + noise)
        lost.append(4 - reward(multinomial.argmax()))
    assert np.mean(lost) <= most


def test_interactions_neighbours_differ_in_one_choice():
    multinomial = Multinomial([(str(i), range(size)) for i, size in enumerate((1, 3, 2, 5))], "interactions")
    architecture = np.array([0, 2, 0, 3])
    near = interactions._neighbours(multinomial, architecture[np.newaxis], 10**6, np.random.default_rng(0))
    everything = np.indices((1, 3, 2, 5)).reshape(4, -1).T
    expected = everything[(everything != architecture).sum(axis=1) == 1]
    assert sorted(near.tolist()) == sorted(expected.tolist())


def test_interactions_looks_at_the_best_and_the_latest():
    multinomial = Multinomial([("a", range(30))], "interactions", {"architectures": 6}, seed=1)
    # In no order, which would be a trend; two evaluations of an architecture are one.
    for number in [*np.random.default_rng(0).permutation(28), 28, 29, 3]:
        multinomial.observe({"a": number}, -abs(number - 10))
    kept = multinomial.rule._evaluations(multinomial, 6)
    assert set(kept.architectures[:3].ravel()) == {9, 10, 11}
    assert set(kept.architectures[3:].ravel()) == {3, 28, 29}


def test_interactions_forgets_the_noise_of_what_it_does_not_look_at():
    multinomial = Multinomial([("a", range(30))], "interactions", {"architectures": 6}, seed=1)
    for number, score in (
        (0, -0.3),
        (0, 0.1),
        *((number, number / 28) for number in range(1, 29)),
        (29, 1.2),
        (29, 1.4),
    ):
        multinomial.observe({"a": number}, score)
    few, many = (multinomial.rule._evaluations(multinomial, most) for most in (6, 30))
    assert 0 not in few.architectures and 0 in many.architectures
    counts = few.counts[few.architectures.ravel() == 29]
    assert counts == [2]
    # 29's two alone: half the square of what they differ by.
    assert few.within[-1, -1] == pytest.approx((0.2 / few.unit) ** 2 / 2)
    assert many.within[-1, -1] > few.within[-1, -1] * 1.5


def test_interactions_expects_the_trend_to_stay_as_it_was_last(monkeypatch):
    looked_with = []
    evaluations = interactions.Interactions._evaluations

    def recorded(rule, *arguments):
        looked_with.append(rule._trend.copy())
        return evaluations(rule, *arguments)

    monkeypatch.setattr(interactions.Interactions, "_evaluations", recorded)
    multinomial = Multinomial([(str(i), range(3)) for i in range(4)], "interactions", {"trend": True}, seed=1)
    for number in range(40):
        known = multinomial.rule._trend.copy()
        sample = multinomial.sample(number)
        multinomial.observe(sample, sum(sample.values()) - number / 2)
        if len(known):
            np.testing.assert_array_equal(looked_with[-1], [*known, known[-1]])
    assert np.ptp(multinomial.rule._trend) > 10


@pytest.mark.parametrize(("noise", "repeats"), [(0.0, False), (0.3, True)])
def test_interactions_repeats_an_evaluation_only_where_there_is_noise(noise, repeats):
    multinomial = Multinomial([(str(i), range(3)) for i in range(4)], "interactions", {"floor": 0.0}, seed=1)
    generator = np.random.default_rng(1)
    for number in range(60):
        sample = multinomial.sample(number)
        multinomial.observe(sample, sample["0"] + sample["1"] + noise * generator.normal())
    assert (len(np.unique(multinomial.architectures, axis=0)) < 55) == repeats
    evaluations = multinomial.rule._evaluations(multinomial, 100)
    assert evaluations.noisy == repeats
    # That the same result came out again says nothing of the chance in it.
    assert (evaluations.counts.max() > 1) == repeats


def test_interactions_repeats_reluctantly_while_it_can_look_at_more(monkeypatch):
    reluctance = []
    improvement = gaussian_process.Posterior.improvement

    def recorded(posterior, architectures, power):
        reluctance.append(power)
        return improvement(posterior, architectures, power)

    monkeypatch.setattr(gaussian_process.Posterior, "improvement", recorded)
    multinomial = Multinomial([(str(i), range(3)) for i in range(4)], "interactions", {"architectures": 20}, seed=1)
    generator = np.random.default_rng(1)
    expected = []
    for number in range(80):
        sample = multinomial.sample(number)
        multinomial.observe(sample, sample["0"] + 0.3 * generator.normal())
        different = len(np.unique(multinomial.architectures, axis=0))
        reluctant = different < 20 and different < len(multinomial)
        expected += [2 if reluctant else 1] * (len(reluctance) - len(expected))
    assert reluctance == expected
    assert {1, 2} == set(reluctance)


def test_interactions_prefers_new_architectures_the_more_reluctant_it_is():
    generator = np.random.default_rng(0)
    together, _ = grouped(generator.integers(3, size=(40, 3)), generator.normal(size=40), 3)
    posterior = gaussian_process.Posterior(together, np.array([0.2, 0.5, 1.0]), 0.3, 0.1)
    often, seldom = together.counts.argmax(), together.counts.argmin()
    both = together.architectures[[often, seldom]]
    assert together.counts[often] > together.counts[seldom]
    once, twice = (posterior.improvement(both, power) for power in (1, 2))
    assert twice[1] / twice[0] > once[1] / once[0]


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_interactions_sees_through_choices_that_are_not_active(noise):
    # Only one of the two halves is active, so that 18 of 162 architectures are different ones.
    space = [("half", range(2)), *((name, range(3)) for name in "abcd")]
    multinomial = Multinomial(space, "interactions", {"floor": 0.0}, warmup_rounds=1, seed=1)
    generator = np.random.default_rng(1)
    for number in range(24):
        sample = multinomial.sample(number)
        active = "ab" if sample["half"] == 0 else "cd"
        score = sample[active[0]] * sample[active[1]] + sample["half"]
        multinomial.observe(
            {"half": sample["half"], **{name: sample[name] for name in active}}, score + noise * generator.normal()
        )
    different = len(np.unique(multinomial.architectures, axis=0))
    assert different >= (16 if noise == 0 else 8)
    argmax = multinomial.argmax()
    # It names an operation of every choice, active or not.
    assert set(argmax) == {"half", *"abcd"}
    assert argmax["half"] == 1 and argmax["c"] == argmax["d"] == 2


def test_interactions_takes_for_exact_only_what_came_out_equal():
    multinomial = Multinomial([("a", range(3)), ("b", range(20))], "interactions", seed=1)
    # Both are so bad that their utilities are cut to the same one.
    for score in (0.10, 0.13):
        multinomial.observe({"a": 0, "b": 0}, score)
    for number in range(38):
        multinomial.observe({"a": 1 + number % 2, "b": number // 2}, 0.9 + 1e-3 * number)
    assert multinomial.rule._evaluations(multinomial, 100).noisy is True


def test_interactions_recommends_of_all_where_an_update_looks_at_few(monkeypatch):
    looked_at = []
    posterior = gaussian_process.Posterior.__init__

    def recorded(self, evaluations, *parameters):
        looked_at.append(len(evaluations.counts))
        posterior(self, evaluations, *parameters)

    monkeypatch.setattr(gaussian_process.Posterior, "__init__", recorded)
    asked, unasked = (
        Multinomial([(str(i), range(3)) for i in range(4)], "interactions", {"architectures": 10}, seed=1)
        for _ in range(2)
    )
    for number in range(40):
        for multinomial in (asked, unasked):
            sample = multinomial.sample(number)
            multinomial.observe(sample, sum(sample.values()))
        assert max(looked_at, default=0) <= 10
        asked.argmax()
        if number >= 10:
            assert looked_at[-1] == len(np.unique(asked.architectures, axis=0))
        looked_at.clear()
    # A recommendation changes nothing.
    np.testing.assert_array_equal(asked.architectures, unasked.architectures)
    np.testing.assert_array_equal(asked.probabilities, unasked.probabilities)


def test_interactions_recommends_what_similar_architectures_bear_out():
    gained = []
    for seed in range(16, 32):
        # The same result whenever an architecture is evaluated, yet partly chance, as of one training.
        chance = np.random.default_rng(seed).normal(size=(3,) * 5)
        multinomial = Multinomial([(str(i), range(3)) for i in range(5)], "interactions", seed=seed)
        for number in range(100):
            sample = multinomial.sample(number)
            multinomial.observe(sample, sum(sample.values()) + chance[tuple(sample.values())])
        gained.append(sum(multinomial.argmax().values()) - sum(multinomial.best()[0].values()))
    assert np.mean(gained) > 0.3


# What holds for all rules. #


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


# Not the paper's rule and its later version, whose argmax is little better than chance here: docs/oracle.md.
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in ("paper", "pairwise")])
def test_rule_finds_the_best_operations_of_a_clear_case(rule):
    multinomial = Multinomial(CELL, rule, seed=0)
    generator = np.random.default_rng(0)
    for number in range(300):
        sample = multinomial.sample(number)
        good = sum(int(operation[-1]) for operation in sample.values()) / 35
        multinomial.observe(sample, good + 0.01 * generator.normal())
    mean = np.mean([int(operation[-1]) for operation in multinomial.argmax().values()])
    # 3.5 is the mean of all operations.
    assert mean > 5.5


# Samples. #


def test_samples_follow_the_probabilities():
    multinomial = Multinomial([("edge", "abc"), ("other", "de")], seed=5)
    multinomial.probabilities = np.array([[0.5, 0.0, 0.5], [0.9, 0.1, 0.0]])
    samples = [multinomial.sample(number) for number in range(4000)]
    share = lambda name, op: np.mean([sample[name] == op for sample in samples])  # noqa: E731
    assert share("edge", "b") == 0
    assert share("edge", "a") == pytest.approx(0.5, abs=0.03)
    assert share("other", "d") == pytest.approx(0.9, abs=0.02)
    together = np.mean([sample == {"edge": "a", "other": "d"} for sample in samples])
    assert together == pytest.approx(0.45, abs=0.03)


def test_warmup_samples_every_operation_equally_often():
    multinomial = Multinomial([("edge", "abcd"), ("other", "de")], warmup_rounds=3, seed=2)
    samples = [multinomial.sample(number) for number in range(12)]
    assert [[s["edge"] for s in samples].count(op) for op in "abcd"] == [3, 3, 3, 3]
    assert [[s["other"] for s in samples].count(op) for op in "de"] == [6, 6]
    # Each round by itself, and the choices not in step.
    assert sorted(s["edge"] for s in samples[4:8]) == list("abcd")
    assert len({(s["edge"], s["other"]) for s in samples}) > 4


def test_seed_decides_the_samples():
    draw = lambda seed: [Multinomial(CELL, seed=seed).sample(number) for number in range(5)]  # noqa: E731
    assert draw(1) == draw(1) != draw(2)


# What is left behind. #


@pytest.mark.parametrize("rule", RULES)
def test_document_is_json_and_reads_back(rule, tmp_path):
    multinomial = Multinomial(CELL, rule, seed=4)
    for number in range(20):
        multinomial.observe(multinomial.sample(number), score=number % 7 / 7, trial=f"t{number}")
    path = tmp_path / "distribution.json"
    path.write_text(json.dumps(multinomial.document()))
    document = json.loads(path.read_text())
    assert document == multinomial.document()
    assert len(document["history"]) == 20
    last = document["history"][-1]
    assert last["probabilities"] == [choice["probabilities"] for choice in document["choices"]]
    assert last["entropy"] == pytest.approx(multinomial.entropy())
    assert last["trial"] == "t19"

    distribution = Distribution.load(path)
    assert distribution.argmax == multinomial.argmax()
    assert (distribution.best, distribution.best_score) == multinomial.best()[:2]
    assert distribution.best_score == 6 / 7
    for row, (name, operations) in enumerate(CELL):
        assert list(distribution.operations[name]) == operations
        assert list(distribution.probabilities[name]) == multinomial.probabilities[row].tolist()


def test_document_of_numpy_operations_and_options_is_json():
    multinomial = Multinomial(
        [
            ("kernel", np.arange(3, 7, 2)),
            ("rate", np.array([0.5, 0.25], np.float32)),
            ("bias", np.array([True, False])),
        ],
        rule="interactions",
        rule_options={"trend": np.True_, "candidates": np.uint8(200), "floor": np.float32(0.25)},
        seed=np.int64(1),
        warmup_rounds=np.int8(1),
    )
    multinomial.observe({"kernel": np.int64(5), "rate": np.float32(0.5), "bias": np.True_}, np.float32(0.5))
    document = json.loads(json.dumps(multinomial.document()))
    assert document == multinomial.document()
    assert document["best"]["architecture"] == {"kernel": 5, "rate": 0.5, "bias": True}
    assert document["rule"]["options"]["candidates"] == 200


def test_document_that_is_no_distribution_is_refused():
    document = Multinomial(CELL).document()
    broken = copy.deepcopy(document)
    broken["choices"][1]["probabilities"][0] = 0.9
    with pytest.raises(ValueError, match="'edge_1'"):
        Distribution.from_document(broken)
    del document["argmax"]
    with pytest.raises(ValueError, match="'argmax'"):
        Distribution.from_document(document)


# Errors. #


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"choices": []}, "none"),
        ({"choices": [("a", "xy"), ("a", "xy")]}, "twice"),
        ({"choices": [("a", "xx")]}, "twice"),
        ({"choices": [("a", "")]}, "no operations"),
        ({"rule": "papr"}, "did you mean 'paper'"),
        ({"rule_options": {"alfa": 1}}, "did you mean 'alpha'"),
        ({"rule_options": {"alpha": 0}}, "above 0"),
        ({"rule_options": {"projection": "cut"}}, "'clip', 'euclidean', 'softmax'"),
        ({"rule_options": {"accuracy": "best"}}, "'latest', 'mean'"),
        ({"rule": "interactions", "rule_options": {"architectures": 2.5}}, "whole number"),
        ({"rule": "interactions", "rule_options": {"candidates": 0}}, "whole number"),
        ({"rule": "elite", "rule_options": {"elites": "ten"}}, "whole number"),
        ({"rule": "elite", "rule_options": {"elites": True}}, "whole number"),
        ({"rule": "elite", "rule_options": {"elites": np.float64(3)}}, "whole number"),
        ({"rule": "elite", "rule_options": {"eta": True}}, "finite number"),
        ({"rule": "elite", "rule_options": {"floor": "0.1"}}, "from 0 to below 1"),
        ({"rule": "interactions", "rule_options": {"trend": 1}}, "False, True"),
        ({"warmup_rounds": -1}, "warmup_rounds"),
        ({"warmup_rounds": True}, "warmup_rounds"),
        ({"seed": 1.0}, "seed"),
        ({"seed": -1}, "seed"),
        ({"direction": "up"}, "'max' or 'min'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Multinomial(**{"choices": CELL, **arguments})


@pytest.mark.parametrize(
    ("architecture", "score", "message"),
    [
        ({"edge_9": "op_0"}, 0.5, "'edge_9'"),
        ({"edge_0": "op_9"}, 0.5, "'op_9'"),
        ({"edge_0": "op_0"}, math.nan, "finite"),
        ({"edge_0": "op_0"}, math.inf, "finite"),
    ],
)
def test_wrong_evaluation_is_refused_and_changes_nothing(architecture, score, message):
    multinomial = Multinomial(CELL)
    before = multinomial.document()
    with pytest.raises(ValueError, match=message):
        multinomial.observe(architecture, score)
    assert multinomial.document() == before
