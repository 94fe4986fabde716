"""The paper's performance ranking hypothesis: are architectures ranked alike in every epoch of their training?

    python -m benchmarks.search_quality.ranking_hypothesis --space=nasbench201 --images=cifar10_jpeg.zip \\
        --table=nasbench201_cifar10.csv --json=hypothesis.json --plot=hypothesis.png

Draws random architectures, trains each from scratch, and validates it after every epoch. Prints for every epoch
Kendall's tau-b of the ranking by validation accuracy with the last epoch's ranking, and with that of a table of
published accuracies where there is one; their bootstrap intervals over the architectures (95 %); and p = (tau + 1) / 2,
which is the probability that two architectures are in the right order, if none are tied.

Training is the search's: its optimizer, its learning rate (a cosine over the epochs), its augmentation and its batch
norm, on a supernet of which nothing but the one architecture is trained. Initial weights depend on the seed and on the
number of the architecture; the order of the images is the same for all architectures.

`--json` is written after every architecture. The same command continues a run that was killed; with more
`--architectures` it adds to a run that has ended.
"""

import json
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from matplotlib.figure import Figure

from benchmarks.search_quality import images, ranks, tables
from components.report_gen import style
from models.architectures.choices import Path
from models.data import dataset
from models.networks.supernet import Supernet
from models.runtime import setup
from models.runtime.files import write_atomically
from models.search import tuner
from models.search.path_training import PathTrainer
from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import create_space
from models.settings import Search, Settings

_TABLE_CHOICES = "edge_*"  # columns, in the order of NAS-Bench-201's choices
_ATTEMPTS = 1000  # architectures in a row that are drawn in vain
# Flags that change the figures of an architecture.
_DECISIVE = ("space", "channels", "cells", "images", "size", "train_images", "val_images", "epochs", "batch")
_DECISIVE += ("learning_rate", "pad", "seed")

# {"path": choice -> operation, "val_accuracy": one an epoch, "seconds"}
Record = dict[str, Any]


def draw(space: SearchSpace, supernet: Supernet, count: int, seed: int) -> list[dict[str, str]]:
    """Returns different architectures, every operation of a choice being equally likely.

    Those whose logits do not depend on the image, as `none` cuts the output off, are drawn again.

    Args:
        space: Where to draw.
        supernet: The space's.
        count: Number of architectures. A larger one gives the same architectures first.
        seed: Of the draw.

    Raises:
        ValueError: The space has hardly so many.
    """
    random = np.random.default_rng(seed)
    found, attempts = [], 0
    while len(found) < count:
        path = {choice.name: choice.operations[random.integers(len(choice.operations))] for choice in space.choices}
        if path not in found and _connected(supernet, path):
            found.append(path)
            attempts = 0
        attempts += 1
        if attempts > _ATTEMPTS:
            raise ValueError(f"--architectures: found {count}; expected at most about {len(found)} in this space.")
    return found


def _connected(supernet, path):
    """Whether the logits of a path depend on the image."""
    noise = np.random.default_rng(0).normal(size=(2, *supernet.image_shape)).astype(np.float32)
    first, second = supernet(tf.constant(noise), path=path).numpy()
    return not np.array_equal(first, second)


def build(space: SearchSpace, search: Search, train: dataset.ImageDataset) -> PathTrainer:
    """Returns what trains one architecture after the other.

    Args:
        space: Of the architectures.
        search: `config.search`.
        train: The images to train on.

    Raises:
        ValueError: The space, its size and the images do not fit together.
    """
    # The programs of an architecture are dropped when the next one comes.
    search = search.model_copy(update={"traced_architectures": 1})
    return tuner.path_trainer(space, search, train.image_shape, len(train.class_names))


def run(
    paths: Sequence[Path],
    first: int,
    space: SearchSpace,
    search: Search,
    trainer: PathTrainer,
    train: dataset.ImageDataset,
    val: dataset.ImageDataset,
    seed: int,
) -> Iterator[Record]:
    """Trains architectures from scratch and yields the record of each.

    Args:
        paths: All architectures.
        first: The number, from 0, of the first one to train. Those before it change nothing.
        space: Of the architectures.
        search: `config.search`: size of the supernet, epochs, optimizer, augmentation.
        trainer: What `build` returned for these.
        train: Images to train on.
        val: Images to validate on.
        seed: Of weights, data order and augmentation.
    """
    for number, path in enumerate(paths[first:], start=first):
        start = time.perf_counter()
        (initial,) = np.random.SeedSequence([seed, number]).generate_state(1)
        keras.utils.set_random_seed(int(initial))
        trainer.restore(build(space, search, train).state())
        accuracies = []
        for epoch in range(search.epochs):
            batches = dataset.batches(
                train,
                search.batch_size,
                seed=seed,
                epoch=epoch,
                augment=dataset.Augmentation.of(search),
            )
            trainer.train_epoch(path, batches, tuner.learning_rate(search, epoch))
            accuracies.append(tuner.validate_path(trainer, path, val, train, search, seed)["accuracy"])
        yield {"path": dict(path), "val_accuracy": accuracies, "seconds": time.perf_counter() - start}


