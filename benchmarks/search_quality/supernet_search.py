"""Real searches on real images in NAS-Bench-201's space, judged by the published accuracies of its architectures.

    python -m benchmarks.search_quality.supernet_search --images=cifar10_jpeg.zip --table=nasbench201_cifar10.csv \\
        --methods=default,paper,interactions,naswot,random --first_seed=0 --seeds=10 --json=search.json

Prints per method, over the seeds, the percentile among all 15,625 architectures, by the table's accuracy, of the
architecture that the method recommends (argmax) and of the best one that it evaluated: median, worst, mean and its
bootstrap interval (95 %); the seconds of processor of a search; and, for searches that train shared weights, Kendall's
tau of their validation accuracy with the table, on random architectures, at the end.

| method | what it is |
|---|---|
| default | as the shipped configs: the objective spectrum, the rule interactions, on networks of --final_cells |
| spectrum:RULE | the objective spectrum with another update rule |
| RULE | an update rule on the validation accuracy of shared weights, --epochs epochs of one path each |
| uniform | the same shared weights, with uniform samples to the end |
| evolution | regularized evolution (baselines.py) on the same shared weights |
| naswot, synflow | random architectures, scored untrained for --seconds of processor; the best score wins |
| naswot_final, synflow_final | the same on networks of --final_cells |
| params, macs | the architecture with the most parameters or multiply-adds |
| random | an architecture drawn at random |

A rule may have options: interactions:trend=True. Searches run through the pipeline's own tuners, one after the other.
--json is written after every search; the same command continues it.
"""

import functools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks.search_quality import baselines, images, ranks, tables, zero_cost
from benchmarks.search_quality.tabular_search import _rule
from models.architectures.choices import Path
from models.data import dataset
from models.networks import profiling
from models.oracle.rules.registry import RULES
from models.runtime import setup
from models.runtime.files import write_atomically
from models.search import spectrum_tuner, tuner
from models.search_spaces.registry import create_space
from models.settings import Settings

_TABLE_CHOICES = "edge_*"  # columns, in the order of the space's choices
_RESAMPLES = 2000
_ZERO_COST = {"naswot": zero_cost.naswot, "synflow": zero_cost.synflow}

Search = dict[str, Any]  # "argmax" and "best": paths or None; "seconds"; "tau" or None


