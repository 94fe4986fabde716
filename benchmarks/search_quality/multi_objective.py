"""Compares searches for the Pareto front of accuracy and multiply-adds on a table of evaluated architectures.

    python -m benchmarks.search_quality.multi_objective --table=nasbench_macro.csv --choices='layer_*' \\
        --objective=test_acc_seed0 --cost=flops --evaluations=100,400 --seeds=20
    python -m benchmarks.search_quality.multi_objective --table=nasbench201_cifar10.csv --choices='edge_*' \\
        --objective=cifar10_val --cost=nasbench201 --evaluations=100,400 --seeds=20

Prints the hypervolume that a method's evaluations dominate, divided by the hypervolume of the table's true front. The
reference point is the worst accuracy and the largest cost of the table, and both objectives are divided by their
ranges. Also printed is what is lacking to 1, in units of 1e-4, with the standard error over the seeds.

A method is "random" (without repetition), a rule of the oracle, a rule with ":known" (the cost is a known objective and
not modelled), "nsga2" or "gpsampler". The last two are Optuna's. Optuna is not among the requirements: run the
benchmark with a Python that has optuna, torch, scipy, numpy, absl-py and tqdm. No other package is needed.
"""

from __future__ import annotations

import concurrent.futures
import functools
import importlib.util
import json
import math
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Sequence

import numpy as np
import tqdm
from absl import app, flags

from benchmarks.search_quality import tables
from models.oracle.costs import Goal
from models.oracle.hypervolume import hypervolume
from models.oracle.multinomial import Multinomial
from models.oracle.rules.registry import RULES

# Multiply-adds of an operation on one edge of NAS-Bench-201's network of 16 channels and 15 cells for 32x32 images, and
# of the rest of the network (a test compares them with models/networks/profiling.py).
NASBENCH201 = {
    "none": 0,
    "skip_connect": 0,
    "avg_pool_3x3": 0,
    "nor_conv_1x1": 3_932_160,
    "nor_conv_3x3": 35_389_440,
}
NASBENCH201_REST = 7_783_040
OPTUNA = ("nsga2", "gpsampler")
# What Optuna needs for a method.
_NEEDED = {"nsga2": ("optuna",), "gpsampler": ("optuna", "torch", "scipy")}


def load(path: str, choices: str, objective: str, cost: str) -> tables.Table:
    """Returns a table whose `report` is the cost.

    Args:
        path, choices, objective: as for `tables.load`.
        cost: column of the cost, less is better, or "nasbench201": computed from the operations.
    """
    if cost != "nasbench201":
        return tables.load(path, choices, objective, [cost])
    table = tables.load(path, choices, objective, [objective])
    costs = {key: NASBENCH201_REST + sum(NASBENCH201[operation] for operation in key) for key in table.objective}
    return tables.Table(dict.fromkeys(table.choices, tuple(NASBENCH201)), table.objective, costs)


def search(table: tables.Table, method: str, evaluations: int, seed: int) -> tuple[np.ndarray, float]:
    """One search.

    Returns:
        The accuracy and the negated cost of each evaluation, float64 (evaluations, 2), and the seconds.
    """
    start = time.perf_counter()
    seen: list[tuple[float, float]] = []

    def evaluate(key: tables.Key) -> tuple[float, float]:
        seen.append((table.objective[key], -table.report[key]))
        return table.objective[key], table.report[key]

    if method == "random":
        keys = list(table.objective)
        for index in np.random.default_rng(seed).permutation(len(keys))[:evaluations]:
            evaluate(keys[index])
    elif method in OPTUNA:
        _optuna(table, method, evaluations, seed, evaluate)
    else:
        rule, _, known = method.partition(":")
        cost = functools.partial(_cost, table) if known else None
        multinomial = Multinomial(table.choices.items(), rule, seed=seed, goals=[Goal("cost", "min", cost)])
        for number in range(evaluations):
            architecture = multinomial.sample(number)
            accuracy, macs = evaluate(_key(table, architecture))
            multinomial.observe(architecture, accuracy, further={"cost": macs})
    return np.array(seen), time.perf_counter() - start


def relative(table: tables.Table, points: np.ndarray) -> float:
    """Returns the hypervolume of points (accuracy, negated cost) relative to that of the table's front, 0 to 1."""
    every = np.array([(table.objective[key], -table.report[key]) for key in table.objective])
    # Only the best accuracy of each cost can be on the front, which saves the comparison of all pairs.
    ordered = every[np.lexsort((-every[:, 0], -every[:, 1]))]
    best = np.maximum.accumulate(ordered[:, 0])
    front = ordered[np.concatenate([[True], best[1:] > best[:-1]])]
    worst, spread = every.min(axis=0), np.ptp(every, axis=0)
    zero = np.zeros(2)
    return hypervolume((points - worst) / spread, zero) / hypervolume((front - worst) / spread, zero)


