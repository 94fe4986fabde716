"""Fills the disk during a checkpoint and during the push, then makes room: what is said, and whether the run then ends.

    sudo .venv/bin/python -m benchmarks.faults.full_disk --root=runs/full_disk

The checkpoints' and the served models' folders become file systems of their own, too small at first (tmpfs, hence
sudo; Linux only). Three runs of the same command: the first has no room for a checkpoint, the second none for the
pushed model, the third has room for both.
"""

import argparse
import os
import shutil
import subprocess
import sys

_SETTINGS = ("search.epochs=3", "search.channels=4", "train.epochs=4", "train.channels=8", "train.learning_rate=0.1")


def main() -> None:
    """Runs three times; exit status 1 unless the first two fail with a clear line and the third ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="runs/full_disk", help="folder of the run; emptied first")
    root = parser.parse_args().root
    checkpoints, served = (os.path.join(root, name) for name in ("checkpoints", "serving_model"))
    shutil.rmtree(root, ignore_errors=True)
    try:
        for folder in (checkpoints, served):
            os.makedirs(folder)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
        outcomes = [_run(root)]
        _make_room(checkpoints)
        outcomes.append(_run(root))
        _make_room(served)
        outcomes.append(_run(root))
        pushed = [name for name in os.listdir(served) if not name.startswith(".")]
    finally:
        for folder in (checkpoints, served):
            subprocess.run(["umount", folder], check=False)
    print(f"pushed versions: {pushed}")
    sys.exit(outcomes != [1, 1, 0] or len(pushed) != 1)


def _run(root: str) -> int:
    overrides = [f"--config.{setting}" for setting in (*_SETTINGS, "evaluate.accuracy_threshold=0.3")]
    command = [sys.executable, "-m", "pipeline.local_runner", "--config=pipeline/configs/digits.py", f"--root={root}"]
    done = subprocess.run([*command, *overrides], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    last = done.stderr.strip().splitlines()[-1]
    print(f"exit status {done.returncode}: {last}", flush=True)
    return done.returncode


def _make_room(folder: str) -> None:
    subprocess.run(["mount", "-o", "remount,size=256m", folder], check=True)


if __name__ == "__main__":
    main()
