import json
import math
import os
import stat

import keras_tuner
import numpy as np
import pytest
from keras_tuner.src.engine.objective import MultiObjective

from models.oracle import record
from models.oracle.distribution import Distribution
from models.oracle.oracle import MultinomialOracle, TooManyFailures
from models.oracle.rules import registry
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
    with pytest.raises(ValueError, match="'learning_rate': found a continuous Float"):
        MultinomialOracle("val_accuracy", hyperparameters=hp)


def test_too_many_values_are_refused_with_the_name():
    hp = keras_tuner.HyperParameters()
    hp.Int("width", 1, 10**9)
    with pytest.raises(ValueError, match="'width': found more than 1,024 values"):
        MultinomialOracle("val_accuracy", hyperparameters=hp)


def test_wrong_settings_are_refused_before_the_space_is_known():
    with pytest.raises(ValueError, match="did you mean 'elite'"):
        MultinomialOracle("val_accuracy", rule="elit")
    with pytest.raises(ValueError, match="'alfa'"):
        MultinomialOracle("val_accuracy", rule_options={"alfa": 1})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 1, 0.1), 11),
        ((0, 1, 0.2), 6),
        ((0, 1, 0.3), 4),
        ((0.1, 0.7, 0.2), 4),
        ((0.1, 1, 0.3), 4),
        ((-1, 1, 0.1), 21),
        ((0.25, 0.75, 0.25), 3),
        ((0.5, 0.5, 0.1), 1),
        ((0, 1, 0.3, "linear", 0.6), 4),
        ((0.001, 10, 10, "log"), 5),
        ((1, 1000, 10, "reverse_log"), 4),
        # A hyperparameter that a worker declared went through 32-bit floats.
        (tuple(float(np.float32(value)) for value in (0.1, 0.7, 0.2)), 4),
    ],
)
def test_float_reaches_its_top_and_takes_the_values_of_kerastuner_otherwise(arguments, expected):
    hp = keras_tuner.HyperParameters()
    hp.Float("rate", *arguments)
    (declared,) = hp.space
    (operations,) = MultinomialOracle("val_accuracy", hyperparameters=hp).multinomial.operations
    assert len(operations) == expected
    known = list(declared.values)
    assert list(operations[: len(known)]) == known
    # KerasTuner counts the steps by a division that rounds down, and may miss the top by one.
    assert list(operations[len(known) :]) in ([], [declared.max_value])
    assert min(operations) >= declared.min_value and max(operations) <= declared.max_value
    assert all(type(value) is float and 0 <= declared.value_to_prob(value) < 1 for value in operations)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((6, 12), (6, 7, 8, 9, 10, 11, 12)),
        ((6, 13, 3), (6, 9, 12)),
        ((6, 12, 3), (6, 9, 12)),
        ((2, 32, 2, "log"), (2, 4, 8, 16, 32)),
        ((1, 1000, 10, "reverse_log"), (1000, 991, 901, 1)),
    ],
)
def test_int_takes_the_values_of_kerastuner(arguments, expected):
    hp = keras_tuner.HyperParameters()
    hp.Int("units", *arguments)
    (operations,) = MultinomialOracle("val_accuracy", hyperparameters=hp).multinomial.operations
    assert operations == expected == tuple(int(value) for value in hp.space[0].values)
    assert all(type(value) is int for value in operations)


def test_the_top_of_a_float_is_proposed_saved_and_resumed(tmp_path):
    def rates():
        hp = keras_tuner.HyperParameters()
        hp.Float("rate", 0, 1, step=0.1)
        return hp

    oracle = make_oracle(tmp_path, hp=rates(), warmup_rounds=1)
    for _ in range(11):
        trial = oracle.create_trial("worker")
        assert trial.hyperparameters.get("rate") in oracle.multinomial.operations[0]
        oracle.update_trial(trial.trial_id, {"val_accuracy": trial.hyperparameters.get("rate")})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert oracle.best_hyperparameters().get("rate") == 1.0
    resumed = make_oracle(tmp_path, hp=rates(), warmup_rounds=1)
    resumed.reload()
    assert resumed.distribution_document() == oracle.distribution_document()


