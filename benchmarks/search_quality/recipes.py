"""Which recipe gives the best accuracy in a given time? Short trainings of equal processor time, one change at a time.

    taskset -c 1 python -m benchmarks.search_quality.recipes --images=cifar10_jpeg.zip --seconds=100 --json=recipes.json

A row is a plain CNN, or a cell network of random genotypes with a recipe. Each row gets the same processor seconds: its
number of epochs follows from its measured step time, before the first training. Row `base` is the reference, and each
other cell row changes one thing. A seed draws the genotype (the same one for all rows with the same operations), the
initial weights and the order of the images. Prints the accuracies on held-out images, and the differences to `base`
with 95 % intervals (Student's t over the differences of the seeds).

`--pretrained=FILE` adds rows with a teacher: a linear classifier on the features of this network (docs/baselines.md).
Row `pretrained` is this classifier itself. The seconds of these rows do not contain the teacher's, which are printed.

`--images` takes a folder or zip file with .../train/<class>/<image>, or the word digits (scikit-learn's, 8x8).

`--json` is written after every training. The same command continues a run that was killed; more rows or seeds may be
asked for later.
"""

import dataclasses
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from scipy import stats

from benchmarks.search_quality import images, teacher
from benchmarks.search_quality.derived_against_random import random_paths
from models.baselines.networks import plain_cnn
from models.data import dataset
from models.networks import profiling
from models.runtime import setup
from models.runtime.files import write_atomically
from models.search_spaces.registry import create_space
from models.settings import Settings
from models.training.classifier import Classifier, build_network, compile_classifier, prepare
from models.training.distillation import Distillation
from models.training.loop import train

_DECISIVE = ("images", "size", "train_images", "test_images", "seconds", "pretrained")
_TIMED_STEPS = 20


@dataclasses.dataclass(frozen=True)
class Row:
    """What is trained.

    Attributes:
        train: Settings of `config.train` that differ from `BASE`. `warmup` stands for a share of the epochs.
        operations: `config.space.operations`, or () for the plain CNN.
    """

    train: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    operations: tuple[str, ...] = ("fast",)


BASE = {
    **{"cells": 3, "channels": 8, "batch_size": 64, "learning_rate": 0.1, "warmup": 0.1, "weight_decay": 5e-4},
    **{"label_smoothing": 0.0, "ema": 0.0, "flip": True, "cutout": 0, "drop_path": 0.0, "dropout": 0.0},
    **{"auxiliary_weight": 0.0, "schedule": "cosine"},
}
_ADAM = {"learning_rate": 1e-3, "warmup": 0.0, "schedule": "exponential", "decay_rate": 1.0}

ROWS = {
    "plain": Row(_ADAM, ()),
    "plain, as it comes": Row({**_ADAM, "pad": 0, "flip": False}, ()),
    "plain, cosine": Row({**_ADAM, "schedule": "cosine"}, ()),
    "base": Row(),
    "paper": Row(operations=("paper",)),
    "conv_3x3": Row(operations=("conv_3x3", "none")),
    "group_conv_3x3": Row(operations=("group_conv_3x3", "none")),
    "fast without group": Row(
        operations=("max_pool_3x3", "avg_pool_3x3", "skip_connect", "conv_1x1", "conv_3x3", "none")
    ),
    "channels 6": Row({"channels": 6}),
    "channels 12": Row({"channels": 12}),
    "channels 16": Row({"channels": 16}),
    "cells 6": Row({"cells": 6}),
    "cells 6, channels 6": Row({"cells": 6, "channels": 6}),
    "batch 32": Row({"batch_size": 32, "learning_rate": 0.05}),
    "batch 128": Row({"batch_size": 128, "learning_rate": 0.2}),
    "rate 0.05": Row({"learning_rate": 0.05}),
    "rate 0.2": Row({"learning_rate": 0.2}),
    "no warm-up": Row({"warmup": 0.0}),
    "warm-up 0.25": Row({"warmup": 0.25}),
    "smoothing 0.1": Row({"label_smoothing": 0.1}),
    "ema 0.99": Row({"ema": 0.99}),
    "ema 0.999": Row({"ema": 0.999}),
    "no crop": Row({"pad": 0}),
    "no crop, no flip": Row({"pad": 0, "flip": False}),
    "cutout": Row({"cutout": -1}),
    "drop path 0.1": Row({"drop_path": 0.1}),
    "dropout 0.2": Row({"dropout": 0.2}),
    "decay 3e-4": Row({"weight_decay": 3e-4}),
    "decay 1e-3": Row({"weight_decay": 1e-3}),
    "bfloat16": Row({"mixed_precision": "bfloat16"}),
}
# With --pretrained only.
TAUGHT = {
    "pretrained": Row(operations=()),
    "plain, teacher": Row({**_ADAM, "teacher": True}, ()),
    "base, teacher": Row({"teacher": True}),
    "base, weight 0.9": Row({"teacher": True, "teacher_weight": 0.9}),
    "base, temperature 1": Row({"teacher": True, "teacher_temperature": 1.0}),
}