class Bench:
    """A space, its images and sizes, and the searches in it.

    Args:
        seed: Of everything random.
    """

    def __init__(self, seed: int):
        setup.set_up(seed=seed, deterministic=True, tuned_kernels=True)
        self._seed = seed
        self._images, self._val = images.read(_IMAGES.value, _SIZE.value, _TRAIN_IMAGES.value, _VAL_IMAGES.value, seed)
        self.space = create_space(self._settings().space)

    def run(self, method: str) -> Search:
        """Runs a search.

        Args:
            method: See this module.
        """
        start = time.process_time()
        name, _, rest = method.partition(":")
        if method == "default":
            found = self._spectrum("interactions")
        elif name == "spectrum":
            found = self._spectrum(rest)
        elif method == "random":
            found = {"argmax": self._random(np.random.default_rng([self._seed, 1])), "best": None}
        elif method in ("params", "macs"):
            found = {"argmax": self._largest(method), "best": None}
        elif method.removesuffix("_final") in _ZERO_COST:
            found = {"argmax": self._zero_cost(method), "best": None}
        elif method == "evolution":
            found = self._evolution()
        elif method == "uniform":
            found = self._shared("paper", warmup_rounds=_EPOCHS.value)
        else:
            found = self._shared(method)
        return {"tau": None, "seconds": time.process_time() - start, **found}

    def _settings(self, **sections):
        search = {"epochs": _EPOCHS.value, "batch_size": _BATCH.value, "pad": _PAD.value, "norm_images": 1024}
        search |= {"cells": _CELLS.value, "channels": _CHANNELS.value, "learning_rate": _RATE.value}
        search |= sections.pop("search", {})
        train = {"cells": _FINAL_CELLS.value, "channels": _CHANNELS.value}
        return Settings.parse({"space": {"name": "nasbench201"}, "search": search, "train": train, **sections})

    def _oracle(self, method):
        rule, options = _rule(method)
        return {"rule": rule, rule: options} if options else {"rule": rule}

    def _random(self, generator):
        return {
            choice.name: choice.operations[generator.integers(len(choice.operations))] for choice in self.space.choices
        }

    def _spectrum(self, rule):
        # A score does not change while a search goes on; another rule than interactions has no trend.
        settings = self._settings(
            oracle={"interactions": {"trend": False}, **self._oracle(rule)},
            search={"objective": "spectrum", "epochs": _SCORES.value},
        )
        oracle = tuner.search_oracle(self.space, settings.oracle, settings.search, self._seed)
        score = spectrum_tuner.spectral_score(self.space, settings.search, settings.train, self._images, self._seed)
        with tempfile.TemporaryDirectory() as directory:
            spectrum_tuner.SpectrumTuner(oracle, score, settings.search, **_folders(directory)).search(verbose=0)
        return _result(oracle)

    def _shared(self, rule, **oracle_settings):
        settings = self._settings(oracle={**self._oracle(rule), **oracle_settings})
        search = settings.search
        start = time.process_time()
        oracle = tuner.search_oracle(self.space, settings.oracle, search, self._seed)
        trainer = tuner.path_trainer(self.space, search, self._images.image_shape, len(self._images.class_names))
        with tempfile.TemporaryDirectory() as directory:
            tuner.SupernetTuner(
                oracle, trainer, self._images, self._val, search, seed=self._seed, **_folders(directory)
            ).search(verbose=0)
        seconds = time.process_time() - start
        return {**_result(oracle), "seconds": seconds, "tau": self._tau(trainer, search)}

    def _evolution(self):
        settings = self._settings()
        search = settings.search
        start = time.process_time()
        trainer = tuner.path_trainer(self.space, search, self._images.image_shape, len(self._images.class_names))
        oracle = baselines.RegularizedEvolution(
            keras_tuner.Objective("metric", "max"), search.epochs, self._seed + 1, tuner.hyperparameters(self.space)
        )
        best = (-1.0, None)
        for epoch in range(search.epochs):
            indices = oracle.propose()
            path = {c.name: c.operations[index] for c, index in zip(self.space.choices, indices, strict=True)}
            augment = dataset.Augmentation.of(search)
            batches = dataset.batches(self._images, search.batch_size, seed=self._seed, epoch=epoch, augment=augment)
            trainer.train_epoch(path, batches, tuner.learning_rate(search, epoch))
            figures = tuner.validate_path(trainer, path, self._val, self._images, search, self._seed)
            # The population's first members are random as long as the oracle has no trials.
            oracle.trials[str(epoch)] = None
            oracle.tell(indices, figures["accuracy"])
            best = max(best, (figures["accuracy"], path), key=lambda pair: pair[0])
        seconds = time.process_time() - start
        return {"argmax": None, "best": best[1], "seconds": seconds, "tau": self._tau(trainer, search)}

    def _tau(self, trainer, search):
        """Kendall's tau of the accuracy on the shared weights with the table's, on random architectures."""
        if not _TAU.value:
            return None
        generator = np.random.default_rng([self._seed, 2])
        paths = [self._random(generator) for _ in range(_TAU.value)]
        found = [
            tuner.validate_path(trainer, path, self._val, self._images, search, self._seed)["accuracy"]
            for path in paths
        ]
        return ranks.tau(np.array(found), np.array([_published()[tuple(path.values())] for path in paths]))

    def _zero_cost(self, method):
        name = method.removesuffix("_final")
        cells = _FINAL_CELLS.value if method != name else _CELLS.value
        shape, classes = self._images.image_shape, len(self._images.class_names)
        supernet = self.space.supernet(shape, classes, channels=_CHANNELS.value, cells=cells)
        batch, _ = next(iter(dataset.batches(self._images, zero_cost.IMAGES, seed=self._seed, epoch=0)))
        score = _ZERO_COST[name](supernet, batch)
        generator, start = np.random.default_rng([self._seed, 3]), time.process_time()
        best = (-np.inf, None)
        while time.process_time() - start < _SECONDS.value:
            path = self._random(generator)
            best = max(best, (score(path), path), key=lambda pair: pair[0])
        return best[1]

    def _largest(self, what):
        shape, classes = self._images.image_shape, len(self._images.class_names)
        supernet = self.space.supernet(shape, classes, channels=_CHANNELS.value, cells=1)
        keys = [dict(zip((c.name for c in self.space.choices), key, strict=True)) for key in _published()]
        # Equal cells, so one of each stage tells which architecture is larger; of equals one is drawn.
        counts = [getattr(profiling.profile(supernet, path), what) for path in keys]
        equals = np.flatnonzero(np.array(counts) == max(counts))
        return keys[np.random.default_rng([self._seed, 4]).choice(equals)]


