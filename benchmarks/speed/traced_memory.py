"""Whether memory grows while a search traces ever new architectures.

    python -m benchmarks.speed.traced_memory --architectures=200 --plot=memory.png --out=memory.json

Trains and evaluates one random architecture of the cell space after the other on the same supernet, a step each, and
prints the resident memory after the tenth and its largest growth from there on, and the seconds that an architecture
took. Runs on one core with one thread.
"""

import json
import statistics
import time

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks.speed import architectures as sampled
from benchmarks.speed import step_worker
from models.runtime import setup
from models.search.path_training import PathTrainer
from models.search_spaces import cell

_ARCHITECTURES = flags.DEFINE_integer("architectures", 200, "How many architectures.", lower_bound=11)
_CACHED = flags.DEFINE_integer("cached", 4, "Traced architectures that are kept.", lower_bound=1)
_IMAGES = flags.DEFINE_integer("images", 16, "Images a step.", lower_bound=1)
_PLOT = flags.DEFINE_string("plot", None, "PNG file to draw the memory in.")
_OUT = flags.DEFINE_string("out", None, "JSON file to write the figures to.")

CLASSES = 10


def resident_mb():
    """The resident memory of this process."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measure(architectures, cached, images):
    """MB after each architecture, and the seconds that each took."""
    random = np.random.default_rng(0)
    pixels = random.normal(size=(images, *sampled.IMAGE_SHAPE)).astype("float32")
    batch = tf.constant(pixels), tf.constant(random.integers(CLASSES, size=images), tf.int32)
    trainer = PathTrainer(cell.create().supernet(sampled.IMAGE_SHAPE, CLASSES), cache_size=cached)
    memory, seconds = [], []
    for path in sampled.sample_paths(architectures, seed=0):
        start = time.perf_counter()
        trainer.train_epoch(path, [batch], 0.025)
        trainer.evaluate(path, [batch], [batch])
        seconds.append(time.perf_counter() - start)
        memory.append(resident_mb())
    return memory, seconds


def plot(memory, path):
    """Draws memory over architectures."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3))
    axes.plot(np.arange(1, len(memory) + 1), memory)
    axes.axhline(1.05 * memory[9], color="grey", linestyle=":", label="5 % above the tenth")
    axes.set(xlabel="architectures traced", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150, bbox_inches="tight")


def main(argv):
    del argv
    step_worker.pin(0)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    setup.set_up(seed=0, deterministic=False, tuned_kernels=True)
    memory, seconds = measure(_ARCHITECTURES.value, _CACHED.value, _IMAGES.value)
    growth = max(memory[10:]) / memory[9] - 1
    print(f"after 10 architectures {memory[9]:.0f} MB; later at most {growth:+.1%}; last {memory[-1]:.0f} MB")
    print(f"seconds an architecture, traced, trained and evaluated for a step: {statistics.median(seconds):.2f}")
    if _OUT.value:
        with open(_OUT.value, "w") as file:
            json.dump({"rss_mb": memory, "seconds": seconds, "growth": growth}, file)
    if _PLOT.value:
        plot(memory, _PLOT.value)


if __name__ == "__main__":
    app.run(main)
