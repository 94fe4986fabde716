"""Where the time of a search epoch goes: input, tracing, training and evaluation steps, oracle, checkpoint, the rest.

    python -m benchmarks.speed.search_epoch --images=cifar10_jpeg.zip --plot=epoch.png --json=epoch.json

Searches for a few epochs with the pipeline's own tuner, every epoch on a new architecture, and prints the seconds of
each part, per epoch. `--images` is a folder or a zip file with `.../train/<class>/<image>`; without it the images are
random noise, which is decoded in no time. The first epoch, which starts TensorFlow, is left out.
"""

import collections
import contextlib
import io
import json
import os
import statistics
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks.search_quality import images
from benchmarks.speed import step_worker
from models.data import dataset
from models.data.image_format import ImageFormat
from models.runtime import checkpoint
from models.search import tuner
from models.search_spaces.registry import create_space
from models.settings import Settings
from pipeline.configs import base

_IMAGES = flags.DEFINE_string("images", None, "Folder or zip file with .../train/<class>/<image>; default: noise.")
_STEPS = flags.DEFINE_integer("steps", 25, "Training steps an epoch; as many to evaluate.", lower_bound=2)
_EPOCHS = flags.DEFINE_integer("epochs", 4, "Epochs that are measured.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 512, "Images a step (512: the paper's).", lower_bound=1)
_CELLS = flags.DEFINE_integer("cells", 6, "Cells of the supernet.", lower_bound=3)
_CHANNELS = flags.DEFINE_integer("channels", 16, "Channels of the first cell.", lower_bound=2)
_CACHED = flags.DEFINE_bool("cached", True, "Decode the images once; else every time they are used.")
_THREADS = flags.DEFINE_integer("threads", 1, "Cores and threads.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "File to write the figures to.")
_PLOT = flags.DEFINE_string("plot", None, "PNG file to draw the figures in.")

PARTS = ("input", "tracing", "training", "evaluation", "oracle", "checkpoint", "other")


class Clock:
    """Adds up the seconds of each part of the epoch that is running."""

    def __init__(self):
        self.epochs = []
        self._start = None

    def begin_epoch(self):
        now = time.perf_counter()
        if self._start is not None:
            parts = self.epochs[-1]
            parts["other"] = now - self._start - sum(parts.values())
        self.epochs.append(collections.Counter())
        self._start = now

    def add(self, part, seconds):
        if self.epochs:
            self.epochs[-1][part] += seconds

    def timed(self, part, function):
        """`function`, whose seconds count for a part."""

        def call(*args, **kwargs):
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.add(part, time.perf_counter() - start)

        return call


class TimedBatches:
    """Batches that tell a clock how long they were waited for, and how long each was worked on."""

    def __init__(self, batches, part, clock):
        self._batches, self._part, self._clock = batches, part, clock

    def __len__(self):
        return len(self._batches)

    def __iter__(self):
        steps = []
        now = time.perf_counter()
        iterator = iter(self._batches)
        while True:
            batch = next(iterator, None)
            before, now = now, time.perf_counter()
            self._clock.add("input", now - before)
            if batch is None:
                break
            yield batch
            before, now = now, time.perf_counter()
            steps.append(now - before)
        # What the first step takes longer than the others is its tracing.
        tracing = max(steps[0] - statistics.median(steps), 0.0)
        self._clock.add("tracing", tracing)
        self._clock.add(self._part, sum(steps) - tracing)


@contextlib.contextmanager
def watched(clock, oracle):
    """Has the parts of a search report to a clock."""
    make_batches, save = dataset.batches, checkpoint.save

    def batches(data, batch_size, *, epoch=None, **options):
        made = clock.timed("input", make_batches)(data, batch_size, epoch=epoch, **options)
        return TimedBatches(made, "evaluation" if epoch is None else "training", clock)

    create_trial = oracle.create_trial

    def create(*args, **kwargs):
        clock.begin_epoch()
        return clock.timed("oracle", create_trial)(*args, **kwargs)

    oracle.create_trial = create
    oracle.end_trial = clock.timed("oracle", oracle.end_trial)
    dataset.batches, checkpoint.save = batches, clock.timed("checkpoint", save)
    try:
        yield
    finally:
        dataset.batches, checkpoint.save = make_batches, save


def noise(count):
    """As `images.draw`, two parts of random pixels."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, size=(2 * count, 32, 32, 3), dtype=np.uint8)
    labels = random.integers(10, size=2 * count)
    drawn = [(str(i), labels[i], tf.io.encode_png(pixels[i]).numpy()) for i in range(2 * count)]
    return [drawn[:count], drawn[count:]], tuple("0123456789")


def datasets(count, cached):
    """Training and validation images, `count` each."""
    parts, classes = images.draw(_IMAGES.value, (count, count)) if _IMAGES.value else noise(count)
    image_shape = tuple(tf.io.decode_image(parts[0][0][2]).shape)
    result = []
    for part in parts:
        names, labels, encoded = zip(*part, strict=True)
        pixels = dataset.EncodedImages(encoded, ImageFormat(image_shape))
        if cached:
            pixels = pixels.take(tf.range(count)).numpy()
        ids = np.array([name.encode() for name in names])
        result.append(dataset.ImageDataset(pixels, np.array(labels, np.int32), ids, classes, (0.5,) * 3, (0.25,) * 3))
    return result


def measure():
    """The seconds of each part, per epoch."""
    config = base.get_config()
    config.search.update(cells=_CELLS.value, channels=_CHANNELS.value, batch_size=_BATCH.value, traced_architectures=2)
    config.search.update(epochs=_EPOCHS.value + 2, max_invalid=1)
    config.oracle.warmup_rounds = 0
    settings = Settings.parse(config)
    search = settings.search
    train, val = datasets(_STEPS.value * _BATCH.value, _CACHED.value)
    space = create_space(settings.space)
    trainer = tuner.path_trainer(space, search, train.image_shape, len(train.class_names))
    oracle = tuner.search_oracle(space, settings.oracle, search, seed=0)
    clock = Clock()
    with tempfile.TemporaryDirectory() as directory, watched(clock, oracle):
        folders = {name: os.path.join(directory, name) for name in ("checkpoint_dir", "results_dir", "log_dir")}
        supernet_tuner = tuner.SupernetTuner(oracle, trainer, train, val, search, seed=0, **folders)
        supernet_tuner.search(verbose=0)
    # The last begins when no trial is left; the one before it ended with the search's own end.
    return [{part: seconds[part] for part in PARTS} for seconds in clock.epochs[1 : _EPOCHS.value + 1]]


def table(epochs):
    """The figures as lines of text: seconds of an epoch's parts (median), and their shares."""
    medians = {part: statistics.median(epoch[part] for epoch in epochs) for part in PARTS}
    total = statistics.median(sum(epoch.values()) for epoch in epochs)
    lines = [f"{'part':12}{'s/epoch':>10}{'share':>9}"]
    lines += [f"{part:12}{seconds:>10.3f}{seconds / total:>9.1%}" for part, seconds in medians.items()]
    besides = [1 - (epoch["training"] + epoch["evaluation"]) / sum(epoch.values()) for epoch in epochs]
    lines.append(f"{'epoch':12}{total:>10.3f}")
    lines.append(f"besides training and evaluation steps: {statistics.median(besides):.1%}")
    return "\n".join(lines)


def plot(epochs, path):
    """Draws the parts of each epoch as stacked bars."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3))
    left = np.zeros(len(epochs))
    for part in PARTS:
        seconds = np.array([epoch[part] for epoch in epochs])
        axes.barh(np.arange(len(epochs)), seconds, left=left, label=part)
        left += seconds
    axes.set(xlabel="seconds", ylabel="epoch", yticks=np.arange(len(epochs)))
    axes.invert_yaxis()
    axes.legend(ncols=4, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
    with open(path, "wb") as file:
        file.write(buffer.getvalue())


def main(argv):
    del argv
    if _THREADS.value == 1:
        step_worker.pin(0)
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    tf.config.threading.set_inter_op_parallelism_threads(_THREADS.value)
    keras.utils.set_random_seed(0)
    epochs = measure()
    print(table(epochs))
    if _JSON.value:
        with open(_JSON.value, "w") as file:
            json.dump({"epochs": epochs}, file, indent=2)
    if _PLOT.value:
        plot(epochs, _PLOT.value)


if __name__ == "__main__":
    app.run(main)
