"""Are the architectures that a search derives better than random ones? All are trained from scratch in the same way.

    python -m benchmarks.search_quality.derived_against_random --images=cifar10_jpeg.zip --json=derived.json

Searches the cell space with the objective spectrum and the rule interactions, once a seed, and draws random genotypes:
two random edges a node with random operations. Each architecture is trained `--repeats` times, with other initial
weights each time. Prints the validation accuracies of the last epoch, their means, their spread between architectures
and between the trainings of one, and the share of all divisions of the architectures into two groups whose means
differ as much (an exact permutation test, one-sided).

`--json` is written after every search and training. The same command continues a run that was killed.
"""

import itertools
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks.search_quality import images, ranking_hypothesis
from models.runtime import setup
from models.runtime.files import write_atomically
from models.search import spectrum_tuner, tuner
from models.search_spaces.registry import create_space
from models.settings import Settings

_DECISIVE = ("images", "size", "train_images", "val_images", "cells", "channels", "epochs", "batch", "learning_rate")
_DECISIVE += ("pad", "scores", "first_seed")


def derived(settings: Settings, train, seed: int) -> dict[str, str]:
    """Returns the path of the architecture that a search recommends.

    Args:
        settings: Those of the search and of the final network.
        train: Images.
        seed: Of the search.
    """
    setup.set_up(seed=seed, deterministic=True, tuned_kernels=True)
    space = create_space(settings.space)
    oracle = tuner.search_oracle(space, settings.oracle, settings.search, seed)
    score = spectrum_tuner.spectral_score(space, settings.search, settings.train, train, seed)
    with tempfile.TemporaryDirectory() as directory:
        folders = {name: os.path.join(directory, name) for name in ("checkpoint_dir", "results_dir", "log_dir")}
        spectrum_tuner.SpectrumTuner(oracle, score, settings.search, **folders).search(verbose=0)
    return dict(oracle.multinomial.argmax())


def random_paths(space, count: int, seed: int) -> list[dict[str, str]]:
    """Returns paths of random genotypes.

    Args:
        space: The cell space.
        count: How many.
        seed: Of the draw.
    """
    generator = np.random.default_rng(seed)
    real = {choice.name: [name for name in choice.operations if name != "none"] for choice in space.choices}
    return [
        space.repair({name: names[generator.integers(len(names))] for name, names in real.items()}, generator)
        for _ in range(count)
    ]


