"""Measures a latency table in a process of its own, in which nothing has set TensorFlow's threads yet.

    python -m models.costs.table_process < request.json

The request has the arguments of `table_measurement.measure` as JSON, the sections `space` and `train` included. Every
measurement is a line of the output. `measure_elsewhere` starts the process.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from models.runtime import progress
from models.settings import Space, Train

_EVERY = 5.0  # seconds between two lines of progress at least


def measure_elsewhere(
    path: str,
    space: Space,
    train: Train,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    backend: str,
    threads: int,
    seed: int,
) -> None:
    """Measures a table and writes it, or continues an earlier measurement, in a process of its own.

    Args:
        path: The file of the table; its folder exists.
        space: `config.space`.
        train: `config.train`, which sizes the final network.
        image_shape: (height, width, channels) of an image.
        classes: Number of classes.
        backend: One of `runtimes.BACKENDS`.
        threads: The threads of the runtime.
        seed: Decides which whole networks are measured.

    Raises:
        RuntimeError: The process failed. Its message is in the log.
    """
    request = {
        "path": path,
        "space": space.model_dump(mode="json"),
        # The auxiliary head is for the training alone.
        "train": train.model_dump(mode="json") | {"auxiliary_weight": 0.0},
        "image_shape": image_shape,
        "classes": classes,
        "options": {"backend": backend, "threads": threads, "seed": seed},
    }
    shown = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "models.costs.table_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    ) as process:
        assert process.stdin and process.stdout
        try:
            with process.stdin:
                process.stdin.write(json.dumps(request))
            for line in process.stdout:
                if time.monotonic() - shown >= _EVERY:
                    shown = time.monotonic()
                    progress.say(f"latency table {line.rstrip()}")
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise RuntimeError(
            f"The process that measures the latency table ended with status {process.returncode}. Its message is in "
            "the log. The same command continues the measurement."
        )


def main(request: dict[str, Any]) -> None:
    """Measures the table of a request in this process."""
    from models.costs import runtimes, table_measurement
    from models.search_spaces.registry import create_space

    options = request["options"]
    runtimes.set_threads(options["threads"])
    table_measurement.measure(
        request["path"],
        create_space(Space.parse(request["space"], "space")),
        Train.parse(request["train"], "train"),
        tuple(request["image_shape"]),
        request["classes"],
        **options,
        say=lambda line: print(line, flush=True),
    )


if __name__ == "__main__":
    main(json.load(sys.stdin))
