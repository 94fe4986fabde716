import dataclasses
import json
import math
import os
import pathlib

import keras_tuner
import numpy as np
import pytest

from models.oracle.distribution import Distribution
from models.oracle.oracle import MultinomialOracle, TooManyFailures
from models.oracle.rules import registry
from models.oracle.rules.base import Rule, option
from tests.support import paths
from tests.support.oracle_processes import cell, make_oracle, run

RULES = list(registry.RULES)


def declare(hp):
    """A space with every kind of discrete hyperparameter and two conditional scopes."""
    model = hp.Choice("model", ["cnn", "mlp"])
    with hp.conditional_scope("model", ["cnn"]):
        hp.Int("units", 2, 8, step=2)
    with hp.conditional_scope("model", ["mlp"]):
        hp.Int("units", 10, 30, step=10)
        hp.Boolean("bias")
    hp.Float("rate", 0.25, 0.75, step=0.25)
    hp.Int("batch", 8, 64, step=2, sampling="log")
    hp.Fixed("classes", 10)
    return model


class Space(keras_tuner.HyperModel):
    def build(self, hp):
        declare(hp)


class Tuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Scores a trial without training anything."""

    def run_trial(self, trial):
        return {"val_accuracy": score(trial.hyperparameters)}


def score(hp):
    return hp.get("units") / 30 - hp.get("rate") + (0.2 if hp.get("model") == "cnn" else 0.0)


@pytest.mark.parametrize("rule", RULES)
def test_search_over_every_kind_of_discrete_hyperparameter(rule, tmp_path):
    oracle = MultinomialOracle("val_accuracy", max_trials=25, rule=rule, seed=0)
    oracle.verbose = 0
    Tuner(oracle=oracle, hypermodel=Space(), directory=tmp_path).search()
    multinomial = oracle.multinomial
    assert dict(zip(multinomial.names, multinomial.operations, strict=True)) == {
        "model": ("cnn", "mlp"),
        "units (model in ['cnn'])": (2, 4, 6, 8),
        "units (model in ['mlp'])": (10, 20, 30),
        "bias": (True, False),
        "rate": (0.25, 0.5, 0.75),
        "batch": (8, 16, 32, 64),
    }
    trials = oracle.trials.values()
    assert len(multinomial) == len(trials) == 25
    for trial in trials:
        values = trial.hyperparameters.values
        # What is not active is not there, and does not count.
        assert ("bias" in values) == (values["model"] == "mlp")
        assert values["units"] in ((2, 4, 6, 8) if values["model"] == "cnn" else (10, 20, 30))
        assert values["classes"] == 10
    models = [trial.hyperparameters.values["model"] for trial in trials]
    epochs = {choice["name"]: sum(choice["epochs"]) for choice in oracle.distribution_document()["choices"]}
    assert epochs["bias"] == epochs["units (model in ['mlp'])"] == models.count("mlp")
    assert epochs["units (model in ['cnn'])"] == models.count("cnn")
    assert epochs["rate"] == 25

    best = max(trials, key=lambda trial: trial.score)
    assert oracle.best_hyperparameters().values == best.hyperparameters.values
    argmax = oracle.argmax_hyperparameters()
    declare(argmax)  # Raises where a value that is needed is missing.
    distribution = Distribution.from_document(json.loads(json.dumps(oracle.distribution_document())))
    assert distribution.best_score == best.score
    assert distribution.argmax["model"] == argmax.get("model")


def test_hyperparameters_first_seen_in_a_trial_join_the_distribution(tmp_path):
    class Late(keras_tuner.engine.base_tuner.BaseTuner):
        def run_trial(self, trial):
            first = trial.hyperparameters.Choice("first", [1, 2, 3])
            if len(self.oracle.trials) > 5:
                first += trial.hyperparameters.Choice("second", [1, 2])
            return {"val_accuracy": first}

    oracle = MultinomialOracle("val_accuracy", max_trials=12, seed=1)
    oracle.verbose = 0
    Late(oracle=oracle, directory=tmp_path).search()
    epochs = {choice["name"]: choice["epochs"] for choice in oracle.distribution_document()["choices"]}
    assert sum(epochs["first"]) == 12
    assert sum(epochs["second"]) == 7
    assert len({trial.hyperparameters.values["first"] for trial in oracle.trials.values()}) > 1


def test_continuous_float_is_refused_with_its_name():
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    with pytest.raises(ValueError, match="'learning_rate' is a continuous Float"):
        MultinomialOracle("val_accuracy", hyperparameters=hp)


def test_too_many_values_are_refused_with_the_name():
    hp = keras_tuner.HyperParameters()
    hp.Int("width", 1, 10**9)
    with pytest.raises(ValueError, match="'width' has more than 1,024 values"):
        MultinomialOracle("val_accuracy", hyperparameters=hp)


def test_wrong_settings_are_refused_before_the_space_is_known():
    with pytest.raises(ValueError, match="did you mean 'elite'"):
        MultinomialOracle("val_accuracy", rule="elit")
    with pytest.raises(ValueError, match="'alfa'"):
        MultinomialOracle("val_accuracy", rule_options={"alfa": 1})


@pytest.mark.parametrize("objective", [keras_tuner.Objective("error", "min"), keras_tuner.Objective("gain", "max")])
def test_objective_may_be_minimised_or_maximised(objective, tmp_path):
    oracle = make_oracle(tmp_path, objective=objective, rule="main_effects")
    run(oracle, 60, name=objective.name)
    # The score is the sum of the operations' numbers.
    expected = "op_0" if objective.direction == "min" else "op_4"
    assert set(oracle.argmax_hyperparameters().values.values()) == {expected}


def test_an_error_reported_as_accuracy_inverts_the_search(tmp_path):
    oracle = make_oracle(tmp_path, objective=keras_tuner.Objective("val_accuracy", "max"), rule="main_effects")
    for _ in range(60):
        trial = oracle.create_trial("worker")
        accuracy = sum(int(operation[-1]) for operation in trial.hyperparameters.values.values()) / 20
        oracle.update_trial(trial.trial_id, {"val_accuracy": 1 - accuracy})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert set(oracle.argmax_hyperparameters().values.values()) == {"op_0"}


def test_same_architecture_twice_is_two_trials(tmp_path):
    oracle = make_oracle(tmp_path, hp=cell(choices=1, operations=2), max_trials=40)
    run(oracle, 40)
    assert oracle.create_trial("worker").status == "STOPPED"
    assert len(oracle.multinomial) == 40


def test_seed_of_zero_is_a_seed(tmp_path):
    assert run(make_oracle(tmp_path / "a", seed=0), 8) == run(make_oracle(tmp_path / "b", seed=0), 8)


# Failures. #


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize("outcome", [math.nan, math.inf, -math.inf, "INVALID", "FAILED"])
def test_failed_trials_never_touch_the_distribution(outcome, tmp_path):
    oracle = make_oracle(tmp_path, max_consecutive_failed_trials=99)
    run(oracle, 5)
    before = oracle.distribution_document()
    trial = oracle.create_trial("worker")
    if isinstance(outcome, float):
        oracle.update_trial(trial.trial_id, {"val_accuracy": outcome})
        trial.status = "COMPLETED"
    else:
        trial.status, trial.message = outcome, "out of memory"
    oracle.end_trial(trial)
    assert oracle.trials[trial.trial_id].status == "FAILED"
    assert oracle.distribution_document() == before
    run(oracle, 1)
    assert len(oracle.multinomial) == 6


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_retry_forgets_what_the_failed_attempt_reported(tmp_path):
    oracle = make_oracle(tmp_path, max_retries_per_trial=1)
    trial = oracle.create_trial("worker")
    oracle.update_trial(trial.trial_id, {"val_accuracy": math.nan})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert len(oracle.multinomial) == 0
    again = oracle.create_trial("worker")
    assert again.trial_id == trial.trial_id
    oracle.update_trial(again.trial_id, {"val_accuracy": 0.75})
    again.status = "COMPLETED"
    oracle.end_trial(again)
    assert oracle.multinomial.best().score == 0.75


def test_exception_leaves_no_lock_held(tmp_path):
    oracle = make_oracle(tmp_path, max_consecutive_failed_trials=1)
    trial = oracle.create_trial("worker")
    with pytest.raises(ValueError, match="Objective value missing"):
        oracle.update_trial(trial.trial_id, {"other": 1.0})
    trial.status = "FAILED"
    with pytest.raises(RuntimeError, match="consecutive failures"):
        oracle.end_trial(trial)
    from keras_tuner.src.engine.oracle import LOCKS

    assert not LOCKS[oracle].locked()


# Workers. #


def test_late_results_count_once_and_in_the_order_of_arrival(tmp_path):
    oracle = make_oracle(tmp_path)
    first, second, third = (oracle.create_trial(worker) for worker in "abc")
    for trial in (third, first, second):
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        oracle.end_trial(trial)
    history = oracle.distribution_document()["history"]
    assert [item["trial"] for item in history] == [third.trial_id, first.trial_id, second.trial_id]


def test_sampling_does_not_wait_for_results(tmp_path):
    oracle = make_oracle(tmp_path, rule="main_effects")
    trials = [oracle.create_trial(f"worker_{number}") for number in range(40)]
    assert {trial.status for trial in trials} == {"RUNNING"}


def test_trial_of_a_dead_worker_is_lost_alone(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr("models.oracle.oracle.time.monotonic", lambda: now)
    oracle = make_oracle(tmp_path, lost_after=10)
    dead = oracle.create_trial("dead")
    run(oracle, 3, worker="alive")
    now = 9.0
    run(oracle, 1, worker="alive")
    assert oracle.trials[dead.trial_id].status == "RUNNING"
    now = 11.0
    run(oracle, 1, worker="alive")
    assert oracle.trials[dead.trial_id].status == "FAILED"
    assert "dead" not in oracle.tuner_ids and not oracle.ongoing_trials
    assert len(oracle.multinomial) == 5
    # It was only slow.
    dead.status = "RUNNING"
    oracle.update_trial(dead.trial_id, {"val_accuracy": 0.5})
    dead.status = "COMPLETED"
    oracle.end_trial(dead)
    assert len(oracle.multinomial) == 6


# State. #


@pytest.mark.parametrize("rule", RULES)
def test_reloaded_after_any_trial_it_continues_as_if_never_stopped(rule, tmp_path):
    whole = run(make_oracle(tmp_path / "whole", rule=rule), 40)
    parts = []
    for trials in (1, 20, 19):
        oracle = make_oracle(tmp_path / "parts", rule=rule)
        if parts:
            oracle.reload()
        parts += run(oracle, trials)
    assert parts == whole


def test_trial_that_was_running_is_run_again_without_its_old_metrics(tmp_path):
    oracle = make_oracle(tmp_path)
    run(oracle, 4)
    trial = oracle.create_trial("worker")
    oracle.update_trial(trial.trial_id, {"val_accuracy": 0.1})
    reloaded = make_oracle(tmp_path)
    reloaded.reload()
    again = reloaded.create_trial("worker")
    assert again.trial_id == trial.trial_id
    assert again.hyperparameters.values == trial.hyperparameters.values
    reloaded.update_trial(again.trial_id, {"val_accuracy": 0.9})
    again.status = "COMPLETED"
    reloaded.end_trial(again)
    assert reloaded.multinomial.best().score == 0.9


@pytest.mark.parametrize("rule", ["paper", "main_effects"])
def test_restore_goes_back_to_an_earlier_state_than_was_saved(rule, tmp_path):
    oracle = make_oracle(tmp_path, rule=rule)
    run(oracle, 10)
    state = json.loads(json.dumps(oracle.get_state()))
    later = run(oracle, 10)
    resumed = make_oracle(tmp_path, rule=rule)
    resumed.reload()
    assert len(resumed.trials) == 20
    resumed.restore(state)
    directories = [name for name in os.listdir(tmp_path / "project") if name.startswith("trial_")]
    assert sorted(directories) == [f"trial_{number:03d}" for number in range(10)]
    assert resumed.get_state() == state
    # Also on disk: what is reloaded now is what was restored.
    again = make_oracle(tmp_path, rule=rule)
    again.reload()
    assert again.get_state() == state
    assert run(resumed, 10) == later
    assert resumed.distribution_document() == oracle.distribution_document()


def test_restore_needs_nothing_on_disk(tmp_path):
    oracle = make_oracle(tmp_path / "old")
    run(oracle, 10)
    moved = make_oracle(tmp_path / "new")
    moved.restore(oracle.get_state())
    assert run(moved, 5) == run(oracle, 5)


def test_save_is_atomic(tmp_path, monkeypatch):
    oracle = make_oracle(tmp_path)
    run(oracle, 3)
    state = oracle.get_state()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("models.oracle.oracle.os.replace", full)
    with pytest.raises(OSError, match="no space"):
        run(oracle, 1)
    reloaded = make_oracle(tmp_path)
    reloaded.reload()
    assert len(reloaded.multinomial) == 3
    assert reloaded.get_state()["end_order"] == state["end_order"]


def test_scores_survive_a_save_to_the_last_bit(tmp_path):
    oracle = make_oracle(tmp_path)
    scores = np.random.default_rng(0).random(10) / 3
    for value in scores:
        trial = oracle.create_trial("worker")
        oracle.update_trial(trial.trial_id, {"val_accuracy": value})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    reloaded = make_oracle(tmp_path)
    reloaded.reload()
    assert reloaded.multinomial.accuracies.tolist() == scores.tolist()


# The documentation. #


def test_example_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    text = (paths.PROJECT / "docs" / "oracle.md").read_text()
    example = text.split("```python\n")[1].split("```")[0]
    assert len([line for line in example.splitlines() if line]) <= 22
    assert "max_trials=12" in example
    example = example.replace("max_trials=12", "max_trials=4")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/oracle.md", "exec"), {})
    output = capsys.readouterr().out
    assert "argmax: {'units_0': " in output
    assert "best evaluated: {'units_0': " in output


def test_documentation_describes_every_rule_with_its_defaults():
    text = (paths.PROJECT / "docs" / "oracle.md").read_text()
    for name, rule in registry.RULES.items():
        described = text.split(f"**`{name}`** ")[1].split("\n\n")[0]
        assert described.startswith(f"[{rule.warmup_rounds}]")
        for key, value in rule().options().items():
            shown = str(value) if isinstance(value, str | bool) else f"{value:g}"
            assert f"`{key}` {shown}" in described or (name == "pairwise" and f"`{key}`" in described)


# Manners: what a KerasTuner user may do. #


@pytest.mark.parametrize(
    "objective", ["val_loss", keras_tuner.Objective("val_accuracy", "min"), ["val_accuracy", "val_loss"]]
)
def test_a_search_is_not_resumed_with_another_objective(objective, tmp_path):
    run(make_oracle(tmp_path), 3)
    other = make_oracle(tmp_path)
    other.objective = MultinomialOracle(objective, seed=0).objective
    before = other.get_state()
    message = r"the saved search has the objective val_accuracy \(max\), this one .*another directory"
    with pytest.raises(ValueError, match=message):
        other.reload()
    assert other.get_state() == before
    make_oracle(tmp_path).reload()


@pytest.mark.parametrize("values", [["a", "b", "c"], ["a"], ["a", "c"]], ids=["grew", "shrank", "changed"])
def test_a_choice_with_other_values_is_named_when_a_search_is_resumed(values, tmp_path):
    def make(operations):
        space = keras_tuner.HyperParameters()
        space.Choice("block", operations)
        oracle = MultinomialOracle("val_accuracy", seed=0, hyperparameters=space)
        oracle._set_project_dir(tmp_path, "search")
        oracle.verbose = 0
        return oracle

    make(["a", "b"]).save()
    with pytest.raises(
        ValueError, match=r"'block' has the values .*, in the saved search 'a', 'b'\. Declare it as it was"
    ):
        make(values).reload()
    make(["b", "a"]).reload()  # the order does not matter


def test_a_choice_that_changes_during_a_search_is_named_and_a_new_one_is_welcome():
    space = keras_tuner.HyperParameters()
    space.Choice("block", ["a", "b"])
    oracle = MultinomialOracle("val_accuracy", seed=0, hyperparameters=space)
    changed = keras_tuner.HyperParameters()
    changed.Choice("block", ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"'block' has the values 'a', 'b', 'c', in the saved search 'a', 'b'"):
        oracle.update_space(changed)
    grown = keras_tuner.HyperParameters()
    grown.Choice("block", ["a", "b"])
    grown.Choice("width", [1, 2])
    oracle.update_space(grown)
    assert oracle.multinomial.names == ("block", "width")


@pytest.mark.parametrize(
    "low, high, step, count",
    [(0, 1, 0.1, 11), (0.0, 0.5, 0.25, 3), (0, 0.35, 0.1, 4), (0.1, 0.7, 0.2, 4), (-1, 1, 0.2, 11)],
)
def test_the_greatest_value_of_a_float_can_be_proposed_when_it_is_whole_steps_away(low, high, step, count):
    space = keras_tuner.HyperParameters()
    space.Float("rate", low, high, step=step)
    (operations,) = MultinomialOracle("val_accuracy", seed=0, hyperparameters=space).multinomial.operations
    assert len(operations) == count == len(set(operations))
    assert operations[0] == low and all(isinstance(value, float) for value in operations)
    assert all(low <= value <= high for value in operations)
    assert (operations[-1] == pytest.approx(high)) == (count != 4 or high != 0.35)


def test_numbers_may_be_numpys(tmp_path):
    oracle = MultinomialOracle(
        "val_accuracy",
        max_trials=np.int64(5),
        rule="elite",
        rule_options={"elites": np.int32(3), "eta": np.float32(0.25)},
        warmup_rounds=np.int64(1),
        seed=np.int64(7),
        hyperparameters=cell(),
    )
    plain = MultinomialOracle(
        "val_accuracy",
        rule="elite",
        rule_options={"elites": 3, "eta": 0.25},
        warmup_rounds=1,
        seed=7,
        hyperparameters=cell(),
    )
    assert json.dumps(oracle.get_state()) == json.dumps(plain.get_state())
    assert json.dumps(oracle.distribution_document()) == json.dumps(plain.distribution_document())
    assert oracle.multinomial.sample(3) == plain.multinomial.sample(3)
    for options in ({"elites": True}, {"elites": 2.5}, {"eta": True}):
        with pytest.raises(ValueError, match="of the rule 'elite': found"):
            MultinomialOracle("val_accuracy", rule="elite", rule_options=options)
    with pytest.raises(TypeError):
        MultinomialOracle("val_accuracy", seed=1.5)


def test_a_failed_save_leaves_the_earlier_one_and_nothing_else(tmp_path, monkeypatch):
    oracle = make_oracle(tmp_path)
    run(oracle, 2)
    files = {name: (pathlib.Path(root) / name).read_bytes() for root, _, names in os.walk(tmp_path) for name in names}

    def full(_):
        raise OSError("disk full")

    monkeypatch.setattr("models.oracle.oracle.os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        oracle.save()
    assert files == {
        name: (pathlib.Path(root) / name).read_bytes() for root, _, names in os.walk(tmp_path) for name in names
    }


def test_too_many_failures_have_a_class_of_their_own(tmp_path):
    oracle = make_oracle(tmp_path, max_consecutive_failed_trials=2)
    with pytest.raises(TooManyFailures, match="exceeded the limit of 2"):
        for number in range(3):
            trial = oracle.create_trial("worker")
            trial.status, trial.message = "FAILED", f"number {number}"
            oracle.end_trial(trial)


@dataclasses.dataclass
class Greedy(Rule):
    """A custom rule: all probability to the newest architecture."""

    share: float = option(0.5, "of the newest")

    name = "greedy"

    def update(self, record):
        newest = record.one_hot(record.architectures[-1:])[0]
        return (1 - self.share) * record.uniform() + self.share * newest


def test_a_custom_rule_is_named_by_its_dotted_path():
    oracle = MultinomialOracle(
        "val_accuracy", rule=f"{__name__}.Greedy", rule_options={"share": 0.9}, seed=0, hyperparameters=cell()
    )
    architecture = oracle.multinomial.sample(0)
    oracle.multinomial.observe(architecture, 0.5)
    assert oracle.multinomial.argmax() == architecture
    for rule, message in (
        (f"{__name__}.Greed", "cannot be imported"),
        ("no.such.Rule", "cannot be imported"),
        (f"{__name__}.Space", "is not a dataclass that extends"),
        ("gready", "or the dotted path of a custom rule"),
    ):
        with pytest.raises(ValueError, match=message):
            MultinomialOracle("val_accuracy", rule=rule)
    with pytest.raises(ValueError, match=r"found 'shar', allowed are share \(did you mean 'share'\?\)"):
        MultinomialOracle("val_accuracy", rule=f"{__name__}.Greedy", rule_options={"shar": 1})