def test_numpy_numbers_are_numbers(tmp_path):
    def numbers(integer, real):
        return dict(
            max_trials=integer(5),
            seed=integer(3),
            warmup_rounds=integer(1),
            lost_after=real(1e6),
            max_retries_per_trial=integer(1),
            max_consecutive_failed_trials=integer(4),
            rule="elite",
            rule_options={"elites": integer(2), "eta": real(0.25), "floor": real(0.5)},
        )

    documents = []
    for kind, (integer, real) in enumerate([(int, float), (np.int64, np.float64), (np.int16, np.float32)]):
        oracle = make_oracle(tmp_path / str(kind), **numbers(integer, real))
        for _ in range(5):
            trial = oracle.create_trial("worker")
            accuracy = int(trial.hyperparameters.get("edge_0")[-1]) / 4
            oracle.update_trial(trial.trial_id, {"val_accuracy": real(accuracy)}, step=integer(1))
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
        documents.append(json.dumps(oracle.distribution_document()))
        resumed = make_oracle(tmp_path / str(kind), **numbers(integer, real))
        resumed.reload()
        assert resumed.get_state() == oracle.get_state()
        assert resumed.create_trial("worker").status == "STOPPED"
    assert documents[0] == documents[1] == documents[2]


@pytest.mark.parametrize("value", [True, np.True_, 2.5, 3.0, "3", -1])
@pytest.mark.parametrize(
    "name", ["max_trials", "seed", "warmup_rounds", "max_retries_per_trial", "max_consecutive_failed_trials"]
)
def test_what_is_no_integer_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}: found {value!r}; expected a whole number, "):
        MultinomialOracle("val_accuracy", **{name: value})


@pytest.mark.parametrize("value", [True, 0, -1.0, math.nan, "3"])
def test_wrong_waiting_time_is_refused(value):
    with pytest.raises(ValueError, match="lost_after: found"):
        MultinomialOracle("val_accuracy", lost_after=value)


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
    with pytest.raises(TooManyFailures, match="consecutive failures"):
        oracle.end_trial(trial)
    from keras_tuner.src.engine.oracle import LOCKS

    assert not LOCKS[oracle].locked()


def test_too_many_failures_are_an_error_of_their_own(tmp_path):
    class Failing(keras_tuner.engine.base_tuner.BaseTuner):
        def run_trial(self, trial):
            raise keras_tuner.errors.FailedTrialError("out of memory")

    oracle = MultinomialOracle("val_accuracy", max_trials=9, seed=0, hyperparameters=cell())
    oracle.verbose = 0
    with pytest.raises(TooManyFailures, match="limit of 3(.|\n)*out of memory"):
        Failing(oracle=oracle, directory=tmp_path).search()
    assert issubclass(TooManyFailures, RuntimeError)
    assert len(oracle.trials) == 3


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


def repair(values, generator):
    """Makes two of the choices the last operation, at random."""
    assert set(values) == {f"edge_{number}" for number in range(4)}
    return {**values, **dict.fromkeys(generator.choice(sorted(values), 2, replace=False), "op_4")}


def test_trials_distribution_and_state_have_the_repaired_samples(tmp_path):
    plain, repaired = (
        make_oracle(tmp_path / name, repair=use) for name, use in (("plain", None), ("repaired", repair))
    )
    sampled, found = run(plain, 1), run(repaired, 30)
    assert found[0] == repair(sampled[0], plain.multinomial.stream(record.REPAIR, 0)) != sampled[0]
    assert all(list(values.values()).count("op_4") >= 2 for values in found)
    assert len({edge for values in found for edge, name in values.items() if name == "op_4"}) == 4
    assert [trial.hyperparameters.values for trial in repaired.trials.values()] == found
    counts = {choice["name"]: choice["epochs"] for choice in repaired.distribution_document()["choices"]}
    for edge, epochs in counts.items():
        assert epochs == [[values[edge] for values in found].count(f"op_{number}") for number in range(5)]
    assert repaired.multinomial.best().architecture in found


def test_resumed_it_repairs_as_if_never_stopped(tmp_path):
    calm = make_oracle(tmp_path / "calm", repair=repair)
    expected = run(calm, 12)
    stopped = make_oracle(tmp_path / "stormy", repair=repair)
    found = run(stopped, 5)
    running = stopped.create_trial("worker")
    resumed = make_oracle(tmp_path / "stormy", repair=repair)
    resumed.reload()
    again = run(resumed, 7)
    assert again[0] == running.hyperparameters.values
    assert found + again == expected
    assert resumed.distribution_document() == calm.distribution_document()


# A state that does not fit. #


