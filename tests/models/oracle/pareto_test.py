"""The search for a Pareto front: the rules of several objectives, and the oracle's list of objectives."""

import itertools
import json
import math
import warnings

import keras_tuner
import numpy as np
import pytest
from keras_tuner.src.engine.objective import MultiObjective

from models.oracle.budget import Budget
from models.oracle.costs import Costs, Goal
from models.oracle.hypervolume import boxes, hypervolume
from models.oracle.multinomial import Multinomial
from models.oracle.objectives import soft_target
from models.oracle.rules import expected_hypervolume
from models.oracle.rules.registry import RULES
from tests.support.oracle_processes import cell, make_oracle, score

COSTS = Costs({f"edge_{edge}": {f"op_{op}": 1e8 * op * (edge + 1) for op in range(5)} for edge in range(4)}, 1e7)
OBJECTIVES = [("val_accuracy", "max"), ("macs", "min")]


def objectives(*parts):
    return [keras_tuner.Objective(*part) for part in parts or OBJECTIVES]


def accuracy(values):
    # Concave, so that cheap architectures are on the front too.
    return score(values) ** 0.5


def run(oracle, trials, known=False):
    sampled = []
    for _ in range(trials):
        trial = oracle.create_trial("worker")
        values = dict(trial.hyperparameters.values)
        sampled.append(values)
        metrics = {"val_accuracy": accuracy(values)} | ({} if known else {"macs": COSTS(values)})
        oracle.update_trial(trial.trial_id, metrics)
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return sampled


def volume(architectures):
    points = [
        (accuracy(values), -COSTS(values) / COSTS({f"edge_{e}": "op_4" for e in range(4)})) for values in architectures
    ]
    return hypervolume(np.array(points), np.array([0.0, -1.0]))


@pytest.mark.parametrize("rule", RULES)
def test_front_is_better_than_that_of_random_architectures(rule, tmp_path):
    found = run(make_oracle(tmp_path, objective=objectives(), rule=rule), 60)
    generator = np.random.default_rng(0)
    random = [
        volume([{f"edge_{e}": f"op_{generator.integers(5)}" for e in range(4)} for _ in range(60)]) for _ in range(9)
    ]
    # The rules without a model learn little from 60 evaluations.
    least = max(random) if rule in ("main_effects", "interactions") else 0.97 * np.median(random)
    assert volume(found) >= least


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_reloaded_search_continues_as_if_never_stopped(rule, known, tmp_path):
    options = dict(objective=objectives(), rule=rule, known={"macs": COSTS} if known else None)
    whole = make_oracle(tmp_path / "whole", **options)
    expected = run(whole, 24, known)
    stopped = make_oracle(tmp_path / "stopped", **options)
    first = run(stopped, 13, known)
    resumed = make_oracle(tmp_path / "stopped", **options)
    resumed.reload()
    assert first + run(resumed, 11, known) == expected
    assert json.dumps(resumed.distribution_document()) == json.dumps(whole.distribution_document())
    assert [trial.trial_id for trial in resumed.pareto_front()] == [trial.trial_id for trial in whole.pareto_front()]


@pytest.mark.parametrize("known", [False, True])
def test_front_has_the_trials_that_no_other_dominates(known, tmp_path):
    oracle = make_oracle(tmp_path, objective=objectives(), known={"macs": COSTS} if known else None)
    sampled = run(oracle, 30, known)
    points = {(accuracy(values), COSTS(values)) for values in sampled}
    expected = sorted(p for p in points if not any(q[0] >= p[0] and q[1] <= p[1] and q != p for q in points))
    front = oracle.pareto_front()
    assert [(trial.values["val_accuracy"], trial.values["macs"]) for trial in front] == expected[::-1]
    for trial in front:
        assert accuracy(trial.hyperparameters.values) == trial.values["val_accuracy"]
        assert oracle.trials[trial.trial_id].score == trial.values["val_accuracy"]


def test_three_objectives_with_noise_and_a_conditional_choice():
    choices = [("kind", ["a", "b"]), ("width", [1, 2, 3]), ("depth", [1, 2, 3, 4])]
    goals = [Goal("time", "min"), Goal("size", "min", lambda values: values.get("width", 1) * 10)]
    multinomial = Multinomial(choices, "interactions", seed=1, goals=goals)
    generator = np.random.default_rng(0)
    for number in range(40):
        values = multinomial.sample(number)
        if values["kind"] == "b":
            del values["width"]
        gain = values.get("width", 1) + values["depth"] + generator.normal(0, 0.2)
        multinomial.observe(values, gain, further={"time": 1e-3 * values["depth"] + generator.normal(0, 1e-5)})
    assert multinomial.objectives.shape == (40, 3)
    assert set(multinomial.argmax()) <= {"kind", "width", "depth"}


