"""models/oracle/rules/interactions.py: what the rule `interactions` samples, looks at and recommends."""

import numpy as np
import pytest

from models.oracle.multinomial import Multinomial
from models.oracle.rules import gaussian_process, interactions


def test_the_rule_finds_what_is_good_only_together():
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


def test_the_rule_keeps_operations_together_that_its_probabilities_do_not():
    multinomial = Multinomial([("a", range(2)), ("b", range(2))], "interactions", {"floor": 0.0}, seed=1)
    multinomial.observe({"a": 0, "b": 0}, 0.9)
    multinomial.observe({"a": 1, "b": 0}, 0.1)
    rule = multinomial.rule
    rule._proposals, rule._shares = np.array([[0, 0], [1, 1]]), np.array([0.5, 0.5])
    samples = [rule.sample(multinomial, np.random.default_rng(seed)).tolist() for seed in range(50)]
    assert {tuple(sample) for sample in samples} == {(0, 0), (1, 1)}


def test_the_rule_finds_out_what_matters_and_how_noisy_it_is(monkeypatch):
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
def test_the_rule_sees_through_a_trend(trend, evaluations, most):
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


def test_neighbours_differ_in_one_choice():
    multinomial = Multinomial([(str(i), range(size)) for i, size in enumerate((1, 3, 2, 5))], "interactions")
    architecture = np.array([0, 2, 0, 3])
    near = interactions._neighbours(multinomial, architecture[np.newaxis], 10**6, np.random.default_rng(0))
    everything = np.indices((1, 3, 2, 5)).reshape(4, -1).T
    expected = everything[(everything != architecture).sum(axis=1) == 1]
    assert sorted(near.tolist()) == sorted(expected.tolist())


def test_the_rule_looks_at_the_best_and_the_latest():
    multinomial = Multinomial([("a", range(30))], "interactions", {"architectures": 6}, seed=1)
    # In no order, which would be a trend; two evaluations of an architecture are one.
    for number in [*np.random.default_rng(0).permutation(28), 28, 29, 3]:
        multinomial.observe({"a": number}, -abs(number - 10))
    kept = multinomial.rule._evaluations(multinomial, 6)
    assert set(kept.architectures[:3].ravel()) == {9, 10, 11}
    assert set(kept.architectures[3:].ravel()) == {3, 28, 29}


def test_the_rule_forgets_the_noise_of_what_it_does_not_look_at():
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


def test_the_rule_expects_the_trend_to_stay_as_it_was_last(monkeypatch):
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
def test_the_rule_repeats_an_evaluation_only_where_there_is_noise(noise, repeats):
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


def test_the_rule_repeats_reluctantly_while_it_can_look_at_more(monkeypatch):
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


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_rule_sees_through_choices_that_are_not_active(noise):
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


def test_the_rule_takes_for_exact_only_what_came_out_equal():
    multinomial = Multinomial([("a", range(3)), ("b", range(20))], "interactions", seed=1)
    # Both are so bad that their utilities are cut to the same one.
    for score in (0.10, 0.13):
        multinomial.observe({"a": 0, "b": 0}, score)
    for number in range(38):
        multinomial.observe({"a": 1 + number % 2, "b": number // 2}, 0.9 + 1e-3 * number)
    assert multinomial.rule._evaluations(multinomial, 100).noisy is True


def test_the_rule_recommends_of_all_where_an_update_looks_at_few(monkeypatch):
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


def test_the_rule_recommends_what_similar_architectures_bear_out():
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
