"""A KerasTuner oracle that learns a multinomial distribution over architectures (arXiv 1905.07529).

oracle = MultinomialOracle(objective="val_accuracy", max_trials=100, seed=0)
tuner = keras_tuner.Tuner(oracle, hypermodel, directory="runs", project_name="search")
tuner.search(...)
oracle.argmax_hyperparameters(), oracle.best_hyperparameters()
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial

# These two modules are not public. `base` has the lock, which `keras_tuner.synchronized` does not release after an
# exception. `io` has functions for files on any file system.
from keras_tuner.src.backend import io
from keras_tuner.src.engine import oracle as base

from .budget import Budget
from .costs import Goal
from .hyperparameters import START_ANEW, Choice, active, choices_of, full_name, same_values, say_changed
from .multinomial import Multinomial
from .objectives import FrontTrial, describe, front, objective_state, split, value_at, warn_of_units
from .record import REPAIR, Architecture, Operation
from .values import integer, is_real, plain

_LOST = "No result came in time, so the trial and its worker count as lost."


class TooManyFailures(RuntimeError):
    """Reports the end of a search because `max_consecutive_failed_trials` trials failed in a row."""


class MultinomialOracle(keras_tuner.Oracle):
    """Samples trials from a multinomial distribution and updates the distribution after every completed trial.

    The space may be any discrete space: Choice, Boolean, Int and Float with a step, also in conditional scopes. The
    same architecture may be sampled again; the repetition is a trial like any other. Trials that fail or report NaN or
    infinity do not change the distribution. With several workers, results count in the order of their arrival, and
    sampling never waits.

    A sample is a function of the seed, the number of the trial and the completed trials. So the trials are the whole
    state, and an interrupted search resumes with the same samples as an uninterrupted search. A search cannot resume
    with another objective or with other values of a hyperparameter; new hyperparameters may appear at any time. The
    hyperparameters that a hypermodel defines are compared with the saved ones when a trial requests them. This happens
    only for trials that run in the oracle's own process.

    Args:
        objective: A string or a `keras_tuner.Objective`, to be maximised or minimised. A list of two or three is a
            search for the Pareto front: see `pareto_front`. The objectives may have different units, because they are
            never added up. Where KerasTuner needs one number (a trial's score, its best epoch), it is the first
            objective that is not known.
        max_trials: Largest number of trials; None (default) for no limit.
        rule: Name of the update rule, "paper" by default (docs/oracle.md), or the dotted path of a custom rule.
        rule_options: Options of the rule in place of its defaults, for example {"alpha": 0.01}.
        warmup_rounds: Rounds of trials in which every operation is sampled equally often, before samples follow the
            distribution. None (default): the default of the rule, which is 0 for the paper's rule.
        seed: Integer of at least 0; None (default) for a random one.
        lost_after: Seconds. A trial without a result after this time counts as lost, together with its worker, and
            becomes FAILED. None (default): a trial never counts as lost, and the chief waits forever for a worker that
            died.
        repair: Function of a sampled architecture (name -> value) and a `numpy.random.Generator`. It returns the
            architecture to evaluate in place of the sample, for example one that fits a budget. All its randomness has
            to come from the generator. None (default): the samples are evaluated as they are.
        known: Name of an objective -> function of an architecture (name -> value) that returns its exact value, for
            example `Costs`. It need not be reported. At least one objective must not be known.
        budget: Limit of the cost of every sample (`Budget`); the limit is checked before `repair`. All choices with
            costs must be declared before the first trial. None (default): no limit.
        hyperparameters, allow_new_entries, tune_new_entries, max_retries_per_trial, max_consecutive_failed_trials:
            As in `keras_tuner.Oracle`.

    Raises:
        ValueError: A hyperparameter is not discrete (Float without a step) or has more than 1,024 values, the rule or
            an option is unknown, or a value is not allowed.
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
        repair: Callable[[Architecture, np.random.Generator], Architecture] | None = None,
        known: Mapping[str, Callable[[Architecture], float]] | None = None,
        budget: Budget | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        allow_new_entries: bool = True,
        tune_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
    ):
        objective, self._goals = split(objective, known or {})
        super().__init__(
            objective=objective,
            max_trials=None if max_trials is None else integer("max_trials", max_trials),
            hyperparameters=hyperparameters,
            allow_new_entries=allow_new_entries,
            tune_new_entries=tune_new_entries,
            max_retries_per_trial=integer("max_retries_per_trial", max_retries_per_trial),
            max_consecutive_failed_trials=integer("max_consecutive_failed_trials", max_consecutive_failed_trials, 1),
        )
        if lost_after is not None and (not is_real(lost_after) or lost_after <= 0):
            raise ValueError(f"lost_after: found {lost_after!r}; expected None or a finite number above 0")
        # The base class would replace the seed 0 by a random seed.
        self.seed = random.randint(1, 10000) if seed is None else integer("seed", seed)
        self.lost_after = None if lost_after is None else float(lost_after)
        self._repair = repair
        self._budget = budget
        self._settings: dict[str, Any] = {"rule": rule, "rule_options": rule_options, "warmup_rounds": warmup_rounds}
        # Raises an error for wrong settings now, because the space may become known only later.
        self._new_multinomial([("any", (0,))])
        self._choices: list[Choice] = []
        self._multinomial: Multinomial | None = None
        # The declared hyperparameters replace the definitions of the hypermodel.
        self._declared = self.hyperparameters.copy()
        # _varied: hyperparameters that trials defined differently (KerasTuner keeps the first definition).
        # _saved: hyperparameters whose definition must equal that of the saved search.
        self._varied: set[str] = set()
        self._saved: frozenset[str] = frozenset()
        # The JSON texts of ended trials. Without this cache, the time of a save would grow with the number of trials.
        self._ended: dict[str, str] = {}
        self._started: dict[str, float] = {}
        self._warned = False
        self._follow_space()

    # Results. #

    @property
    def multinomial(self) -> Multinomial:
        """The current distribution; its choices have the names of the hyperparameters.

        Raises:
            RuntimeError: No hyperparameter was declared yet.
        """
        if self._multinomial is None:
            raise RuntimeError(
                "MultinomialOracle has no hyperparameters yet: pass `hyperparameters=`, or wait for the first trial"
            )
        return self._multinomial

    def argmax_hyperparameters(self) -> keras_tuner.HyperParameters:
        """Returns the architecture that the rule recommends: under the paper's rule, the most probable operations.

        Raises:
            RuntimeError: No hyperparameter was declared yet.
        """
        return self._hyperparameters(self._values(self.multinomial.argmax()))

    def best_hyperparameters(self) -> keras_tuner.HyperParameters:
        """Returns the evaluated architecture with the best score, the first if scores are equal.

        Raises:
            RuntimeError: No trial was completed yet.
        """
        best = self.multinomial.best()
        if best is None:
            raise RuntimeError("MultinomialOracle: no trial was completed yet, so there is no best one")
        return self._hyperparameters(self.trials[best.trial].hyperparameters.values)

    def pareto_front(self) -> list[FrontTrial]:
        """Returns the completed trials that no other trial dominates, sorted by the first objective, the best first.

        Of several trials with equal values, only the earliest is returned. With a single objective, the front is one
        trial, the best.
        """
        trials = [self.trials[id_] for id_ in self.end_order if self.trials[id_].status == "COMPLETED"]
        goals = [Goal(self.objective.name, self.objective.direction), *self._goals]
        return front(goals, [self._values_of(trial) for trial in trials], trials)

    def distribution_document(self) -> dict[str, Any]:
        """Returns the distribution and its history as JSON values, see `Multinomial.document`."""
        return self.multinomial.document()

    # Methods that KerasTuner calls. #

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of the next trial.

        Raises:
            ValueError: A choice of the budget is not declared, or no architecture fits the budget.
        """
        number = len(self.trials)
        if self._budget is not None:
            self._budget.require([choice.name for choice in self._choices])
        sample = self._multinomial.sample(number) if self._multinomial is not None else {}
        if self._multinomial is not None and self._repair is not None:
            sample = self._repair(sample, self._multinomial.stream(REPAIR, number))
        return {"status": "RUNNING", "values": self._values(sample)}

    def update_space(self, hyperparameters: keras_tuner.HyperParameters) -> None:
        """Adds new hyperparameters to the space and to the distribution."""
        super().update_space(hyperparameters)
        self._follow_space()

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns the next trial of a worker, as in `keras_tuner.Oracle`."""
        with _lock_given_back(self):
            return self._create_trial(tuner_id)

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Trial:
        """Records metrics of a running trial, as in `keras_tuner.Oracle`."""
        with _lock_given_back(self):
            # KerasTuner writes the metrics as JSON, which cannot store NumPy numbers.
            metrics = {name: plain(value) for name, value in metrics.items()}
            return super().update_trial(trial_id, metrics, step=plain(step))

    def end_trial(self, trial: Trial) -> None:
        """Ends a trial. A COMPLETED trial updates the distribution once, even if it is reported several times.

        Raises:
            TooManyFailures: `max_consecutive_failed_trials` trials failed in a row.
        """
        with _lock_given_back(self):
            self._end_trial(trial)

    def _check_consecutive_failures(self) -> None:
        try:
            super()._check_consecutive_failures()
        except RuntimeError as error:  # this method of KerasTuner raises no other RuntimeError
            raise TooManyFailures(*error.args) from None

    def score_trial(self, trial: Trial) -> None:
        """Sets the score of a trial. A score that is not finite becomes NaN, which makes the trial invalid."""
        super().score_trial(trial)
        score = math.nan if trial.score is None else float(trial.score)  # None: nothing was reported
        further = self._further(trial)
        trial.score = score if all(map(math.isfinite, [score, *further.values()])) else math.nan
        parts: Any = getattr(self.objective, "objectives", ())
        self._warned = self._warned or warn_of_units(parts, trial.metrics)

    def _check_objective_found(self, metrics: Mapping[str, float]) -> None:
        super()._check_objective_found(metrics)
        missing = [goal.name for goal in self._goals if goal.known is None and goal.name not in metrics]
        if missing:
            raise ValueError(
                f"metrics of a trial: found {', '.join(metrics)}; expected the objective {missing[0]!r} too. "
                "Report it, or declare it in `known`"
            )

    def _further(self, trial: Trial) -> dict[str, float]:
        """Returns the reported values of the further objectives, in the epoch that is the best by the score."""
        return {
            goal.name: value_at(trial.metrics, goal.name, trial.best_step) for goal in self._goals if goal.known is None
        }

    def _values_of(self, trial: Trial) -> dict[str, float]:
        """Returns the values of all objectives of a completed trial."""
        architecture = self._architecture(trial.hyperparameters.values)
        known = {goal.name: goal.value(architecture) for goal in self._goals if goal.known is not None}
        return {self.objective.name: float(trial.score or 0.0), **self._further(trial), **known}

    @keras_tuner.synchronized
    def _create_trial(self, tuner_id: str) -> Trial:
        self._give_up_lost()
        retries = set(self._retry_queue)
        trial = super().create_trial(tuner_id)
        if trial.trial_id in retries:
            # KerasTuner would average the metrics of both attempts.
            trial.metrics = type(trial.metrics)()
            values = trial.hyperparameters.values
            # Adds the hyperparameters that were declared after the trial was sampled.
            trial.hyperparameters = self._hyperparameters({**self._values(self._architecture(values)), **values})
        if trial.status == "RUNNING":
            trial.hyperparameters = _TrialHyperParameters.of(trial.hyperparameters, self._saved)
            self._started.setdefault(trial.trial_id, time.monotonic())
        elif self.ongoing_trials and self.lost_after is not None:
            # The chief waits for the running trials. After the last worker has left, nothing calls the oracle any more,
            # so a timer marks the lost trials as failed.
            timer = threading.Timer(self.lost_after, self._give_up_lost)
            timer.daemon = True
            timer.start()
        return trial

    @keras_tuner.synchronized
    def _end_trial(self, trial: Trial) -> None:
        if trial.trial_id in self.end_order:
            return
        self._varied |= getattr(trial.hyperparameters, "varied", set())
        # Values that a worker sends were converted to 32-bit floats, so the oracle's own values replace them.
        for name, value in self.trials[trial.trial_id].hyperparameters.values.items():
            if isinstance(value, float):
                trial.hyperparameters.values[name] = value
        super().end_trial(trial)
        self._started.pop(trial.trial_id, None)
        if trial.trial_id not in self.end_order:
            return
        # After a reload, the same trial may also be in the queue, waiting for another worker.
        self._retry_queue = [waiting for waiting in self._retry_queue if waiting != trial.trial_id]
        self._ended[trial.trial_id] = json.dumps(_record(self.trials[trial.trial_id]))
        if self._multinomial is not None:
            self._observe(trial.trial_id)

    @keras_tuner.synchronized
    def _give_up_lost(self) -> None:
        """Marks the trials that have run for longer than `lost_after` as failed, and removes their workers."""
        if self.lost_after is None:
            return
        now = time.monotonic()
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if now - self._started[trial.trial_id] >= self.lost_after:
                # The trial is not in end_order, so a late result still counts.
                trial.status, trial.message = "FAILED", _LOST
                del self.ongoing_trials[tuner_id], self._started[trial.trial_id]
                self.tuner_ids.discard(tuner_id)
                self._save_trial(trial)
                self.save()

    def _record_values(self, trial: Trial) -> None:
        """Does nothing. The base class stores the values to prevent repeated trials, but this oracle allows them."""

    # State. #

    def get_state(self) -> dict[str, Any]:
        """Returns the whole state as JSON values: the trials in the order of their start, and the oracle's queues."""
        return json.loads(self._state_text())

    def _state_text(self) -> str:
        state = {
            "objective": self._objective_state(),
            "hyperparameters": self.hyperparameters.get_config(),
            "varied": sorted(self._varied),
            "seed": self.seed,
            "end_order": self.end_order,
            # The base class saves before it removes an ended trial from the running ones.
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

    def _objective_state(self) -> dict[str, Any]:
        state = objective_state(self.objective)
        if self._goals:
            state["beside"] = [
                {"name": goal.name, "direction": goal.direction, "known": goal.known is not None}
                for goal in sorted(self._goals, key=lambda goal: goal.name)
            ]
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Replaces the state by a state from `get_state`; trials that are not in the new state are dropped.

        Raises:
            ValueError: The state comes from a search with another objective or with other values of a hyperparameter.
                The oracle is unchanged.
        """
        # Earlier versions saved no objective.
        saved, own = state.get("objective"), self._objective_state()
        if saved is not None and saved != own:
            raise ValueError(
                f"objective: found one that {describe(own)}; expected the saved search's objective, which "
                f"{describe(saved)}. Scores of different objectives cannot be compared. Resume with the saved "
                f"objective, or {START_ANEW}"
            )
        space = keras_tuner.HyperParameters.from_config(state["hyperparameters"])
        self._check_space(space)
        self._varied = set(state.get("varied", ()))
        self._saved = frozenset(map(full_name, space.space)) - self._varied
        self._saved -= set(map(full_name, self._declared.space))
        space.merge(self._declared, overwrite=False)
        self.hyperparameters = space
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

    def _check_space(self, saved: keras_tuner.HyperParameters) -> None:
        """Compares a saved space with the declared hyperparameters.

        The hyperparameters that the hypermodel defines are compared later, by the trials (`_TrialHyperParameters`).

        Raises:
            ValueError: The values of a hyperparameter differ, or a hyperparameter is missing and new entries are not
                allowed.
        """
        declared = {full_name(hp): hp for hp in self._declared.space}
        for hp in saved.space:
            now = declared.get(full_name(hp))
            if now is not None and not same_values(hp, now):
                raise ValueError(say_changed(hp, now))
            if now is None and not self.allow_new_entries:
                raise ValueError(
                    f"hyperparameters: {full_name(hp)} is missing; it must be declared, because the saved search "
                    f"has it and `allow_new_entries` is False. Resume with the saved hyperparameters, or {START_ANEW}"
                )

    def save(self) -> None:
        """Writes the state to oracle.json; after a crash the file has its old or its new content.

        Raises:
            OSError: The file cannot be written; the earlier one is unchanged.
        """
        path = self._get_oracle_fname()
        text = self._state_text()
        if "://" in path:
            # Object stores replace files atomically.
            with io.File(path, "w") as file:
                file.write(text)
        else:
            _write_atomically(path, text)

    def reload(self) -> None:
        """Resumes from the last save; a trial that was running is run again.

        Raises:
            ValueError: See `set_state`.
        """
        with io.File(self._get_oracle_fname(), "r") as file:
            self._continue(json.load(file))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Resumes from a state of `get_state`, for tuners with custom checkpoints. Later saves are discarded.

        Trials that are not in the state are dropped and their directories removed; a trial that was running is run
        again. The next trials equal the trials of an uninterrupted search.

        Raises:
            ValueError: See `set_state`.
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
        """Builds a new distribution if hyperparameters were added, and passes the completed trials to it again."""
        self._choices = choices_of(self.hyperparameters)
        names = tuple(choice.name for choice in self._choices)
        if not names or (self._multinomial is not None and self._multinomial.names == names):
            return
        self._multinomial = self._new_multinomial([(choice.name, choice.operations) for choice in self._choices])
        for trial_id in self.end_order:
            self._observe(trial_id)

    def _new_multinomial(self, choices: Iterable[tuple[str, Sequence[Operation]]]) -> Multinomial:
        choices = list(choices)
        budget = self._budget
        if budget is not None and not budget.declared([name for name, _ in choices]):
            budget = None  # the space is not complete yet; `populate_space` requires that it is
        return Multinomial(
            choices,
            **self._settings,
            seed=self.seed,
            direction=self.objective.direction,
            goals=self._goals,
            budget=budget,
        )

    def _observe(self, trial_id: str) -> None:
        trial = self.trials[trial_id]
        if trial.status == "COMPLETED":
            assert self._multinomial is not None and trial.score is not None  # a trial has an architecture and a score
            architecture = self._architecture(trial.hyperparameters.values)
            self._multinomial.observe(architecture, trial.score, trial_id, self._further(trial))

    def _architecture(self, values: Mapping[str, Any]) -> Architecture:
        return {
            choice.name: values[choice.hyperparameter.name]
            for choice in self._choices
            if active(choice.hyperparameter, values) and choice.hyperparameter.name in values
        }

    def _values(self, architecture: Architecture) -> dict[str, Any]:
        """Returns the values of all hyperparameters that are active in an architecture."""
        names = {id(choice.hyperparameter): choice.name for choice in self._choices}
        values: dict[str, Any] = {}
        for hyperparameter in self.hyperparameters.space:
            if active(hyperparameter, values):
                name = names.get(id(hyperparameter), "")
                values[hyperparameter.name] = architecture.get(name, hyperparameter.default)
        return values

    def _hyperparameters(self, values: Mapping[str, Any]) -> keras_tuner.HyperParameters:
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = dict(values)
        return hyperparameters


class _TrialHyperParameters(keras_tuner.HyperParameters):
    """The hyperparameters of a trial. They compare the definitions of the hypermodel with the known definitions.

    KerasTuner ignores every later definition of a hyperparameter. A resumed search must not ignore changed values.

    Attributes:
        saved: Full names of the hyperparameters whose definition must not change.
        varied: Full names of the hyperparameters that the trial defined differently.
    """

    saved: frozenset[str] = frozenset()

    def __init__(self):
        super().__init__()
        self.varied: set[str] = set()

    @classmethod
    def of(cls, hyperparameters: keras_tuner.HyperParameters, saved: frozenset[str]) -> _TrialHyperParameters:
        """Returns a copy of the hyperparameters that compares the definitions named in `saved`."""
        if isinstance(hyperparameters, cls):
            return hyperparameters
        result = cls.from_config(hyperparameters.get_config())
        result.saved = saved
        return result

    def _retrieve(self, hp: Any) -> Any:
        for known in self.space:
            if known.name == hp.name and known.conditions == hp.conditions and not same_values(known, hp):
                name = full_name(hp)
                if name in self.saved:
                    # KerasTuner would count any other error as a failure of the trial.
                    raise keras_tuner.errors.FatalValueError(say_changed(known, hp))
                self.varied.add(name)
        return super()._retrieve(hp)


def _record(trial: Trial) -> dict[str, Any]:
    """Returns the state of a trial. It has the values of the hyperparameters in place of a copy of the whole space."""
    return {**trial.get_state(), "hyperparameters": dict(trial.hyperparameters.values)}


@contextlib.contextmanager
def _lock_given_back(oracle: keras_tuner.Oracle) -> Iterator[None]:
    """Releases the lock of the oracle after an exception, so that the other workers and the chief do not hang."""
    try:
        yield
    except BaseException:
        threads: dict[Any, Any] = base.THREADS
        if threads[oracle] == threading.current_thread().name:
            threads[oracle] = None
            base.LOCKS[oracle].release()
        raise


def _write_atomically(path: str, text: str) -> None:
    """Replaces the content of a file. A reader sees the complete old or the complete new content, also after a crash.

    Args:
        path: The file; its folder exists.
        text: The new content, written as UTF-8.

    Raises:
        OSError: The file cannot be written; the earlier one is unchanged.
    """
    temporary = f"{path}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # without this, a power failure may leave an empty file under the name
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # writes the new name to the disk as well
        finally:
            os.close(folder)
