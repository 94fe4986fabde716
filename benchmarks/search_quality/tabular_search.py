"""Compares the oracle's update rules with other searches on a table of evaluated architectures.

    python -m benchmarks.search_quality.tabular_search --table=nasbench_macro.csv --choices='layer_*' \\
        --objective=test_acc_seed0 --report=test_acc_seed1,test_acc_seed2 --evaluations=100 --seeds=100

Prints per method, over the seeds: the reported metric (mean and standard deviation) of the architecture that the
method recommends (argmax) and of the best one it evaluated, the regret (what is lacking to the best of the table), its
ratio to random search's regret at the same number of evaluations, and the seconds of one search. Of several tables
(--table=A.csv,B.csv) it prints the means over the tables. Every method is a KerasTuner oracle and is driven through the
same calls; nothing is written to disk meanwhile.

random and bayesian are KerasTuner's own RandomSearch and BayesianOptimization, evolution is regularized evolution, gp
is scikit-learn's Gaussian process with a Hamming kernel (baselines.py); all others are rules of the
project's oracle, with options as in interactions:trend=True. The slow ones (bayesian, gp) run on --slow_seeds seeds at
most.

On the shared weights of a supernet accuracies rise with its training, and fall where the learning rate is annealed to
0. --trend=rise:5 or --trend=fall:5 adds the like to what is evaluated: five deviations of the table's objective in all.
"""

from __future__ import annotations

import ast
import concurrent.futures
import functools
import importlib
import json
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tqdm
from absl import app, flags

from benchmarks.search_quality import tables
from models.oracle.rules.registry import RULES, create_rule

# Oracles that are not rules, and where they are: KerasTuner is slow to import, so only the worker processes do.
_ORACLES = {
    "random": ("keras_tuner.oracles", "RandomSearchOracle"),
    "bayesian": ("keras_tuner.oracles", "BayesianOptimizationOracle"),
    "evolution": ("benchmarks.search_quality.baselines", "RegularizedEvolution"),
    "gp": ("benchmarks.search_quality.baselines", "GaussianProcess"),
}
_SLOW = ("bayesian", "gp")
# By the share of the search that is done.
_TRENDS = {"rise": lambda done: 1 - np.exp(-5 * done), "fall": lambda done: -(done**4)}
METHODS = (*RULES, *_ORACLES)


def search(
    table: tables.Table,
    method: str,
    evaluations: Sequence[int],
    noise: float,
    seed: int,
    trend: tuple[str, float] | None = None,
) -> list[dict[str, float | None]]:
    """One search, judged after each of the given numbers of evaluations.

    Args:
        table: what is searched.
        method: one of `METHODS`.
        evaluations: rising numbers of architectures evaluated.
        noise: standard deviation of normal noise that is added to every evaluation's objective.
        seed: of the method and the noise.
        trend: "rise" or "fall", and by how many deviations of the table's objective until the last evaluation.

    Returns:
        Per number of evaluations the reported metric of the method's "argmax" (None where it has none) and of the
        "best" it evaluated, and the "seconds" until then.
    """
    oracle = _oracle(method, table, evaluations[-1], seed)
    added = np.random.default_rng([seed, 1]).normal(0, noise, evaluations[-1])
    if trend:
        shape, size = trend
        added += size * table.deviation * _TRENDS[shape](np.arange(1, len(added) + 1) / len(added))
    best, best_key = -np.inf, None
    start = time.perf_counter()
    results: list[dict[str, float | None]] = []
    for number, addition in enumerate(added, start=1):
        trial = oracle.create_trial("benchmark")
        # Random search stops when it has evaluated all.
        if trial.status == "RUNNING":
            key = _key(table, trial.hyperparameters)
            if key in table.objective:
                value = table.objective[key] + addition
                oracle.update_trial(trial.trial_id, {"metric": value})
                trial.status = "COMPLETED"
                if value > best:
                    best, best_key = value, key
            else:
                # As a network that cannot be built.
                trial.status = "FAILED"
            oracle.end_trial(trial)
        if number in evaluations:
            argmax = None
            if hasattr(oracle, "argmax_hyperparameters"):
                argmax = table.report.get(_key(table, oracle.argmax_hyperparameters()), table.worst)
            seconds = time.perf_counter() - start
            results.append({"argmax": argmax, "best": table.report.get(best_key, table.worst), "seconds": seconds})
    return results


