"""A KerasTuner oracle that learns a multinomial distribution over architectures (arXiv 1905.07529).

oracle = MultinomialOracle(objective="val_accuracy", max_trials=100, seed=0)
tuner = keras_tuner.RandomSearch... any keras_tuner.Tuner(oracle=oracle, ...)
oracle.argmax_hyperparameters(), oracle.best_hyperparameters()
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import operator
import os
import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial

# The lock that `keras_tuner.synchronized` leaves held after an exception, and files on any file system, are not public.
from keras_tuner.src.backend import io
from keras_tuner.src.engine import oracle as base

from .multinomial import Multinomial
from .record import Architecture, Operation

# A hyperparameter with more values than this is no choice between operations.
MAX_OPERATIONS = 1024

_LOST = "No result came in time: the trial counts as lost with its worker."


class TooManyFailures(RuntimeError):
    """So many trials failed one after the other that the search ends."""


class MultinomialOracle(keras_tuner.Oracle):
    """Samples every trial from a multinomial distribution that moves after every completed trial.

    Works over any discrete space: Choice, Boolean, Int, Float with a step, in conditional scopes too. The same
    architecture may be sampled again: that is a trial like any other. Trials that fail, or report NaN or infinity,
    never touch the distribution. With several workers results count in the order of their arrival, and sampling
    never waits.

    A sample is a function of the seed, the trial's number and the probabilities, and the probabilities are a
    function of the completed trials. So the trials are the whole state, there is no generator to save, and a search
    that was stopped after any trial continues as if it never had been.

    Args:
        objective: a string, a `keras_tuner.Objective` or a list of them, to be maximised or minimised.
        max_trials: how many trials to run at most; None (default) for no limit.
        rule: name of the update rule, "paper" by default; see docs/oracle.md.
        rule_options: options of the rule in place of its defaults, for example {"alpha": 0.01}.
        warmup_rounds: rounds of trials in which every operation is sampled equally often before the distribution is
            used. None (default): the rule's own number, which is 0 for the paper's.
        seed: integer of at least 0; None (default) takes a random one.
        lost_after: seconds without a result after which a trial counts as lost with its worker (FAILED). None
            (default): never; then a chief whose worker died waits forever.
        hyperparameters, allow_new_entries, tune_new_entries, max_retries_per_trial, max_consecutive_failed_trials:
            as in `keras_tuner.Oracle`.

    Raises:
        ValueError: a hyperparameter that is not discrete (Float without a step) or has more than 1,024 values, an
            unknown rule or option, an option's value that is not allowed; on resuming, another objective than the
            saved search has, or a hyperparameter with other values.
        TooManyFailures: `max_consecutive_failed_trials` failed in a row.
    """

    def __init__(
        self,
        objective: Any = None,
        max_trials: int | None = None,
        rule: str = "paper",
        rule_options: Mapping[str, Any] | None = None,
        warmup_rounds: int | None = None,
        seed: int | None = None,
        lost_after: float | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        allow_new_entries: bool = True,
        tune_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
    ):
        super().__init__(
            objective=objective,
            max_trials=max_trials,
            hyperparameters=hyperparameters,
            allow_new_entries=allow_new_entries,
            tune_new_entries=tune_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        # Not the base class's way: it takes 0 for "no seed".
        self.seed = random.randint(1, 10000) if seed is None else operator.index(seed)
        self.lost_after = lost_after
        self._settings: dict[str, Any] = {"rule": rule, "rule_options": rule_options, "warmup_rounds": warmup_rounds}
        # Wrong settings are found now, although the space may only be known later.
        self._new_multinomial([("any", (0,))])
        self._choices: list[_Choice] = []
        self._multinomial: Multinomial | None = None
        # The texts of trials that have ended: saving is then quick however many there are.
        self._ended: dict[str, str] = {}
        self._started: dict[str, float] = {}
        self._follow_space()

    # The answers. #

    @property
    def multinomial(self) -> Multinomial:
        """The distribution as it is now; its choices are named like the hyperparameters.

        Raises:
            RuntimeError: there is nothing to choose yet, since no hyperparameter was declared.
        """
        if self._multinomial is None:
            raise RuntimeError(
                "MultinomialOracle has no hyperparameters yet: pass `hyperparameters=`, or ask after the first trial"
            )
        return self._multinomial

    def argmax_hyperparameters(self) -> keras_tuner.HyperParameters:
        """Returns the architecture that the rule thinks best: for the paper's, the most probable operations."""
        return self._hyperparameters(self._values(self.multinomial.argmax()))

    def best_hyperparameters(self) -> keras_tuner.HyperParameters:
        """Returns the best architecture evaluated, the first of equals.

        Raises:
            RuntimeError: no trial was completed yet.
        """
        best = self.multinomial.best()
        if best is None:
            raise RuntimeError("MultinomialOracle: no trial was completed yet, so there is no best one")
        return self._hyperparameters(self.trials[best.trial].hyperparameters.values)

    def distribution_document(self) -> dict[str, Any]:
        """Returns the distribution with its whole history as JSON values, see `Multinomial.document`."""
        return self.multinomial.document()

    # What KerasTuner calls. #

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        sample = self._multinomial.sample(len(self.trials)) if self._multinomial is not None else {}
        return {"status": "RUNNING", "values": self._values(sample)}

    def update_space(self, hyperparameters: keras_tuner.HyperParameters) -> None:
        _require_same_values(self.hyperparameters, hyperparameters)
        super().update_space(hyperparameters)
        self._follow_space()

    def create_trial(self, tuner_id: str) -> Trial:
        with _lock_given_back(self):
            return self._create_trial(tuner_id)

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Trial:
        with _lock_given_back(self):
            return super().update_trial(trial_id, metrics, step=step)

    def end_trial(self, trial: Trial) -> None:
        """Ends a trial; a COMPLETED one moves the distribution, once however often it is reported."""
        with _lock_given_back(self):
            self._end_trial(trial)

    def score_trial(self, trial: Trial) -> None:
        super().score_trial(trial)
        # The base class makes a trial whose score is NaN invalid, but not an infinite one.
        score = float(trial.score or 0.0)
        trial.score = score if math.isfinite(score) else math.nan

    @keras_tuner.synchronized
    def _create_trial(self, tuner_id: str) -> Trial:
        self._give_up_lost()
        retries = set(self._retry_queue)
        trial = super().create_trial(tuner_id)
        if trial.trial_id in retries:
            # Else what the attempt before had reported would be averaged into this one's score.
            trial.metrics = type(trial.metrics)()
            values = trial.hyperparameters.values
            # Hyperparameters added since the trial was sampled.
            trial.hyperparameters = self._hyperparameters({**self._values(self._architecture(values)), **values})
        if trial.status == "RUNNING":
            self._started.setdefault(trial.trial_id, time.monotonic())
        elif self.ongoing_trials and self.lost_after is not None:
            # The last worker leaves. Nobody asks again, but the chief waits for the trials that still run.
            timer = threading.Timer(self.lost_after, self._give_up_lost)
            timer.daemon = True
            timer.start()
        return trial

    @keras_tuner.synchronized
    def _end_trial(self, trial: Trial) -> None:
        if trial.trial_id in self.end_order:
            return
        # A worker's copy went through 32-bit floats.
        for name, value in self.trials[trial.trial_id].hyperparameters.values.items():
            if isinstance(value, float):
                trial.hyperparameters.values[name] = value
        super().end_trial(trial)
        self._started.pop(trial.trial_id, None)
        if trial.trial_id not in self.end_order:
            return
        # After the oracle was reloaded, the trial may wait for somebody else as well.
        self._retry_queue = [waiting for waiting in self._retry_queue if waiting != trial.trial_id]
        self._ended[trial.trial_id] = json.dumps(_record(self.trials[trial.trial_id]))
        if self._multinomial is not None:
            self._observe(trial.trial_id)

    def _check_consecutive_failures(self) -> None:
        try:
            super()._check_consecutive_failures()
        except RuntimeError as error:
            raise TooManyFailures(str(error)) from error

    @keras_tuner.synchronized
    def _give_up_lost(self) -> None:
        """Fails the trials that have run for longer than `lost_after`, and forgets their workers."""
        if self.lost_after is None:
            return
        now = time.monotonic()
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if now - self._started[trial.trial_id] >= self.lost_after:
                # Not put into end_order: should the result come after all, it counts.
                trial.status, trial.message = "FAILED", _LOST
                del self.ongoing_trials[tuner_id], self._started[trial.trial_id]
                self.tuner_ids.discard(tuner_id)
                self._save_trial(trial)
                self.save()

    def _record_values(self, trial: Trial) -> None:
        """Does nothing: the base class remembers the values for its duplicate check, which is not for this oracle."""

    # State. #

    def get_state(self) -> dict[str, Any]:
        """Returns the whole state as JSON values: the trials in the order of their start, and the rest."""
        return json.loads(self._state_text())

    def _state_text(self) -> str:
        state = {
            "hyperparameters": self.hyperparameters.get_config(),
            "seed": self.seed,
            "objective": _objective(self.objective),
            "end_order": self.end_order,
            # A save happens before the base class takes a trial that has ended out of the running ones.
            "ongoing_trials": {
                tuner_id: trial.trial_id
                for tuner_id, trial in self.ongoing_trials.items()
                if trial.trial_id not in {*self.end_order, *self._retry_queue}
            },
            "retry_queue": self._retry_queue,
            "run_times": self._run_times,
            "display": self._display.get_state(),
        }
        trials = (self._ended.get(id_) or json.dumps(_record(trial)) for id_, trial in self.trials.items())
        return f'{json.dumps(state)[:-1]}, "trials": [{", ".join(trials)}]}}'

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes over a state of `get_state`; trials that are not in it are forgotten.

        Raises:
            ValueError: The state has another objective, or other values of a hyperparameter that is declared already.
        """
        saved = state.get("objective", _objective(self.objective))
        if saved != _objective(self.objective):
            raise ValueError(
                f"MultinomialOracle: the saved search has the objective {_named(saved)}, this one "
                f"{_named(_objective(self.objective))}: scores of one say nothing of the other. Give the saved "
                "objective, or start anew in another directory."
            )
        found = keras_tuner.HyperParameters.from_config(state["hyperparameters"])
        _require_same_values(found, self.hyperparameters)
        self.hyperparameters = found
        self.seed = state["seed"]
        self.trials = {record["trial_id"]: self._trial(record) for record in state["trials"]}
        self.start_order = list(self.trials)
        self.end_order = list(state["end_order"])
        self._ended = {id_: json.dumps(_record(self.trials[id_])) for id_ in self.end_order}
        self.ongoing_trials = {tuner_id: self.trials[id_] for tuner_id, id_ in state["ongoing_trials"].items()}
        self._started = dict.fromkeys(state["ongoing_trials"].values(), time.monotonic())
        self._retry_queue = list(state["retry_queue"])
        self._run_times.clear()
        self._run_times.update(state["run_times"])
        self._display.set_state(state["display"])
        self._multinomial = None
        self._follow_space()

    def save(self) -> None:
        path = self._get_oracle_fname()
        text = self._state_text()
        if "://" in path:
            # An object store replaces a file as a whole or not at all.
            with io.File(path, "w") as file:
                file.write(text)
        else:
            _write_atomically(path, text)

    def reload(self) -> None:
        """Continues from the last save; a trial that was running is run again."""
        with io.File(self._get_oracle_fname(), "r") as file:
            self._continue(json.load(file))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from a state of `get_state`, whatever was saved since: for tuners with checkpoints of their own.

        Trials that are not in the state are forgotten, their directories removed; a trial that was running in it is
        run again. The next trials are those that an uninterrupted search would have run.
        """
        self._continue(state)
        for directory in io.glob(os.path.join(self._project_dir, "trial_*")):
            if os.path.basename(directory.rstrip("/")).removeprefix("trial_") not in self.trials:
                io.rmtree(directory)
        self.save()

    def _continue(self, state: Mapping[str, Any]) -> None:
        self.set_state(state)
        self._retry_queue += [trial.trial_id for trial in self.ongoing_trials.values()]
        self.ongoing_trials, self._started = {}, {}

    def _trial(self, record: Mapping[str, Any]) -> Trial:
        config = {**self.hyperparameters.get_config(), "values": record["hyperparameters"]}
        return Trial.from_state({**record, "hyperparameters": config})

    # Between hyperparameters and the distribution's choices. #

    def _follow_space(self) -> None:
        """Makes the distribution anew when hyperparameters were added, and tells it the trials so far."""
        self._choices = _choices(self.hyperparameters)
        names = tuple(choice.name for choice in self._choices)
        if not names or (self._multinomial is not None and self._multinomial.names == names):
            return
        self._multinomial = self._new_multinomial([(choice.name, choice.operations) for choice in self._choices])
        for trial_id in self.end_order:
            self._observe(trial_id)

    def _new_multinomial(self, choices: Iterable[tuple[str, Sequence[Operation]]]) -> Multinomial:
        return Multinomial(choices, **self._settings, seed=self.seed, direction=self.objective.direction)

    def _observe(self, trial_id: str) -> None:
        trial = self.trials[trial_id]
        if trial.status == "COMPLETED":
            assert self._multinomial is not None and trial.score is not None  # a trial has an architecture and a score
            self._multinomial.observe(self._architecture(trial.hyperparameters.values), trial.score, trial_id)

    def _architecture(self, values: Mapping[str, Any]) -> Architecture:
        return {
            choice.name: values[choice.hyperparameter.name]
            for choice in self._choices
            if _active(choice.hyperparameter, values) and choice.hyperparameter.name in values
        }

    def _values(self, architecture: Architecture) -> dict[str, Any]:
        """Values of all hyperparameters that are active under an architecture's operations."""
        names = {id(choice.hyperparameter): choice.name for choice in self._choices}
        values: dict[str, Any] = {}
        for hyperparameter in self.hyperparameters.space:
            if _active(hyperparameter, values):
                name = names.get(id(hyperparameter), "")
                values[hyperparameter.name] = architecture.get(name, hyperparameter.default)
        return values

    def _hyperparameters(self, values: Mapping[str, Any]) -> keras_tuner.HyperParameters:
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = dict(values)
        return hyperparameters


