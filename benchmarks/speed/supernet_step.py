"""How long a training step of the supernet takes, beside other ways to do the same.

    python -m benchmarks.speed.supernet_step --json=step.json
    python -m benchmarks.speed.supernet_step --torch_python=PYTHON   (of an environment with PyTorch, for row `torch`)

The same randomly sampled architectures of the cell space in every row:

- `supernet`     ours: shared weights of all operations, the sampled path alone traced and computed
- `supernet_16`  ours with eight more operations on every edge, never sampled
- `static`       the same architecture alone: same layers, own tf.function
- `keras_fit`    the same architecture of ordinary Keras layers in `fit`
- `switch`       shared weights, tf.switch_case for every edge, one tf.function for all architectures, layers of
                 plain Keras operations (tuning.set_tuned(False))
- `mixed`        shared weights, all operations computed and weighted, the same layers
- `torch`        the same architecture in PyTorch, channels last, where PyTorch is installed

On request, `--rows=switch_tuned,mixed_tuned`: the naive ways with our tuned layers.

Every row runs in its own process on one core with one thread. `supernet` and `static` stay; each other row in its turn
alternates with them, round by round. Prints medians, over the rounds, of the mean over the architectures: ms a step,
its ratio to `static` in the same rounds, ms an evaluation step, the peak of the resident memory, seconds that a new
architecture takes besides its first step (median over the architectures; of the first, too), and of a repeated one.
"""

import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys

from absl import app, flags

from benchmarks.speed import architectures

TENSORFLOW_ROWS = ("supernet_16", "keras_fit", "switch", "mixed")
MORE_ROWS = ("switch_tuned", "mixed_tuned")

_JSON = flags.DEFINE_string("json", None, "File to write the figures to.")
_BATCH = flags.DEFINE_integer("batch", 64, "Images a step.", lower_bound=1)
_CELLS = flags.DEFINE_integer("cells", 6, "Cells of the networks.", lower_bound=3)
_CHANNELS = flags.DEFINE_integer("channels", 16, "Channels of the first cell.", lower_bound=2)
_ARCHITECTURES = flags.DEFINE_integer("architectures", 4, "Sampled architectures.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds for each row.", lower_bound=1)
_STEPS = flags.DEFINE_integer(
    "steps", 4, "Steps of an architecture in a round; the first is not counted.", lower_bound=2
)
_ROWS = flags.DEFINE_list("rows", [*TENSORFLOW_ROWS, "torch"], "Rows besides supernet and static.")
_CORE = flags.DEFINE_integer("core", 0, "The core that everything runs on.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the sampled architectures.")
_TORCH_PYTHON = flags.DEFINE_string("torch_python", None, "Python of an environment with PyTorch; default: this one.")


class Worker:
    """The process of one row."""

    def __init__(self, row, options):
        if row == "torch":
            command = [_TORCH_PYTHON.value or sys.executable, "benchmarks/speed/torch_row.py"]
        else:
            command = [sys.executable, "-m", "benchmarks.speed.supernet_rows"]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        self.row = row
        self.rounds = []
        self.process = subprocess.Popen(
            [*command, json.dumps({"row": row, **options})],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.new_architecture_s = self._read()["new_architecture_s"]

    def round(self):
        self._write("round")
        self.rounds.append(self._read())
        return statistics.mean(self.rounds[-1]["ms"])

    def end(self):
        self._write("end")
        rss_mb = self._read()["rss_mb"]
        self.process.communicate()
        figures = {
            "ms": self._median("ms"),
            "rss_mb": rss_mb,
            "new_architecture_s": statistics.median(self.new_architecture_s),
            "first_architecture_s": self.new_architecture_s[0],
            "repeat_s": max(self._median("repeat_s"), 0.0),
        }
        if "evaluation_ms" in self.rounds[0]:
            figures["evaluation_ms"] = self._median("evaluation_ms")
        return figures

    def kill(self):
        self.process.kill()

    def _median(self, key):
        return statistics.median(statistics.mean(measured[key]) for measured in self.rounds)

    def _write(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("row: "):
                return json.loads(line.removeprefix("row: "))
        raise RuntimeError(f"row {self.row}: the process ended with {self.process.wait()}; see its error above.")


def measure(options, rows, rounds):
    """The figures of every row, `supernet` and `static` first."""
    with contextlib.ExitStack() as stack:

        def start(row):
            print(f"{row} ...", file=sys.stderr, flush=True)
            worker = Worker(row, options)
            stack.callback(worker.kill)
            return worker

        supernet, static = start("supernet"), start("static")
        ratios = {"supernet": [], "static": [1.0]}
        figures = {}
        for row in rows or [None]:
            worker = start(row) if row else None
            for _ in range(rounds):
                static_ms = static.round()
                ratios["supernet"].append(supernet.round() / static_ms)
                if worker:
                    ratios.setdefault(row, []).append(worker.round() / static_ms)
            if worker:
                print(f"{row}: {statistics.median(ratios[row]):.3f} of static", file=sys.stderr, flush=True)
                figures[row] = worker.end()
        figures = {"supernet": supernet.end(), "static": static.end(), **figures}
    for row, values in figures.items():
        values["ratio"] = statistics.median(ratios[row])
    return figures


def table(figures):
    """The figures as lines of text."""
    columns = {
        "ms": ("ms/step", "{:.0f}"),
        "ratio": ("/static", "{:.3f}"),
        "evaluation_ms": ("ms/eval", "{:.0f}"),
        "rss_mb": ("RSS MB", "{:.0f}"),
        "new_architecture_s": ("new s", "{:.2f}"),
        "first_architecture_s": ("first s", "{:.1f}"),
        "repeat_s": ("repeat s", "{:.3f}"),
    }
    lines = ["".join([f"{'row':12}", *(f"{title:>10}" for title, _ in columns.values())])]
    for row, values in figures.items():
        cells = [form.format(values[key]) if key in values else "" for key, (_, form) in columns.items()]
        lines.append("".join([f"{row:12}", *(f"{text:>10}" for text in cells)]))
    return "\n".join(lines)


def has_torch():
    if _TORCH_PYTHON.value:
        return True
    return importlib.util.find_spec("torch") is not None


def main(argv):
    del argv
    unknown = set(_ROWS.value) - {*TENSORFLOW_ROWS, *MORE_ROWS, "torch"}
    if unknown:
        raise app.UsageError(
            f"--rows: no row {sorted(unknown)}; there are {', '.join(TENSORFLOW_ROWS + MORE_ROWS)} and torch."
        )
    options = {
        "core": _CORE.value,
        "batch": _BATCH.value,
        "cells": _CELLS.value,
        "channels": _CHANNELS.value,
        "steps": _STEPS.value,
        "image_shape": architectures.IMAGE_SHAPE,
        "paths": architectures.sample_paths(_ARCHITECTURES.value, _SEED.value),
    }
    rows = [row for row in _ROWS.value if row != "torch" or has_torch()]
    figures = measure(options, rows, _ROUNDS.value)
    print(table(figures))
    if _JSON.value:
        settings = {key: value for key, value in options.items() if key != "paths"}
        with open(_JSON.value + ".part", "w") as file:
            json.dump({"settings": settings, "rows": figures}, file, indent=2)
        os.replace(_JSON.value + ".part", _JSON.value)


if __name__ == "__main__":
    app.run(main)