def summarize(results: dict[str, list[dict[str, float | None]]], best: float) -> dict[str, Any]:
    """Means over the seeds.

    Args:
        results: method -> what `search` returned for a number of evaluations, per seed; "random" among them.
        best: the best reported metric of the table.

    Returns:
        Method -> {"argmax": {"mean", "sd", "regret", "ratio"} or None, "best": the same, "seconds", "seeds"}.
    """
    reference = best - statistics.fmean(result["best"] for result in results["random"])

    def summary(values: list[float | None]) -> dict[str, float | None] | None:
        if None in values:
            return None
        regret = best - statistics.fmean(values)
        return {
            "mean": statistics.fmean(values),
            "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
            "regret": regret,
            # None where random search finds the best with every seed.
            "ratio": regret / reference if reference > 0 else None,
        }

    return {
        method: {
            "argmax": summary([run["argmax"] for run in runs]),
            "best": summary([run["best"] for run in runs]),
            "seconds": statistics.fmean(run["seconds"] for run in runs),
            "seeds": len(runs),
        }
        for method, runs in results.items()
    }


def average(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The means of every figure over the summaries of several tables; None where one of them has none."""

    def mean(values):
        if None in values:
            return None
        if isinstance(values[0], dict):
            return {key: mean([value[key] for value in values]) for key in values[0]}
        return statistics.fmean(values)

    return mean(summaries)


def render(summary: dict[str, Any]) -> str:
    """The summary as a table of text."""
    width = max(14, *map(len, summary))
    lines = [
        f"{'':{width}}|{'argmax':^36}|{'best evaluated':^36}|",
        f"{'method':{width}}|"
        + f"{'mean':>9}{'sd':>8}{'regret':>10}{'ratio':>8} |" * 2
        + f"{'seconds':>9}{'seeds':>7}",
    ]
    for method, row in summary.items():
        cells = ""
        for answer in (row["argmax"], row["best"]):
            if answer is None:
                cells += f"{'-':>35} |"
            else:
                ratio = "-" if answer["ratio"] is None else f"{answer['ratio']:.2f}"
                cells += f"{answer['mean']:9.3f}{answer['sd']:8.3f}{answer['regret']:10.4f}{ratio:>8} |"
        lines.append(f"{method:{width}}|{cells}{row['seconds']:9.2f}{row['seeds']:7.0f}")
    return "\n".join(lines)


def _oracle(method: str, table: tables.Table, evaluations: int, seed: int):
    import keras_tuner

    hyperparameters = keras_tuner.HyperParameters()
    for name, operations in table.choices.items():
        hyperparameters.Choice(name, operations)
    rule, rule_options = _rule(method)
    module, name = _ORACLES.get(rule, ("models.oracle.oracle", "MultinomialOracle"))
    options = {"rule": rule, "rule_options": rule_options} if rule in RULES else {}
    oracle = getattr(importlib.import_module(module), name)(
        objective=keras_tuner.Objective("metric", "max"),
        max_trials=evaluations,
        # KerasTuner takes a seed of 0 for none.
        seed=seed + 1,
        hyperparameters=hyperparameters,
        **options,
    )
    oracle.verbose = 0
    oracle.max_consecutive_failed_trials = evaluations + 1
    # The methods are compared, not the disk.
    oracle.save = lambda: None
    oracle._save_trial = lambda trial: None
    return oracle


def _rule(method: str) -> tuple[str, dict[str, Any]]:
    """The name and the options that a method says: "interactions:trend=True".

    Raises:
        ValueError: an option is not OPTION=VALUE with a value as Python writes it, or the rule has none of this kind.
    """
    name, *texts = method.split(":")
    options = {}
    for text in texts:
        option, _, value = text.partition("=")
        try:
            options[option] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            raise ValueError(f"{method}: found {text!r}, needed is OPTION=VALUE") from None
    if name in RULES:
        create_rule(name, options)
    elif options:
        raise ValueError(f"{method}: only update rules have options")
    return name, options


def _key(table: tables.Table, hyperparameters) -> tables.Key:
    return tuple(hyperparameters.values[name] for name in table.choices)


_worker_tables: list[tables.Table]


def _load(paths, *columns) -> list[tables.Table]:
    return [tables.load(path, *columns) for path in paths]


def _start_worker(load) -> None:
    global _worker_tables
    _worker_tables = load()


def _work(table: int, *arguments) -> list[dict[str, float | None]]:
    return search(_worker_tables[table], *arguments)


def _trend(text: str) -> tuple[str, float] | None:
    """What --trend says: None for "".

    Raises:
        app.UsageError: it is not SHAPE:SIZE.
    """
    if not text:
        return None
    shape, _, size = text.partition(":")
    try:
        found = float(size)
    except ValueError:
        found = math.nan
    if shape not in _TRENDS or not math.isfinite(found):
        raise app.UsageError(f"--trend: found {text!r}, needed is {' or '.join(_TRENDS)}, a colon and a number: rise:5")
    return shape, found


def main(_: Sequence[str]) -> None:
    methods = ["random", *(method for method in _METHODS.value if method != "random")]
    for method in methods:
        try:
            name, _ = _rule(method)
        except (TypeError, ValueError) as error:
            raise app.UsageError(f"--methods: {error}") from error
        if name not in METHODS:
            raise app.UsageError(f"--methods: found {name!r}; expected some of {', '.join(METHODS)}")
    trend = _trend(_TREND.value)
    load = functools.partial(_load, _TABLE.value, _CHOICES.value, _OBJECTIVE.value, _REPORT.value)
    try:
        searched = load()
    except (OSError, ValueError) as error:
        raise app.UsageError(str(error)) from error
    # One thread a process; set before the processes import NumPy.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3")
    evaluations = sorted(int(number) for number in _EVALUATIONS.value)
    tasks = [
        (table, method, seed)
        for table in range(len(searched))
        for method in methods
        for seed in range(min(_SEEDS.value, _SLOW_SEEDS.value) if method in _SLOW else _SEEDS.value)
    ]
    with concurrent.futures.ProcessPoolExecutor(
        min(_PROCESSES.value, len(tasks)), multiprocessing.get_context("spawn"), _start_worker, (load,)
    ) as pool:
        futures = {
            pool.submit(_work, table, method, evaluations, _NOISE.value, seed, trend): (table, method, seed)
            for table, method, seed in tasks
        }
        done = tqdm.tqdm(concurrent.futures.as_completed(futures), total=len(tasks), unit="search")
        runs = {futures[future]: future.result() for future in done}
    for path, table in zip(_TABLE.value, searched, strict=True):
        print(f"{path}: {len(table.objective):,} architectures, best {table.best:.4f} ({', '.join(_REPORT.value)})")
    told = f", trend {_TREND.value}" if trend else ""
    figures = {}
    for index, number in enumerate(evaluations):
        summaries = [
            summarize(
                {method: [runs[task][index] for task in tasks if task[:2] == (position, method)] for method in methods},
                table.best,
            )
            for position, table in enumerate(searched)
        ]
        figures[number] = {"methods": average(summaries)}
        print(f"\n{number} evaluations of {_OBJECTIVE.value}, noise of standard deviation {_NOISE.value:g}{told}\n")
        print(render(figures[number]["methods"]))
    if _JSON.value:
        with open(_JSON.value, "w", encoding="utf-8") as file:
            json.dump({**figures[evaluations[-1]], "evaluations": figures}, file, indent=2)


if __name__ == "__main__":
    _TABLE = flags.DEFINE_list("table", None, "CSV files with a row per architecture.", required=True)
    _CHOICES = flags.DEFINE_string("choices", None, "Pattern of the choices' columns: 'layer_*'.", required=True)
    _OBJECTIVE = flags.DEFINE_string("objective", None, "Column that the search sees; more is better.", required=True)
    _REPORT = flags.DEFINE_list("report", None, "Columns whose mean the result is judged by.", required=True)
    _EVALUATIONS = flags.DEFINE_list("evaluations", ["100"], "Architectures evaluated; several: judged after each.")
    _SEEDS = flags.DEFINE_integer("seeds", 100, "Searches per method.", lower_bound=1)
    _SLOW_SEEDS = flags.DEFINE_integer("slow_seeds", 20, "Searches at most of bayesian and gp.", lower_bound=1)
    _NOISE = flags.DEFINE_float("noise", 0.0, "Standard deviation of noise on every evaluation.", lower_bound=0.0)
    _TREND = flags.DEFINE_string("trend", "", "rise:SIZE or fall:SIZE, in deviations of the table's objective.")
    _METHODS = flags.DEFINE_list(
        "methods", list(METHODS), "What is compared; a rule may have :OPTION=VALUE. Random is always there."
    )
    _JSON = flags.DEFINE_string(
        "json", None, "File to write the figures to, 'methods' being after the most evaluations."
    )
    _PROCESSES = flags.DEFINE_integer("processes", os.cpu_count(), "Parallel processes.", lower_bound=1)
    app.run(main)