@pytest.mark.parametrize(
    ("saved", "asked", "message"),
    [
        (("val_accuracy", "max"), ("val_loss", "min"), "minimises 'val_loss'; expected .* maximises 'val_accuracy'[.]"),
        (
            ("val_accuracy", "max"),
            ("val_accuracy", "min"),
            "minimises 'val_accuracy'; expected .* maximises 'val_accuracy'[.]",
        ),
        (("val_accuracy", "max"), ("accuracy", "max"), "maximises 'accuracy'; expected .* maximises 'val_accuracy'[.]"),
        (
            ("loss", "min"),
            [("loss", "min"), ("gain", "max")],
            "minimises 'loss' minus 'gain'; expected .* minimises 'loss'[.]",
        ),
        (
            [("loss", "min"), ("gain", "max")],
            [("loss", "min"), ("gain", "min")],
            "minimises 'gain' plus 'loss'; expected .* minimises 'loss' minus 'gain'[.]",
        ),
    ],
)
def test_state_of_another_objective_is_refused(saved, asked, message, tmp_path):
    def objective(description):
        if isinstance(description, list):
            return MultiObjective([objective(part) for part in description])
        return keras_tuner.Objective(*description)

    oracle = make_oracle(tmp_path, objective=objective(saved))
    trial = oracle.create_trial("worker")
    names = dict(saved if isinstance(saved, list) else [saved])
    oracle.update_trial(trial.trial_id, dict.fromkeys(names, 0.3))
    trial.status = "COMPLETED"
    # The score for several objectives is their sum, which only the history of a Keras model carries.
    if not isinstance(saved, list):
        oracle.end_trial(trial)
    else:
        oracle.save()
    other = make_oracle(tmp_path, objective=objective(asked))
    before = other.get_state()
    for resume in (
        other.reload,
        lambda: other.set_state(oracle.get_state()),
        lambda: other.restore(oracle.get_state()),
    ):
        with pytest.raises(ValueError, match=f"(?s){message}.*overwrite=True"):
            resume()
        assert other.get_state() == before
    same = make_oracle(tmp_path, objective=objective(saved[::-1] if isinstance(saved, list) else saved))
    same.reload()
    assert same.get_state()["trials"] == oracle.get_state()["trials"]


def choice(*operations, others=1):
    hp = cell(choices=others)
    hp.Choice("kernel", operations)
    return hp


@pytest.mark.parametrize("now", [(3, 5, 7), (3,), (3, 7)])
def test_choice_that_grew_or_shrank_since_the_save_is_refused_by_name(now, tmp_path):
    oracle = make_oracle(tmp_path, hp=choice(3, 5))
    trial = oracle.create_trial("worker")
    other = make_oracle(tmp_path, hp=choice(*now))
    before = other.get_state()
    for resume in (other.reload, lambda: other.restore(oracle.get_state())):
        with pytest.raises(ValueError) as refused:
            resume()
        for part in ("'kernel'", "[3, 5]", str(list(now)), "overwrite=True", "new name"):
            assert part in str(refused.value)
        assert other.get_state() == before
    # The order of the values is no change of the search.
    same = make_oracle(tmp_path, hp=choice(5, 3))
    same.reload()
    assert list(same.trials) == [trial.trial_id]


def test_conditional_choice_that_changed_is_named_with_its_condition(tmp_path):
    def space(most):
        hp = keras_tuner.HyperParameters()
        hp.Choice("model", ["cnn", "mlp"])
        for model in ("cnn", "mlp"):
            with hp.conditional_scope("model", [model]):
                hp.Int("units", 1, most if model == "mlp" else 2)
        return hp

    make_oracle(tmp_path, hp=space(3)).save()
    make_oracle(tmp_path, hp=space(3)).reload()
    with pytest.raises(ValueError, match=r"'units' \(model in \['mlp'\]\).*\[1, 2, 3, 4\].*\[1, 2, 3\]"):
        make_oracle(tmp_path, hp=space(4)).reload()


def test_choice_added_on_resuming_joins_the_distribution(tmp_path):
    oracle = make_oracle(tmp_path, hp=cell(choices=1), allow_new_entries=False)
    run(oracle, 6)
    resumed = make_oracle(tmp_path, hp=choice(3, 5), allow_new_entries=False)
    resumed.reload()
    assert resumed.multinomial.names == ("edge_0", "kernel")
    assert len(resumed.multinomial) == 6
    for _ in range(6):
        trial = resumed.create_trial("worker")
        assert trial.hyperparameters.get("kernel") in (3, 5)
        resumed.update_trial(trial.trial_id, {"val_accuracy": 0.5})
        trial.status = "COMPLETED"
        resumed.end_trial(trial)
    assert resumed.multinomial.epochs.sum(axis=1).tolist() == [12, 6]


def test_choice_removed_on_resuming_is_refused_where_no_other_is_allowed(tmp_path):
    oracle = make_oracle(tmp_path, hp=choice(3, 5))
    run_one = oracle.create_trial("worker")
    assert "kernel" in run_one.hyperparameters.values
    with pytest.raises(ValueError, match="'kernel'.*`allow_new_entries`"):
        make_oracle(tmp_path, hp=cell(choices=1), allow_new_entries=False).reload()
    # It may be one that only some trials declare.
    make_oracle(tmp_path, hp=cell(choices=1)).reload()


