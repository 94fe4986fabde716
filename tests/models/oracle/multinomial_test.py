"""models/oracle/multinomial.py: samples, the document, and errors. The tests of the rules are in rules/."""

import copy
import json
import math

import numpy as np
import pytest

from models.oracle.distribution import Distribution
from models.oracle.multinomial import Multinomial
from models.oracle.rules import registry

CELL = [(f"edge_{i}", [f"op_{k}" for k in range(8)]) for i in range(5)]


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


@pytest.mark.parametrize("rule", registry.RULES)
def test_a_document_restores_the_distribution_and_its_rule(rule):
    multinomial = Multinomial(CELL, rule, seed=4, direction="min")
    for number in range(20):
        multinomial.observe(multinomial.sample(number), score=number % 7 / 7, trial=f"t{number}")
    restored = Multinomial.from_document(json.loads(json.dumps(multinomial.document())))
    assert restored.document() == multinomial.document()
    assert restored.sample(20) == multinomial.sample(20)
    rows = multinomial.architectures
    pairs = ((restored.effects(), multinomial.effects()), (restored.expected(rows), multinomial.expected(rows)))
    for found, expected in pairs:
        assert found is None if expected is None else np.array_equal(found, expected)


@pytest.mark.parametrize("rule", registry.RULES)
def test_a_rule_ranks_by_one_kind_of_score_and_recommends_what_it_ranks_first(rule):
    multinomial = Multinomial(CELL, rule, seed=4)
    assert multinomial.effects() is None and multinomial.expected(np.zeros((1, 5), int)) is None
    for number in range(40):
        architecture = multinomial.sample(number)
        multinomial.observe(architecture, score=sum(int(name[-1]) for name in architecture.values()))
    effects, expected = multinomial.effects(), multinomial.expected(multinomial.architectures)
    assert effects is None or expected is None
    best = multinomial.indices(multinomial.argmax())
    if effects is not None:
        assert np.isfinite(effects).all() and (effects.argmax(axis=1) == best).all()
    if expected is not None:
        assert (multinomial.architectures[expected.argmax()] == best).all()
        means, _ = multinomial.predict([multinomial.architecture(row) for row in multinomial.architectures])
        assert means == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rule", registry.RULES)
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
        ({"rule": "elite", "rule_options": {"floor": "0.1"}}, "expected a number from 0 to below 1"),
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