@pytest.mark.parametrize("objectives", [2, 3])
def test_a_long_front_counts_with_few_points_if_there_are_three_objectives(objectives, monkeypatch):
    fronts = []

    def seen(points, reference):
        fronts.append(len(points))
        return boxes(points, reference)

    monkeypatch.setattr(expected_hypervolume, "boxes", seen)
    monkeypatch.setattr(expected_hypervolume, "_POINTS", 6)
    names = ("a", "b", "c")[:objectives]
    goals = [Goal(name, "max", lambda values, name=name: values[name]) for name in names[1:]]
    multinomial = Multinomial([(name, range(8)) for name in names], "interactions", goals=goals)
    for number in range(40):
        values = multinomial.sample(number)
        multinomial.observe(values, -float(sum(values.values())))
    assert (max(fronts) == 6) == (objectives == 3) and max(fronts) >= 6


def test_unit_of_an_objective_does_not_matter():
    def search(unit):
        multinomial = Multinomial([("a", range(4)), ("b", range(4))], "interactions", goals=[Goal("cost", "min")])
        for number in range(12):
            values = multinomial.sample(number)
            multinomial.observe(values, values["a"] ** 0.5, further={"cost": unit * (values["a"] + values["b"])})
        return multinomial.architectures.tolist()

    assert search(1.0) == search(2.0**40)


def test_front_within_a_budget(tmp_path):
    limit = 1.2e9
    oracle = make_oracle(
        tmp_path, objective=objectives(), rule="interactions", known={"macs": COSTS}, budget=Budget(COSTS, limit)
    )
    assert max(map(COSTS, run(oracle, 30, known=True))) <= limit


def test_missing_and_broken_values(tmp_path):
    oracle = make_oracle(tmp_path, objective=objectives())
    trial = oracle.create_trial("worker")
    with pytest.raises(ValueError, match="expected the objective 'macs' too"):
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
    oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5, "macs": math.nan})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert oracle.trials[trial.trial_id].status == "FAILED"
    assert oracle.pareto_front() == [] and len(oracle.multinomial) == 0


def test_values_are_those_of_the_epoch_with_the_best_score(tmp_path):
    oracle = make_oracle(tmp_path, objective=objectives(("val_accuracy", "max"), ("latency", "min")))
    trial = oracle.create_trial("worker")
    for step, (best, latency) in enumerate([(0.5, 1.0), (0.9, 3.0), (0.7, 2.0)]):
        oracle.update_trial(trial.trial_id, {"val_accuracy": best, "latency": latency}, step=step)
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    (only,) = oracle.pareto_front()
    assert only.values == {"val_accuracy": 0.9, "latency": 3.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(objective=objectives(OBJECTIVES[0])), "found a list of 1; expected two or three"),
        (dict(objective=["val_accuracy", "val_loss"]), "found 'val_accuracy' in the list; expected keras_tuner.Obj"),
        (dict(objective=objectives(OBJECTIVES[0], OBJECTIVES[0])), "expected different names"),
        (dict(objective=objectives(), known={"mac": COSTS}), "known: found 'mac'; expected one of the objectives"),
        (dict(objective=objectives(), known={"macs": COSTS, "val_accuracy": COSTS}), "found all objectives"),
        (dict(objective="val_accuracy", known={"macs": COSTS}), "known: found a single objective"),
    ],
)
def test_wrong_objectives_are_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_oracle(tmp_path, **options)


def test_saved_search_of_other_objectives_is_refused(tmp_path):
    run(make_oracle(tmp_path, objective=objectives()), 2)
    other = make_oracle(tmp_path, objective=objectives(), known={"macs": COSTS})
    with pytest.raises(ValueError, match=r"minimises 'macs' \(known\); expected the saved search's objective"):
        other.reload()


def test_budget_of_an_undeclared_choice_is_refused_before_the_first_trial(tmp_path):
    oracle = make_oracle(tmp_path, hp=cell(choices=3), budget=Budget(COSTS, 1e9))
    with pytest.raises(ValueError, match="found costs of 'edge_3', but no such hyperparameter"):
        oracle.create_trial("worker")


@pytest.mark.parametrize(("latency", "warned"), [(30.0, True), (0.4, False)])
def test_sum_of_different_units_is_warned_of_once(latency, warned, tmp_path):
    added = MultiObjective(objectives(("accuracy", "max"), ("latency", "min")))
    oracle = make_oracle(tmp_path, objective=added)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            trial = oracle.create_trial("worker")
            metrics = {"accuracy": 0.5, "latency": latency}
            oracle.update_trial(trial.trial_id, {**metrics, "multi_objective": added.get_value(metrics)})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
    found = [str(warning.message) for warning in caught if "MultiObjective adds up" in str(warning.message)]
    assert len(found) == warned and all("'latency' (now 30)" in text for text in found)


def test_soft_target_is_that_of_mnasnet():
    assert soft_target(0.8, 75.0, 75.0) == 0.8
    # The paper's example: twice the latency is worth 5 % of accuracy.
    assert soft_target(1.05, 150.0, 75.0) == pytest.approx(1.0, abs=0.002)
    for cost, target, exponent in itertools.product((0.0, math.nan), (75.0,), (-0.07,)):
        with pytest.raises(ValueError, match="cost: found"):
            soft_target(0.8, cost, target, exponent)
    with pytest.raises(ValueError, match="target: found 0"):
        soft_target(0.8, 75.0, 0)
    with pytest.raises(ValueError, match="exponent: found 0.07"):
        soft_target(0.8, 75.0, 75.0, 0.07)