def _folders(directory):
    return {name: os.path.join(directory, name) for name in ("checkpoint_dir", "results_dir", "log_dir")}


def _result(oracle):
    return {"argmax": dict(oracle.multinomial.argmax()), "best": dict(oracle.multinomial.best().architecture)}


@functools.cache
def _published() -> Mapping[tables.Key, float]:
    return tables.load(_TABLE.value, _TABLE_CHOICES, _COLUMN.value, [_COLUMN.value]).objective


def percentile(path: Path, published: Mapping[tables.Key, float]) -> float:
    """Returns the share of architectures that are worse than one, in percent.

    Args:
        path: The architecture; its operations are in the order of the table's columns.
        published: The table.
    """
    accuracy = published[tuple(path.values())]
    return 100 * float(np.mean([other < accuracy for other in published.values()]))


def summarize(searches: Sequence[Search], published: Mapping[tables.Key, float]) -> dict[str, Any]:
    """Returns the figures of a method.

    Args:
        searches: One a seed.
        published: The table.
    """
    result: dict[str, Any] = {}
    for answer in ("argmax", "best"):
        paths = [search[answer] for search in searches]
        if None in paths:
            result[answer] = None
            continue
        found = [percentile(path, published) for path in paths]
        low, high = _interval(found)
        result[answer] = {
            "percentiles": found,
            "median": statistics.median(found),
            "worst": min(found),
            "mean": statistics.fmean(found),
            "interval": [low, high],
            "accuracy": statistics.fmean(published[tuple(path.values())] for path in paths),
        }
    taus = [search["tau"] for search in searches if search["tau"] is not None]
    return {
        **result,
        "seconds": statistics.fmean(search["seconds"] for search in searches),
        "tau": statistics.fmean(taus) if taus else None,
    }


def _interval(values):
    """Bootstrap interval (95 %) of the mean."""
    generator = np.random.default_rng(0)
    means = generator.choice(values, (_RESAMPLES, len(values))).mean(axis=1)
    return [float(bound) for bound in np.percentile(means, [2.5, 97.5])]