def settings_of(row: Row, size: int, digits: bool, epochs: int) -> Settings:
    """Returns the settings of a row.

    Args:
        row: The row.
        size: Height and width of the images in pixels: crops are padded by an eighth, cutout erases a quarter.
        digits: Whether the images are digits, which are not mirrored.
        epochs: Of the training.
    """
    recipe = {"pad": size // 8, **BASE, **row.train}
    recipe["epochs"] = epochs
    recipe["warmup_epochs"] = round(recipe.pop("warmup") * epochs)
    recipe["cutout"] = size // 4 if recipe["cutout"] else 0
    recipe["flip"] = recipe["flip"] and not digits
    recipe["checkpoint_seconds"] = 1e6
    return Settings.parse({"space": {"operations": list(row.operations)}, "train": recipe})


class Trainings:
    """Trains rows on the same images for the same processor time.

    Args:
        training: Images to train on.
        held_out: Images to evaluate on.
        size: Height and width in pixels.
        digits: Whether they are digits.
        pretrained: The file of the pretrained network, for rows with a teacher.
    """

    def __init__(
        self,
        training: dataset.ImageDataset,
        held_out: dataset.ImageDataset,
        size: int,
        digits: bool,
        pretrained: str | None = None,
    ):
        self._training, self._held_out, self._size, self._digits = training, held_out, size, digits
        self._pretrained = pretrained

    def pretrained(self) -> dict[str, Any]:
        """Returns the results of the linear classifier on the features of the pretrained network, as `run`."""
        found = self._teacher()
        return {"epochs": 0, "macs": None, **{key: getattr(found, key) for key in ("accuracy", "seconds", "params")}}

    def _teacher(self):
        setup.set_up(seed=0, deterministic=True, tuned_kernels=True)
        return teacher.teach(self._pretrained, self._training, self._held_out)

    def run(self, row: Row, seed: int, seconds: float, epochs: int | None) -> dict[str, Any]:
        """Trains a row, and returns accuracy, epochs, processor seconds, parameters and multiply-adds.

        Args:
            row: What to train.
            seed: Of genotype, weights and order.
            seconds: Processor seconds that the training may take.
            epochs: Number of epochs; None: as many as fit, by the time of a step that is measured first.
        """
        data = self._teacher().training if row.train.get("teacher") else self._training
        settings, classifier = self._classifier(row, seed)
        prepare(classifier, self._training.image_shape, len(self._training.class_names))
        epochs = epochs or max(1, round(seconds / self._epoch_seconds(classifier, settings.train, data)))
        settings = settings_of(row, self._size, self._digits, epochs)
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            train(classifier, data, settings.train, seed, tf.distribute.get_strategy(), folder, folder)
        seconds = time.process_time() - began
        network = classifier.network
        profile = profiling.profile(network) if row.operations else None
        return {
            "accuracy": self._accuracy(network),
            "epochs": epochs,
            "seconds": seconds,
            "params": profile.params if profile else network.count_params(),
            "macs": profile.macs if profile else None,
        }

    def _epoch_seconds(self, classifier, recipe, data):
        """Processor seconds of an epoch, from some steps; the classifier is as before."""
        variables = [*classifier.variables, *classifier.metrics_variables, *classifier.optimizer.variables]
        before = [np.array(variable) for variable in variables]
        batches = dataset.batches(
            data,
            recipe.batch_size,
            epoch=0,
            augment=dataset.Augmentation.of(recipe),
            one_hot=True,
        )
        iterator = iter(batches.repeat())
        for _ in range(3):  # traces, and fills the queue of batches
            classifier.train_function(iterator)
        began = time.process_time()
        for _ in range(_TIMED_STEPS):
            classifier.train_function(iterator)
        step = (time.process_time() - began) / _TIMED_STEPS
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return step * math.ceil(len(data) / recipe.batch_size)

    def _classifier(self, row, seed):
        settings = settings_of(row, self._size, self._digits, epochs=1)
        precision = settings.train.mixed_precision
        setup.set_up(seed=seed, deterministic=True, tuned_kernels=True, mixed_precision=precision)
        shape, classes = self._training.image_shape, len(self._training.class_names)
        if row.operations:
            space = create_space(settings.space)
            (path,) = random_paths(space, 1, seed)
            network = build_network(settings, space.genotype(path), shape, classes)
            classifier = Classifier(network, 0.0, Distillation.of(settings.train))
            compile_classifier(classifier, settings.train)
            return settings, classifier
        classifier = Classifier(plain_cnn(shape, classes), 0.0, Distillation.of(settings.train))
        classifier.compile(
            optimizer=keras.optimizers.Adam(settings.train.learning_rate),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile=False,
        )
        return settings, classifier

    def _accuracy(self, network):
        evaluate = tf.function(lambda batch: tf.argmax(network(batch, training=False), -1, tf.int32), autograph=False)
        right = [
            np.asarray(evaluate(batch)) == labels.numpy() for batch, labels in dataset.batches(self._held_out, 100)
        ]
        return float(np.concatenate(right).mean())


def interval(differences: Sequence[float]) -> float:
    """Returns half the width of the 95 % interval of a mean, by Student's t; infinity for a single value."""
    if len(differences) < 2:
        return math.inf
    spread = statistics.stdev(differences) / math.sqrt(len(differences))
    return float(stats.t.ppf(0.975, len(differences) - 1)) * spread


def table(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the lines of the table.

    Args:
        results: By row: `epochs`, `step_s`, and `runs` by seed.
    """
    head = ("row", "epochs", "params", "10^6 macs", "s", "accuracy", "to base", "+-")
    lines = [f"{head[0]:22}" + "".join(f"{name:>10}" for name in head[1:])]
    base = results.get("base", {"runs": {}})["runs"]
    for name, row in results.items():
        runs = row["runs"]
        if not runs:
            continue

        def mean(key, runs=runs):
            return statistics.fmean(run[key] for run in runs.values())

        macs = f"{mean('macs') / 1e6:10.1f}" if all(run["macs"] for run in runs.values()) else f"{'':10}"
        line = f"{name:22}{row['epochs']:10d}{mean('params'):10,.0f}{macs}"
        line += f"{mean('seconds'):10.0f}{mean('accuracy'):10.4f}"
        common = [seed for seed in runs if seed in base]
        differences = [runs[seed]["accuracy"] - base[seed]["accuracy"] for seed in common]
        if differences and name != "base":
            line += f"{statistics.fmean(differences):+10.4f}{interval(differences):10.4f}"
        lines.append(line)
    return lines


def digit_images(train_images: int, test_images: int):
    """Returns scikit-learn's digits, the first ones to train on and the last ones to evaluate on."""
    from sklearn import datasets

    found = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    pixels, labels = (found.images[order, :, :, None] * 255 / 16).astype(np.uint8), found.target[order].astype(np.int32)
    moments = (float(pixels.mean() / 255),), (float(pixels.std() / 255),)
    names = tuple(map(str, range(10)))

    def part(chosen):
        ids = np.array([f"{number:06d}".encode() for number in range(len(labels[chosen]))])
        return dataset.ImageDataset(pixels[chosen], labels[chosen], ids, names, *moments)

    return part(slice(train_images)), part(slice(-test_images, None))


def main(_: Sequence[str]) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    options = {name: flags.FLAGS[name].value for name in _DECISIVE}
    content: dict[str, Any] = {"settings": options, "rows": {}}
    if os.path.exists(_JSON.value):
        with open(_JSON.value, encoding="utf-8") as file:
            content = json.load(file)
        if content["settings"] != options:
            raise app.UsageError(f"--json: {_JSON.value} was begun with other flags; name another file")
    rows = {**ROWS, **TAUGHT} if options["pretrained"] else ROWS
    unknown = sorted(set(_ROWS.value) - set(rows))
    if unknown:
        raise app.UsageError(f"--rows: found {', '.join(unknown)}; expected of {'; '.join(rows)}")
    digits = options["images"] == "digits"
    counts = options["train_images"], options["test_images"]
    try:
        read = digit_images(*counts) if digits else images.read(options["images"], options["size"], *counts)
    except (OSError, ValueError) as error:
        raise app.UsageError(f"--images: {error}") from error
    trainings = Trainings(*read, read[0].image_shape[0], digits, options["pretrained"])

    def save():
        write_atomically(_JSON.value, json.dumps(content, indent=1))

    for seed in range(_FIRST_SEED.value, _FIRST_SEED.value + _SEEDS.value):
        for name in _ROWS.value or list(rows):
            found = content["rows"].setdefault(name, {"runs": {}})
            if str(seed) not in found["runs"]:
                if name == "pretrained":
                    run = trainings.pretrained()
                else:
                    run = trainings.run(rows[name], seed, options["seconds"], found.get("epochs"))
                found["runs"][str(seed)] = run
                found["epochs"] = run["epochs"]
                save()
                told = f"{run['accuracy']:.4f}, {run['epochs']} epochs, {run['seconds']:.0f} s"
                print(f"{name}, seed {seed}: {told}", flush=True)
    print(*table(content["rows"]), sep="\n")


if __name__ == "__main__":
    flags.DEFINE_string("images", None, "Folder or zip file with .../train/<class>/<image>; or digits.", required=True)
    _JSON = flags.DEFINE_string("json", None, "File of the figures; continued if it exists.", required=True)
    flags.DEFINE_integer("train_images", 2000, "Images to train on.", lower_bound=2)
    flags.DEFINE_integer("test_images", 5000, "Held-out images to evaluate on.", lower_bound=1)
    flags.DEFINE_integer("size", 32, "Height and width of the images in pixels.", lower_bound=4)
    flags.DEFINE_string("pretrained", None, "A .keras file or a SavedModel: the teacher.")
    flags.DEFINE_float("seconds", 100, "Processor seconds of each training.", lower_bound=1)
    _ROWS = flags.DEFINE_list("rows", [], "Rows to train; none named: all.")
    _SEEDS = flags.DEFINE_integer("seeds", 3, "Trainings of each row.", lower_bound=1)
    _FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "First seed.", lower_bound=0)
    app.run(main)