def compare(found: Sequence[Sequence[float]], drawn: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Returns means, spreads and the permutation test.

    Args:
        found: For each derived architecture the accuracies of its trainings.
        drawn: The same of random architectures.
    """
    first, second = ([statistics.fmean(runs) for runs in group] for group in (found, drawn))
    means = np.array([*first, *second])
    difference = statistics.fmean(first) - statistics.fmean(second)
    divisions = [list(chosen) for chosen in itertools.combinations(range(len(means)), len(first))]
    differences = [means[chosen].mean() - np.delete(means, chosen).mean() for chosen in divisions]
    within = [statistics.variance(runs) for runs in (*found, *drawn) if len(runs) > 1]
    return {
        "derived": statistics.fmean(first),
        "random": statistics.fmean(second),
        "difference": difference,
        "p": float(np.mean(np.array(differences) >= difference - 1e-12)),
        "spread of derived": statistics.stdev(first) if len(first) > 1 else 0.0,
        "spread of random": statistics.stdev(second) if len(second) > 1 else 0.0,
        "spread of trainings": float(np.sqrt(statistics.fmean(within))) if within else 0.0,
    }


def main(_: Sequence[str]) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    tf.config.threading.set_inter_op_parallelism_threads(_THREADS.value)
    options = {name: flags.FLAGS[name].value for name in _DECISIVE}
    content: dict[str, Any] = {"settings": options, "derived": {}, "accuracies": {}}
    if os.path.exists(_JSON.value):
        with open(_JSON.value, encoding="utf-8") as file:
            content = json.load(file)
        if content["settings"] != options:
            raise app.UsageError(f"--json: {_JSON.value} was begun with other flags; name another file")
    size = {"cells": options["cells"], "channels": options["channels"]}
    searched = Settings.parse(
        {
            "search": {"objective": "spectrum", "epochs": options["scores"]},
            "oracle": {"rule": "interactions", "interactions": {"trend": False}},
            "train": size,
        }
    )
    recipe = {name: options[name] for name in ("epochs", "learning_rate", "pad")}
    trained = Settings.parse({"search": {**recipe, **size, "batch_size": options["batch"]}}).search
    space = create_space(searched.space)
    try:
        train, val = images.read(options["images"], options["size"], options["train_images"], options["val_images"])
    except (OSError, ValueError) as error:
        raise app.UsageError(f"--images: {error}") from error

    def save():
        write_atomically(_JSON.value, json.dumps(content, indent=1))

    for seed in range(options["first_seed"], options["first_seed"] + _SEEDS.value):
        if str(seed) not in content["derived"]:
            content["derived"][str(seed)] = derived(searched, train, seed)
            save()
            print("derived with seed", seed, flush=True)
    architectures = {f"derived {seed}": path for seed, path in content["derived"].items()}
    architectures |= {
        f"random {i}": path for i, path in enumerate(random_paths(space, _RANDOM.value, options["first_seed"]))
    }
    setup.set_up(seed=0, deterministic=True, tuned_kernels=True)
    trainer = ranking_hypothesis.build(space, trained, train)
    for repeat in range(_REPEATS.value):
        for name, path in architectures.items():
            runs = content["accuracies"].setdefault(name, [])
            if len(runs) <= repeat:
                # Other initial weights and another order of the images in every repetition.
                (record,) = ranking_hypothesis.run([path], 0, space, trained, trainer, train, val, seed=repeat)
                runs.append(record["val_accuracy"][-1])
                save()
                print(f"{name}, training {repeat + 1}: {runs[-1]:.4f}, {record['seconds']:.0f} s", flush=True)
    groups = {
        kind: [runs for name, runs in content["accuracies"].items() if name.startswith(kind)]
        for kind in ("derived", "random")
    }
    content["result"] = compare(groups["derived"], groups["random"])
    save()
    for name, runs in content["accuracies"].items():
        print(f"{name:14}" + "".join(f"{accuracy:9.4f}" for accuracy in runs))
    print(*(f"{name:22}{value:9.4f}" for name, value in content["result"].items()), sep="\n")


if __name__ == "__main__":
    flags.DEFINE_string("images", None, "Folder or zip file with .../train/<class>/<image>.", required=True)
    _JSON = flags.DEFINE_string("json", None, "File of the figures; continued if it exists.", required=True)
    _SEEDS = flags.DEFINE_integer("seeds", 3, "Searches.", lower_bound=1)
    flags.DEFINE_integer("first_seed", 0, "First seed.", lower_bound=0)
    _RANDOM = flags.DEFINE_integer("random", 8, "Random genotypes.", lower_bound=1)
    _REPEATS = flags.DEFINE_integer("repeats", 2, "Trainings of each architecture.", lower_bound=1)
    flags.DEFINE_integer("scores", 300, "Architectures that a search scores.", lower_bound=1)
    flags.DEFINE_integer("size", 16, "Height and width of the images in pixels.", lower_bound=4)
    flags.DEFINE_integer("train_images", 8000, "Images to train on.", lower_bound=2)
    flags.DEFINE_integer("val_images", 5000, "Images to validate on.", lower_bound=1)
    flags.DEFINE_integer("cells", 6, "Cells of the networks.", lower_bound=3)
    flags.DEFINE_integer("channels", 8, "Channels of a node of the first cell.", lower_bound=1)
    flags.DEFINE_integer("epochs", 15, "Epochs of each training.", lower_bound=1)
    flags.DEFINE_integer("batch", 64, "Images a step.", lower_bound=2)
    flags.DEFINE_float("learning_rate", 0.05, "Annealed by a cosine.", lower_bound=0.0)
    flags.DEFINE_integer("pad", 2, "Random crop after padding by so many pixels.", lower_bound=0)
    _THREADS = flags.DEFINE_integer("threads", 1, "Threads of TensorFlow.", lower_bound=1)
    app.run(main)