@dataclasses.dataclass(frozen=True)
class _Choice:
    """A hyperparameter as a choice of the distribution; its name also says the conditions where names repeat."""

    name: str
    hyperparameter: Any
    operations: tuple[Any, ...]


def _choices(hyperparameters: keras_tuner.HyperParameters) -> list[_Choice]:
    tuned = [hp for hp in hyperparameters.space if type(hp).__name__ != "Fixed"]
    names = [hp.name for hp in tuned]
    choices = []
    for hp in tuned:
        name = hp.name
        if names.count(name) > 1:
            # KerasTuner tells them apart by their conditions.
            conditions = [f"{c.name} in {c.values}" for c in hp.conditions]
            name = f"{name} ({', '.join(conditions) or 'always'})"
        choices.append(_Choice(name, hp, _operations(hp)))
    return choices


def _operations(hyperparameter: Any) -> tuple[Any, ...]:
    step = getattr(hyperparameter, "step", 1)
    if type(hyperparameter).__name__ == "Float" and step is None:
        raise ValueError(
            f"MultinomialOracle: the hyperparameter {hyperparameter.name!r} is a continuous Float from "
            f"{hyperparameter.min_value} to {hyperparameter.max_value}, only discrete ones are allowed: give it a "
            "`step`, or list its values in a Choice"
        )
    if type(hyperparameter).__name__ == "Int":
        # Without a step (sampling "log") KerasTuner names only ten of the integers.
        every = range(hyperparameter.min_value, hyperparameter.max_value + 1)
        values = every if step is None else (int(value) for value in hyperparameter.values)
    else:
        values = iter(hyperparameter.values)
    operations = tuple(dict.fromkeys(itertools.islice(values, MAX_OPERATIONS + 1)))
    if _lacks_its_top(hyperparameter, operations):
        operations += (float(hyperparameter.max_value),)
    if len(operations) > MAX_OPERATIONS:
        raise ValueError(
            f"MultinomialOracle: the hyperparameter {hyperparameter.name!r} has more than {MAX_OPERATIONS:,} values, "
            "which is the most allowed: give it a larger `step`"
        )
    return operations


