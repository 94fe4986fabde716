"""Runs the real pipeline as a person would, in a process of its own, small enough for a test."""

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

SMALL = (
    "--config.search.epochs=18",
    "--config.derive.source=best",
    "--config.train.epochs=4",
    "--config.train.channels=8",
    "--config.train.learning_rate=0.1",
    "--config.baselines.names=['majority', 'cnn']",
    "--config.baselines.epochs=1",
    "--config.evaluate.accuracy_threshold=0.3",
)


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that ended: its root, exit status, what the terminal showed, and its summary where it wrote one."""

    root: str
    returncode: int
    stdout: str
    stderr: str
    summary: dict[str, Any] | None


def command(
    root, *flags, config="pipeline/configs/digits.py", module="pipeline.local_runner", small=SMALL
) -> list[str]:
    """Returns the command line of a run in `root`; flags replace the settings `small` of the same name."""
    given = {flag.partition("=")[0] for flag in flags}
    kept = [flag for flag in small if flag.partition("=")[0] not in given]  # a tuple that is given twice is joined
    return [sys.executable, "-m", module, f"--config={config}", f"--root={root}", *kept, *flags]


def run(root, *flags, **settings) -> Finished:
    """Runs the command of the same arguments to its end."""
    done = subprocess.run(
        command(root, *flags, **settings), capture_output=True, text=True, timeout=1500, stdin=subprocess.DEVNULL
    )
    summary = None
    if os.path.exists(os.path.join(root, "summary.json")):
        with open(os.path.join(root, "summary.json")) as file:
            summary = json.load(file)
    return Finished(str(root), done.returncode, done.stdout, done.stderr, summary)