class Built(keras_tuner.engine.base_tuner.BaseTuner):
    """Declares the space in the trial, as hypermodels do."""

    def run_trial(self, trial):
        self.hypermodel.build(trial.hyperparameters)
        return {"val_accuracy": 0.5}


def search(directory, declare, trials, **options):
    class Declared(keras_tuner.HyperModel):
        def build(self, hp):
            declare(hp)

    oracle = MultinomialOracle("val_accuracy", max_trials=trials, seed=0, **options)
    oracle.verbose = 0
    Built(oracle=oracle, hypermodel=Declared(), directory=directory).search()
    return oracle


@pytest.mark.parametrize("now", [(3, 5, 7), (3,)])
def test_choice_of_a_hypermodel_that_grew_or_shrank_is_refused_by_name(now, tmp_path):
    search(tmp_path, lambda hp: hp.Choice("kernel", [3, 5]), 3)
    with pytest.raises(ValueError) as refused:
        search(tmp_path, lambda hp: hp.Choice("kernel", list(now)), 6)
    for part in ("'kernel'", "[3, 5]", str(list(now)), "overwrite=True"):
        assert part in str(refused.value)
    # Nothing is lost: the trial is run again.
    assert len(search(tmp_path, lambda hp: hp.Choice("kernel", [3, 5]), 6).multinomial) == 6


def test_choice_of_a_hypermodel_that_became_continuous_is_refused_by_name(tmp_path):
    search(tmp_path, lambda hp: hp.Float("rate", 0, 1, step=0.5), 3)
    with pytest.raises(ValueError, match="'rate'"):
        search(tmp_path, lambda hp: hp.Float("rate", 0, 1), 6)


def test_hypermodel_may_add_choices_on_resuming(tmp_path):
    search(tmp_path, lambda hp: hp.Choice("kernel", [3, 5]), 3)
    resumed = search(tmp_path, lambda hp: (hp.Choice("kernel", [3, 5]), hp.Choice("width", [1, 2])), 8)
    assert resumed.multinomial.names == ("kernel", "width")
    assert len(resumed.multinomial) == 8


def test_declared_hyperparameters_override_the_hypermodel_after_a_reload_too(tmp_path):
    for trials in (3, 6):
        oracle = search(tmp_path, lambda hp: hp.Choice("kernel", [3, 5, 7]), trials, hyperparameters=choice(3, 5))
    assert len(oracle.multinomial) == 6
    assert oracle.multinomial.operations[-1] == (3, 5)


def test_hypermodel_whose_values_depend_on_others_resumes(tmp_path):
    """KerasTuner keeps the first definition; a resumed search does as the search before."""
    for trials in (8, 12):
        oracle = search(tmp_path, lambda hp: hp.Int("inner", 1, hp.Int("outer", 1, 3)), trials)
    assert len(oracle.multinomial) == 12


# Files. #


def test_save_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    oracle = make_oracle(tmp_path)
    done, real_fsync, real_replace = [], os.fsync, os.replace

    def fsync(descriptor):
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def replace(*arguments):
        done.append("rename")
        real_replace(*arguments)

    monkeypatch.setattr("models.oracle.oracle.os.fsync", fsync)
    monkeypatch.setattr("models.oracle.oracle.os.replace", replace)
    oracle.save()
    assert done == ["file", "rename", "folder"]
    assert os.listdir(tmp_path / "project") == ["oracle.json"]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_save_that_fails_leaves_the_earlier_file_alone(fails, tmp_path, monkeypatch):
    oracle = make_oracle(tmp_path)
    oracle.save()
    before = (tmp_path / "project" / "oracle.json").read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(f"models.oracle.oracle.os.{fails}", full)
    with pytest.raises(OSError, match="no space"):
        run(oracle, 1)
    assert (tmp_path / "project" / "oracle.json").read_bytes() == before
    assert [name for name in os.listdir(tmp_path / "project") if name.startswith("oracle")] == ["oracle.json"]


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
        for option, value in rule().options().items():
            shown = str(value) if isinstance(value, str | bool) else f"{value:g}"
            assert f"`{option}` {shown}" in described


def test_a_trial_that_reported_nothing_is_no_zero(tmp_path):
    oracle = make_oracle(tmp_path)
    trial = oracle.create_trial("worker")
    trial.metrics.register("val_accuracy", "max")  # and no value
    oracle.score_trial(trial)
    assert math.isnan(trial.score)
