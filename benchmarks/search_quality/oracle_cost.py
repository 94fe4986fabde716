"""What a trial costs besides training: the oracle's own time at a late trial.

    python -m benchmarks.search_quality.oracle_cost --choices=28 --operations=8 --trials=1000 [--bayesian_trials=1]

Prints per rule, in milliseconds at the given trial (mean and maximum over the 100 around it): the update of the
distribution, and all that KerasTuner does with the oracle for a trial, create_trial + update_trial + end_trial, which
includes the update, the sample and the saves to disk. It is processor time of one thread, so what else runs on the
machine does not count. KerasTuner's BayesianOptimization is timed at the same trial, over --bayesian_trials trials
only, since each takes many seconds; 0 leaves it out.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence

from absl import app, flags

# Before NumPy is imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3")

import keras_tuner
import numpy as np

from models.oracle.oracle import MultinomialOracle
from models.oracle.rules.registry import RULES


def main(_: Sequence[str]) -> None:
    hyperparameters = keras_tuner.HyperParameters()
    for choice in range(_CHOICES.value):
        hyperparameters.Choice(f"choice_{choice}", [f"op_{operation}" for operation in range(_OPERATIONS.value)])
    print(f"{_CHOICES.value} choices of {_OPERATIONS.value} operations, trial {_TRIALS.value}; milliseconds\n")
    print(f"{'':14}{'update':>8}{'max':>8}{'trial':>10}{'max':>8}")
    objective = keras_tuner.Objective("accuracy", "max")
    for rule in RULES:
        oracle = MultinomialOracle(objective, rule=rule, seed=1, hyperparameters=hyperparameters.copy())
        report(rule, *timed(oracle, _TRIALS.value - 50, 100))
    if _BAYESIAN_TRIALS.value:
        oracle = keras_tuner.oracles.BayesianOptimizationOracle(
            objective, max_trials=10**6, seed=1, hyperparameters=hyperparameters, num_initial_points=_TRIALS.value - 1
        )
        report("bayesian", None, timed(oracle, _TRIALS.value - 1, _BAYESIAN_TRIALS.value)[1])


def timed(oracle: keras_tuner.Oracle, before: int, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of the updates and of the whole trials, for `count` trials after `before` others."""
    updates: list[float] = []
    if isinstance(oracle, MultinomialOracle):
        rule = oracle.multinomial.rule
        update = rule.update

        def measured(multinomial):
            start = time.process_time()
            result = update(multinomial)
            updates.append(1e3 * (time.process_time() - start))
            return result

        rule.update = measured
    oracle.verbose = 0
    generator = np.random.default_rng(0)
    trials = []
    with tempfile.TemporaryDirectory() as directory:
        oracle._set_project_dir(directory, "cost")
        for _ in range(before + count):
            start = time.process_time()
            trial = oracle.create_trial("worker")
            quality = np.mean([int(value.removeprefix("op_")) for value in trial.hyperparameters.values.values()])
            oracle.update_trial(trial.trial_id, {"accuracy": quality + generator.normal()})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
            trials.append(1e3 * (time.process_time() - start))
    return updates[before:], trials[before:]


def report(name: str, updates: list[float] | None, trials: list[float]) -> None:
    update = f"{np.mean(updates):8.2f}{np.max(updates):8.2f}" if updates else f"{'-':>8}{'-':>8}"
    print(f"{name:14}{update}{np.mean(trials):10.2f}{np.max(trials):8.2f}", flush=True)


if __name__ == "__main__":
    _CHOICES = flags.DEFINE_integer("choices", 28, "Choices of an architecture.", lower_bound=1)
    _OPERATIONS = flags.DEFINE_integer("operations", 8, "Operations of a choice.", lower_bound=1)
    _TRIALS = flags.DEFINE_integer("trials", 1000, "The trial at which is measured.", lower_bound=51)
    _BAYESIAN_TRIALS = flags.DEFINE_integer("bayesian_trials", 1, "Timed trials of BayesianOptimization.")
    app.run(main)
