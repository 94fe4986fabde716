"""Kills a run of the pipeline again and again and compares what comes out with an uninterrupted run, bit for bit.

    python -m benchmarks.faults.chaos --kills=20 --root=runs/chaos

The search is killed (SIGKILL) at that many random moments of its epochs, then the final training at as many. Each
time the same command is given again. Prints, per kill, where the run was and, at the end, whether distribution
history, genotype, supernet weights and final weights are equal.
"""

import argparse
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

# Small, but with epochs enough to be killed in.
_SETTINGS = (
    "search.epochs=40",
    "search.channels=4",
    "train.epochs=40",
    "train.channels=8",
    "train.checkpoint_seconds=0.5",
)


# The components that are killed, and what their lines begin with.
_WORK = {"SupernetSearch": "search", "Trainer": "train"}


def main() -> None:
    """Runs, kills, compares; exit status 1 when anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many times each of the two is killed")
    parser.add_argument("--root", default="runs/chaos", help="folder of both runs; emptied first")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--config", default="pipeline/configs/digits.py", help="the pipeline's config")
    parser.add_argument("--setting", nargs="*", default=_SETTINGS, help="settings that differ: KEY=VALUE ...")
    args = parser.parse_args()

    def command(root):
        overrides = [f"--config.{setting}" for setting in args.setting]
        return [sys.executable, "-m", "pipeline.local_runner", f"--config={args.config}", f"--root={root}", *overrides]

    shutil.rmtree(args.root, ignore_errors=True)
    calm, stormy = (os.path.join(args.root, name) for name in ("calm", "stormy"))
    subprocess.run(command(calm), check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    seconds, epochs = _summary(calm)["seconds"], _epochs(calm)
    random_moments = random.Random(args.seed)
    hit = 0
    for node, label in _WORK.items():
        # In the order of the epochs, since what a kill interrupts goes on where it was.
        moments = sorted(random_moments.uniform(0, epochs[node] - 2) for _ in range(args.kills))
        for number, moment in enumerate(moments, 1):
            where = kill_at(command(stormy), node, label, moment, seconds[node] / epochs[node])
            hit += where is not None
            print(f"kill {number} of {label}, at epoch {moment:.2f}: {where or 'too late'}", flush=True)
    subprocess.run(command(stormy), check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    equal = compare(calm, stormy)
    for what, same in equal.items():
        print(f"{what:<24}{'equal, bit for bit' if same else 'DIFFERENT'}")
    print(f"{hit} kills hit")
    sys.exit(not all(equal.values()) or hit < len(_WORK) * args.kills)


def kill_at(line: Sequence[str], node: str, label: str, moment: float, epoch_seconds: float) -> str | None:
    """Starts a run and kills it at a moment of a component's work.

    Args:
        line: The command.
        node: The component.
        label: What its lines begin with.
        moment: Epochs that are done, with a fraction: about so far into the next.
        epoch_seconds: What an epoch takes.

    Returns:
        The last line that the run showed, or None when the component had ended before.
    """
    process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    last = ""
    for shown in process.stderr:
        last = shown.strip()
        done = re.match(rf"{label}(?:: resumed after epoch)? +(\d+)", last)
        if done and int(done.group(1)) >= int(moment):
            break
        if int(moment) == 0 and re.fullmatch(rf"\[.*\] {node} \.\.\.", last):
            break
    time.sleep(moment % 1 * epoch_seconds)
    process.send_signal(signal.SIGKILL)
    rest = [shown.strip() for shown in process.stderr.read().splitlines() if shown.strip()]
    if process.wait() != -signal.SIGKILL or any(f"{node} done" in shown for shown in rest):
        return None
    return rest[-1] if rest else last


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


def _epochs(root: str) -> dict[str, int]:
    with open(os.path.join(_newest(root, "Trainer/model_run"), "training.json")) as file:
        return {"SupernetSearch": _summary(root)["search_epochs"], "Trainer": json.load(file)["epochs"]}


def _archive(root: str) -> dict[str, np.ndarray]:
    with np.load(os.path.join(_newest(root, "SupernetSearch/supernet"), "supernet.npz")) as arrays:
        return dict(arrays)


def _model_weights(root: str) -> dict[str, np.ndarray]:
    """Returns the variables of the trained model in the order of their content: exports number them as they like."""
    import tensorflow as tf

    model = os.path.join(_newest(root, "Trainer/model"), "Format-Serving")
    reader = tf.train.load_checkpoint(os.path.join(model, "variables", "variables"))
    names = (name for name in reader.get_variable_to_shape_map() if name != "_CHECKPOINTABLE_OBJECT_GRAPH")
    values = sorted((reader.get_tensor(name) for name in names), key=lambda value: (value.shape, value.tobytes()))
    return {str(number): value for number, value in enumerate(values)}


def _equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


if __name__ == "__main__":
    main()