def missing(methods: Sequence[str]) -> str:
    """Returns a line that names the packages that methods need and that are not installed; "" if none is missing."""
    needed = dict.fromkeys(name for method in methods for name in _NEEDED.get(method, ()))
    lacking = [name for name in needed if importlib.util.find_spec(name) is None]
    if not lacking:
        return ""
    return (
        f"--methods: {', '.join(lacking)} not installed. Run with a Python that has "
        "`pip install optuna torch scipy numpy absl-py tqdm`, or leave out nsga2 and gpsampler"
    )


def _optuna(table, method, evaluations, seed, evaluate) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    sampler = {"nsga2": "NSGAIISampler", "gpsampler": "GPSampler"}[method]
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=getattr(optuna.samplers, sampler)(seed=seed)
    )
    study.optimize(
        lambda trial: evaluate(
            tuple(trial.suggest_categorical(name, operations) for name, operations in table.choices.items())
        ),
        n_trials=evaluations,
    )


def _cost(table: tables.Table, architecture) -> float:
    return table.report[_key(table, architecture)]


def _key(table: tables.Table, architecture) -> tables.Key:
    return tuple(architecture[name] for name in table.choices)


def _work(load_table, method: str, evaluations: Sequence[int], seed: int) -> tuple[list[float], float]:
    table = load_table()
    points, seconds = search(table, method, max(evaluations), seed)
    return [relative(table, points[:number]) for number in evaluations], seconds


def main(_: Sequence[str]) -> None:
    allowed = ("random", *RULES, *(f"{rule}:known" for rule in RULES), *OPTUNA)
    for method in _METHODS.value:
        if method not in allowed:
            raise app.UsageError(f"--methods: found {method!r}, allowed are {', '.join(allowed)}")
    if missing(_METHODS.value):
        raise app.UsageError(missing(_METHODS.value))
    load_table = functools.partial(load, _TABLE.value, _CHOICES.value, _OBJECTIVE.value, _COST.value)
    try:
        load_table()
    except (OSError, ValueError) as error:
        raise app.UsageError(str(error)) from error
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    evaluations = sorted(int(number) for number in _EVALUATIONS.value)
    tasks = [(method, seed) for method in _METHODS.value for seed in range(_SEEDS.value)]
    with concurrent.futures.ProcessPoolExecutor(_PROCESSES.value, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(_work, load_table, method, evaluations, seed): (method, seed) for method, seed in tasks}
        done = tqdm.tqdm(concurrent.futures.as_completed(futures), total=len(tasks), unit="search")
        runs = {futures[future]: future.result() for future in done}
    figures = {}
    for position, number in enumerate(evaluations):
        print(f"\n{number} evaluations\n{'method':24}{'hypervolume':>12}{'lacking 1e-4':>14}{'error':>8}{'seconds':>9}")
        for method in _METHODS.value:
            values = [runs[method, seed][0][position] for seed in range(_SEEDS.value)]
            mean = statistics.fmean(values)
            error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
            # The time is that of the largest number of evaluations.
            seconds = statistics.fmean(runs[method, seed][1] for seed in range(_SEEDS.value))
            figures.setdefault(method, {})[number] = {"values": values, "seconds": seconds}
            print(f"{method:24}{mean:12.4f}{1e4 * (1 - mean):14.1f}{1e4 * error:8.1f}{seconds:9.1f}")
    if _JSON.value:
        with open(_JSON.value, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)


if __name__ == "__main__":
    _TABLE = flags.DEFINE_string("table", None, "CSV file with a row per architecture.", required=True)
    _CHOICES = flags.DEFINE_string("choices", None, "Pattern of the choices' columns: 'layer_*'.", required=True)
    _OBJECTIVE = flags.DEFINE_string("objective", None, "Column of the accuracy.", required=True)
    _COST = flags.DEFINE_string("cost", None, "Column of the cost, or nasbench201: computed.", required=True)
    _EVALUATIONS = flags.DEFINE_list("evaluations", ["100"], "Architectures evaluated; several: judged after each.")
    _SEEDS = flags.DEFINE_integer("seeds", 20, "Searches per method.", lower_bound=1)
    _METHODS = flags.DEFINE_list(
        "methods", ["random", "interactions", "interactions:known", *OPTUNA], "What is compared."
    )
    _JSON = flags.DEFINE_string("json", None, "File to write the figures to.")
    _PROCESSES = flags.DEFINE_integer("processes", os.cpu_count(), "Parallel processes.", lower_bound=1)
    app.run(main)