def _lacks_its_top(hyperparameter: Any, operations: tuple[Any, ...]) -> bool:
    """Returns whether rounding hides a Float's greatest value, a whole number of steps above the least one."""
    if type(hyperparameter).__name__ != "Float" or getattr(hyperparameter, "sampling", None) != "linear":
        return False
    low, high, step = hyperparameter.min_value, hyperparameter.max_value, hyperparameter.step
    steps = (high - low) / step
    return len(operations) == round(steps) and abs(steps - round(steps)) < 1e-9 * max(1.0, steps)


def _require_same_values(saved: keras_tuner.HyperParameters, declared: keras_tuner.HyperParameters) -> None:
    """Raises a ValueError for a hyperparameter that has other values than in the saved search.

    The distribution has a probability for each value, so that values cannot come or go. New hyperparameters may.
    """
    known = {_place(hyperparameter): hyperparameter for hyperparameter in saved.space}
    for hyperparameter in declared.space:
        before = known.get(_place(hyperparameter))
        if before is None or before is hyperparameter or before.get_config() == hyperparameter.get_config():
            continue
        if "Fixed" in (type(before).__name__, type(hyperparameter).__name__):
            continue
        earlier, now = _operations(before), _operations(hyperparameter)
        if set(earlier) != set(now):
            raise ValueError(
                f"MultinomialOracle: the hyperparameter {hyperparameter.name!r} has the values {_listed(now)}, in the "
                f"saved search {_listed(earlier)}. Declare it as it was, give it another name, or start anew in "
                "another directory."
            )