def analyse(accuracies: np.ndarray, truth: np.ndarray | None = None) -> list[dict[str, Any]]:
    """Returns the figures of every epoch.

    Args:
        accuracies: (architectures, epochs).
        truth: (architectures,), the published accuracies, if there are any.

    Returns:
        For every epoch {"epoch": from 1, "mean": of the accuracies, "last": {"tau", "low", "high", "p"}, "table": the
        same, or None without a truth}.
    """
    # The resamples are the same for all epochs, so that the intervals of two epochs can be compared.
    return [
        {
            "epoch": epoch,
            "mean": float(scores.mean()),
            "last": _agreement(scores, accuracies[:, -1]),
            "table": None if truth is None else _agreement(scores, truth),
        }
        for epoch, scores in enumerate(accuracies.T, start=1)
    ]


def _agreement(scores, reference):
    tau = ranks.tau(scores, reference)
    low, high = ranks.interval(scores, reference)
    return {"tau": tau, "low": low, "high": high, "p": (tau + 1) / 2}


def render(epochs: Sequence[Mapping[str, Any]]) -> str:
    """Returns what `analyse` returned as a table of text."""
    kinds = [kind for kind in ("last", "table") if epochs[0][kind]]
    titles = {"last": "with the last epoch", "table": "with the table"}
    lines = [
        f"{'':5}{'mean':>10} " + "".join(f"|{titles[kind]:^31}" for kind in kinds),
        f"{'epoch':5}{'accuracy':>10} " + f"|{'tau':>7}{'95 % interval':>16}{'p':>7} " * len(kinds),
    ]
    for row in epochs:
        line = f"{row['epoch']:5}{row['mean']:>10.4f} "
        for cell in (row[kind] for kind in kinds):
            between = f"{cell['low']:.2f} to {cell['high']:.2f}"
            line += f"|{cell['tau']:7.2f}{between:>16}{cell['p']:7.2f} "
        lines.append(line)
    return "\n".join(line.rstrip() for line in lines)


