"""Kills a run of the pipeline again and again and compares what comes out with an uninterrupted run, bit for bit.

    python -m benchmarks.chaos --kills=20 --root=runs/chaos

Half of the kills (SIGKILL, at random moments) hit the search, half the final training. Each time the same command is given
again. Prints, per kill, where the run was and, at the end, whether distribution history, genotype, supernet weights and
final weights are equal.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
from absl import app, flags

_KILLS = flags.DEFINE_integer("kills", 20, "How many times the run is killed.", lower_bound=1)
_ROOT = flags.DEFINE_string("root", "runs/chaos", "Folder of both runs; emptied first.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments of the kills.")
_CONFIG = flags.DEFINE_string("config_file", "pipeline/configs/digits.py", "The pipeline's config.")
_SETTINGS = flags.DEFINE_multi_string(
    "setting",
    ["search.epochs=40", "search.channels=4", "train.epochs=40", "train.channels=8", "train.checkpoint_seconds=0.5"],
    "A setting of the config that differs, KEY=VALUE; may be given several times.",
)


def main(_: Sequence[str]) -> None:
    """Runs, kills, compares; exit status 1 when anything differs."""
    shutil.rmtree(_ROOT.value, ignore_errors=True)
    calm, stormy = (os.path.join(_ROOT.value, name) for name in ("calm", "stormy"))
    subprocess.run(command(calm), check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    seconds = _summary(calm)["seconds"]
    moments = random.Random(_SEED.value)
    for number in range(_KILLS.value):
        node = "SupernetSearch" if number < _KILLS.value / 2 else "Trainer"
        # Early enough that the component is still at it the next time.
        kill_within(command(stormy), node, moments.uniform(0.0, 0.6 * seconds[node]), number + 1)
    subprocess.run(command(stormy), check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    equal = compare(calm, stormy)
    for what, same in equal.items():
        print(f"{what:<24}{'equal, bit for bit' if same else 'DIFFERENT'}")
    sys.exit(not all(equal.values()))


def command(root: str) -> list[str]:
    """Returns the command line of the pipeline in a root."""
    overrides = [f"--config.{setting}" for setting in _SETTINGS.value]
    return [sys.executable, "-m", "pipeline.local_runner", f"--config={_CONFIG.value}", f"--root={root}", *overrides]


def kill_within(line: Sequence[str], node: str, delay: float, number: int = 1) -> str:
    """Starts a run and kills it `delay` seconds after a component began; returns the last line it showed.

    A run that ends by itself before that is not killed, which is said.
    """
    process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    last = ""
    for shown in process.stderr:
        last = shown.strip()
        if re.fullmatch(rf"\[.*\] {node} \.\.\.", last):
            break
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    rest = [shown.strip() for shown in process.stderr.read().splitlines() if shown.strip()]
    code = process.wait()
    last = rest[-1] if rest else last
    print(f"kill {number}: {delay:.1f} s into {node}, after: {last}" + ("" if code < 0 else " (it had ended)"), flush=True)
    return last


def compare(one: str, other: str) -> dict[str, bool]:
    """Returns for each result of two roots whether they are equal to the last bit."""
    return {
        "distribution history": _json(one, "SupernetSearch/distribution", "distribution.json")
        == _json(other, "SupernetSearch/distribution", "distribution.json"),
        "genotype": _summary(one)["genotype"] == _summary(other)["genotype"],
        "supernet weights": _equal(*(_archive(root) for root in (one, other))),
        "final weights": _equal(*(_model_weights(root) for root in (one, other))),
        "test accuracy": _summary(one)["test_accuracy"] == _summary(other)["test_accuracy"],
    }


def _newest(root: str, output: str) -> str:
    """Returns the folder of a component's newest output."""
    folder = os.path.join(root, "artifacts", output)
    return os.path.join(folder, max(os.listdir(folder), key=int))


def _json(root: str, output: str, name: str):
    with open(os.path.join(_newest(root, output), name)) as file:
        return json.load(file)


def _summary(root: str) -> dict:
    with open(os.path.join(root, "summary.json")) as file:
        return json.load(file)


def _archive(root: str) -> dict[str, np.ndarray]:
    with np.load(os.path.join(_newest(root, "SupernetSearch/supernet"), "supernet.npz")) as arrays:
        return dict(arrays)


def _model_weights(root: str) -> dict[str, np.ndarray]:
    import tensorflow as tf

    model = os.path.join(_newest(root, "Trainer/model"), "Format-Serving")
    reader = tf.train.load_checkpoint(os.path.join(model, "variables", "variables"))
    names = (name for name in reader.get_variable_to_shape_map() if name != "_CHECKPOINTABLE_OBJECT_GRAPH")
    return {name: reader.get_tensor(name) for name in names}


def _equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


if __name__ == "__main__":
    app.run(main)
