"""Compares the memory estimate of a run's start with the measured peak of a process that takes the same steps.

    python -m benchmarks.speed.step_memory --sizes=16,32,64 --batches=64,128,256,512 --out=memory.json

For each space and size of images the line through small batches (models/memory_probe.py), and for each batch a process
of its own with three steps of the heaviest architecture. Batches whose estimate is above --limit_gb are not run.
"""

import json
import subprocess
import sys

from absl import app, flags

from models.memory import Need
from pipeline.configs import base, digits_mobile, image_folder

_STAGE = flags.DEFINE_enum("stage", "search", ["search", "train"], "Whose step.")
_SPACES = flags.DEFINE_list("spaces", ["cell", "mobile"], "Search spaces.")
_SIZES = flags.DEFINE_list("sizes", ["16", "32", "64"], "Sides of the images, in pixels.")
_BATCHES = flags.DEFINE_list("batches", ["64", "128", "256", "512"], "Images a step.")
_LIMIT_GB = flags.DEFINE_float("limit_gb", 8.0, "Estimates above it are not put to the test.")
_OUT = flags.DEFINE_string("out", None, "JSON file to write the figures to.")

CLASSES = 10


def request(stage: str, space: str, size: int) -> dict:
    """Returns what `models.memory_probe` takes: the settings of image_folder.py, in one of the spaces."""
    config = image_folder.get_config()
    if space == "mobile":
        config.space.name, config.train.network = "mobile", "mobile"
        base.drop_unused(config)
        if size < 32:  # the released backbone halves the sides five times
            config.space.backbone = digits_mobile.get_config().space.backbone
    return {"stage": stage, "config": config.to_dict(), "image_shape": [size, size, 3], "classes": CLASSES}


def rows(stage: str, space: str, size: int, batches: list[int], limit: float):
    """Yields a row of the table for each batch."""
    asked = request(stage, space, size)
    measured = _probe(asked)
    need = Need(measured["host"]["fixed"], measured["host"]["per_image"])
    for batch in batches:
        row = {"stage": stage, "space": space, "size": size, "batch": batch, "estimate": need.at(batch)}
        if need.at(batch) <= limit:
            row["peak"] = _probe({**asked, "path": measured["path"], "batch": batch})["host"]
            row["error"] = row["estimate"] / row["peak"] - 1
        yield row


def _probe(asked):
    command = [sys.executable, "-m", "models.memory_probe"]
    done = subprocess.run(command, input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(argv):
    del argv
    found = []
    print(f"{'stage':8}{'space':8}{'pixels':>7}{'batch':>7}{'estimate':>11}{'measured':>11}{'error':>8}")
    for space in _SPACES.value:
        for size in map(int, _SIZES.value):
            for row in rows(_STAGE.value, space, size, list(map(int, _BATCHES.value)), _LIMIT_GB.value * 1e9):
                measured = f"{row['peak'] / 1e6:8.0f} MB{row['error']:8.1%}" if "peak" in row else "      not run"
                start = f"{row['stage']:8}{space:8}{size:7}{row['batch']:7}{row['estimate'] / 1e6:8.0f} MB"
                print(start + measured, flush=True)
                found.append(row)
    if _OUT.value:
        with open(_OUT.value, "w") as file:
            json.dump(found, file, indent=2)


if __name__ == "__main__":
    app.run(main)