def render(methods: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the figures of all methods as a table of text."""
    width = max(14, *map(len, methods))
    head = f"{'median':>8}{'worst':>7}{'mean':>7}{'interval':>14}{'accuracy':>10} "
    lines = [
        f"{'':{width}}|{'argmax':^47}|{'best evaluated':^47}|",
        f"{'method':{width}}|{head}|{head}|{'seconds':>8}{'tau':>7}",
    ]
    for method, row in methods.items():
        cells = "".join(_cells(row[answer]) for answer in ("argmax", "best"))
        tau = "-" if row["tau"] is None else f"{row['tau']:.2f}"
        lines.append(f"{method:{width}}|{cells}{row['seconds']:8.0f}{tau:>7}")
    return "\n".join(lines)


def _cells(answer):
    if answer is None:
        return f"{'-':>46} |"
    low, high = answer["interval"]
    between = f"{low:.1f} to {high:.1f}"
    figures = f"{answer['median']:8.1f}{answer['worst']:7.1f}{answer['mean']:7.1f}"
    return f"{figures}{between:>14}{answer['accuracy']:10.2f} |"


def _check(method):
    """Refuses a method that there is not, or an option that its rule has not."""
    known = (*_ZERO_COST, *(f"{name}_final" for name in _ZERO_COST), "default", "params", "macs", "random")
    if method in (*known, "uniform", "evolution"):
        return
    try:
        name, _ = _rule(method.removeprefix("spectrum:"))
    except (TypeError, ValueError) as error:
        raise app.UsageError(f"--methods: found {method!r}; {error}") from error
    if name not in RULES:
        raise app.UsageError(f"--methods: found {method!r}; see --help for what is allowed")


def main(_: Sequence[str]) -> None:
    for method in _METHODS.value:
        _check(method)
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    tf.config.threading.set_inter_op_parallelism_threads(_THREADS.value)
    try:
        published = _published()
    except (OSError, ValueError) as error:
        raise app.UsageError(f"--table: {error}") from error
    settings = {name: flags.FLAGS[name].value for name in _DECISIVE}
    done: dict[str, dict[str, Search]] = {}
    if os.path.exists(_JSON.value):
        with open(_JSON.value, encoding="utf-8") as file:
            content = json.load(file)
        if content.get("settings") != settings:
            raise app.UsageError(f"--json: {_JSON.value} was begun with other flags; name another file")
        done = content["searches"]
    seeds = range(_FIRST_SEED.value, _FIRST_SEED.value + _SEEDS.value)
    summary = {}
    for method in _METHODS.value:
        searches = done.setdefault(method, {})
        for seed in seeds:
            if str(seed) not in searches:
                searches[str(seed)] = found = Bench(seed).run(method)
                shown = {a: f"{percentile(found[a], published):.1f}" for a in ("argmax", "best") if found[a]}
                print(method, "seed", seed, shown, f"{found['seconds']:.0f} s", flush=True)
            summary = {
                name: summarize([one for s, one in runs.items() if int(s) in seeds], published)
                for name, runs in done.items()
                if any(int(s) in seeds for s in runs)
            }
            write_atomically(
                _JSON.value, json.dumps({"settings": settings, "methods": summary, "searches": done}, indent=1)
            )
    print()
    print(render(summary))


_DECISIVE = ("images", "size", "channels", "cells", "final_cells", "epochs", "scores", "batch", "learning_rate", "pad")
_DECISIVE += ("train_images", "val_images", "seconds")

if __name__ == "__main__":
    _IMAGES = flags.DEFINE_string("images", None, "Folder or zip file with .../train/<class>/<image>.", required=True)
    _TABLE = flags.DEFINE_string("table", None, "CSV file of NAS-Bench-201.", required=True)
    _COLUMN = flags.DEFINE_string("column", "cifar10_test", "The table's column of accuracies.")
    _METHODS = flags.DEFINE_list("methods", ["default", "paper", "interactions"], "What is compared.")
    _FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "First seed.", lower_bound=0)
    _SEEDS = flags.DEFINE_integer("seeds", 3, "Searches per method.", lower_bound=1)
    _JSON = flags.DEFINE_string("json", None, "File of the figures; continued if it exists.", required=True)
    _SIZE = flags.DEFINE_integer("size", 16, "Height and width of the images in pixels.", lower_bound=4)
    _CHANNELS = flags.DEFINE_integer("channels", 8, "Channels of the first stage.", lower_bound=1)
    _CELLS = flags.DEFINE_integer("cells", 1, "Cells of each stage of the supernet.", lower_bound=1)
    _FINAL_CELLS = flags.DEFINE_integer("final_cells", 5, "Cells of each stage of the final network.", lower_bound=1)
    _EPOCHS = flags.DEFINE_integer("epochs", 60, "Epochs of one path each on shared weights.", lower_bound=1)
    _SCORES = flags.DEFINE_integer("scores", 200, "Architectures that are scored (spectrum).", lower_bound=1)
    _SECONDS = flags.DEFINE_float("seconds", 60.0, "Seconds of processor of naswot and synflow.", lower_bound=0.0)
    _BATCH = flags.DEFINE_integer("batch", 128, "Images a step.", lower_bound=2)
    _RATE = flags.DEFINE_float("learning_rate", 0.025, "Annealed by a cosine.", lower_bound=0.0)
    _PAD = flags.DEFINE_integer("pad", 2, "Random crop after padding by so many pixels.", lower_bound=0)
    _TRAIN_IMAGES = flags.DEFINE_integer("train_images", 5000, "Images to train on.", lower_bound=2)
    _VAL_IMAGES = flags.DEFINE_integer("val_images", 5000, "Images to validate on.", lower_bound=1)
    _TAU = flags.DEFINE_integer("tau", 0, "Random architectures that the supernet's tau is taken on; 0: none.")
    _THREADS = flags.DEFINE_integer("threads", 1, "Threads of TensorFlow.", lower_bound=1)
    app.run(main)