def _place(hyperparameter: Any) -> tuple[str, str]:
    conditions = [(condition.name, tuple(condition.values)) for condition in hyperparameter.conditions]
    return hyperparameter.name, repr(conditions)


def _listed(values: tuple[Any, ...]) -> str:
    shown = ", ".join(map(repr, values[:10]))
    return shown + (f" and {len(values) - 10} more" if len(values) > 10 else "")


def _objective(objective: Any) -> list[list[str]]:
    """Returns the objective, or each of several, as name and direction."""
    return [[one.name, one.direction] for one in getattr(objective, "objectives", [objective])]


def _named(objective: list[list[str]]) -> str:
    return " + ".join(f"{name} ({direction})" for name, direction in objective)


def _active(hyperparameter: Any, values: Mapping[str, Any]) -> bool:
    return all(condition.is_active(values) for condition in hyperparameter.conditions)


def _record(trial: Trial) -> dict[str, Any]:
    """Returns a trial's state, with values in place of a copy of the whole space."""
    return {**trial.get_state(), "hyperparameters": dict(trial.hyperparameters.values)}


@contextlib.contextmanager
def _lock_given_back(oracle: keras_tuner.Oracle) -> Iterator[None]:
    """Releases the oracle's lock when its method fails, so that the other workers and the chief do not hang."""
    try:
        yield
    except BaseException:
        threads: dict[Any, Any] = base.THREADS
        if threads[oracle] == threading.current_thread().name:
            threads[oracle] = None
            base.LOCKS[oracle].release()
        raise


def _write_atomically(path: str, text: str) -> None:
    """Writes a file of this machine in place of an earlier one; one of both is whole whatever happens."""
    temporary = f"{path}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