def draw_taus(epochs: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws Kendall's tau over the epochs, with its intervals as bands."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    numbers = [row["epoch"] for row in epochs]
    for kind, label, color in (
        ("last", "with the last epoch's ranking", style.BLUE),
        ("table", "with the published accuracies' ranking", style.ORANGE),
    ):
        if epochs[0][kind]:
            axes.plot(numbers, [row[kind]["tau"] for row in epochs], color=color, marker=".", label=label)
            low, high = ([row[kind][bound] for row in epochs] for bound in ("low", "high"))
            axes.fill_between(numbers, low, high, color=color, alpha=0.2, linewidth=0)
    axes.axhline(0, color=style.FAINT, linewidth=0.8)
    axes.set(xlabel="epoch", ylabel="Kendall's tau (band: 95 % interval)")
    axes.set_ylim(top=1.05)
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


class Results:
    """The file with the figures of a run.

    Args:
        path: Where it is or will be.
        settings: All that changes the figures of an architecture.

    Attributes:
        records: Of the architectures so far, in the order of their draw.

    Raises:
        ValueError: The file is another run's, or no run's.
    """

    def __init__(self, path: str, settings: Mapping[str, Any]):
        self._path, self._settings = path, dict(settings)
        self.records: list[Record] = []
        if not os.path.exists(path):
            return
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            found, self.records = dict(content["settings"]), list(content["architectures"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"--json: {path} is no file of this benchmark. Name another one.") from error
        different = [name for name in settings if found.get(name) != settings[name]]
        if different:
            name = different[0]
            raise ValueError(
                f"--{name}: found {settings[name]!r}; expected {found.get(name)!r}, with which {path} was begun. Give "
                "the same flags to continue it, or name another file with --json."
            )

    def save(self, epochs: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Writes the file.

        Args:
            epochs: What `analyse` returned, when all architectures are trained.
        """
        content = {"settings": self._settings, "epochs": epochs, "architectures": self.records}
        write_atomically(self._path, json.dumps(content, indent=1))


def _published(path, column, architectures):
    """The published accuracies of the architectures."""
    table = tables.load(path, _TABLE_CHOICES, column, [column])
    keys = [tuple(architecture.values()) for architecture in architectures]
    for key in keys:
        if key not in table.objective:
            raise ValueError(f"--table: {path} has no row for the architecture {', '.join(key)}.")
    return np.array([table.objective[key] for key in keys])


def main(_: Sequence[str]) -> None:
    settings = {name: flags.FLAGS[name].value for name in _DECISIVE}
    search = {name: settings[name] for name in ("epochs", "learning_rate", "pad", "channels", "cells")}
    search["batch_size"] = settings["batch"]
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    tf.config.threading.set_inter_op_parallelism_threads(_THREADS.value)
    setup.set_up(seed=_SEED.value, deterministic=True, tuned_kernels=True)
    count, seed = _ARCHITECTURES.value, _SEED.value
    try:
        results = Results(_JSON.value, settings)
        done = len(results.records)
        if done < count:
            parsed = Settings.parse({"space": {"name": _SPACE.value}, "search": search})
            space = create_space(parsed.space)
            train, val = images.read(_IMAGES.value, _SIZE.value, _TRAIN_IMAGES.value, _VAL_IMAGES.value, seed)
            trainer = build(space, parsed.search, train)
            paths = draw(space, trainer.supernet, count, seed)
        else:
            paths = [record["path"] for record in results.records[:count]]
        truth = _published(_TABLE.value, _COLUMN.value, paths) if _TABLE.value else None
        results.save()  # what cannot be written is known before anything is trained
    except (OSError, ValueError) as error:
        raise app.UsageError(str(error)) from error
    if done < count:
        for record in run(paths, done, space, parsed.search, trainer, train, val, seed):
            results.records.append(record)
            results.save()
            told = f"{record['val_accuracy'][-1]:.4f}, {record['seconds']:.1f} s"
            print(f"architecture {len(results.records)} of {count}: accuracy {told}", flush=True)
    records = results.records[:count]
    epochs = analyse(np.array([record["val_accuracy"] for record in records]), truth)
    results.save(epochs)
    print(f"\n{count} architectures of the space {_SPACE.value}, {_TRAIN_IMAGES.value} images to train on\n")
    print(render(epochs))
    seconds = [record["seconds"] for record in records]
    print(f"\n{sum(seconds):.0f} s, {statistics.median(seconds):.1f} s an architecture (median)")
    if _PLOT.value:
        with style.styled():
            draw_taus(epochs).savefig(_PLOT.value, dpi=150)


if __name__ == "__main__":
    _SPACE = flags.DEFINE_string("space", "nasbench201", "cell, mobile, nasbench201 or a custom space's module.")
    _IMAGES = flags.DEFINE_string("images", None, "Folder or zip file with .../train/<class>/<image>.", required=True)
    _ARCHITECTURES = flags.DEFINE_integer("architectures", 32, "Architectures that are trained.", lower_bound=2)
    flags.DEFINE_integer("epochs", 12, "Epochs of each architecture.", lower_bound=1)
    flags.DEFINE_integer("batch", 128, "Images a step.", lower_bound=2)
    flags.DEFINE_float("learning_rate", 0.025, "Annealed by a cosine.", lower_bound=0)
    flags.DEFINE_integer("pad", 2, "Random crop after padding by so many pixels.", lower_bound=0)
    _TRAIN_IMAGES = flags.DEFINE_integer("train_images", 5000, "Images to train on.", lower_bound=2)
    _VAL_IMAGES = flags.DEFINE_integer("val_images", 5000, "Images to validate on.", lower_bound=1)
    _SIZE = flags.DEFINE_integer("size", 16, "Height and width of the images in pixels.", lower_bound=1)
    flags.DEFINE_integer("channels", 8, "Channels of the first cells; the mobile space has its own.", lower_bound=1)
    flags.DEFINE_integer("cells", 1, "Cells: of each stage (nasbench201) or in all (cell: 3 or more).", lower_bound=1)
    _SEED = flags.DEFINE_integer("seed", 0, "Of images, architectures, weights and data order.", lower_bound=0)
    _THREADS = flags.DEFINE_integer("threads", 1, "Threads of TensorFlow.", lower_bound=1)
    _JSON = flags.DEFINE_string("json", None, "File of the figures; continued if it exists.", required=True)
    _PLOT = flags.DEFINE_string("plot", None, "PNG file to draw the figures in.")
    _TABLE = flags.DEFINE_string("table", None, "CSV file with published accuracies (nasbench201).")
    _COLUMN = flags.DEFINE_string("column", "cifar10_test", "The table's column of accuracies.")
    app.run(main)
