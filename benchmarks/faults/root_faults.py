"""Does to a root, and to the data of a run, what people do to them between two runs; shows how the second run ends.

    .venv/bin/python -m benchmarks.faults.root_faults --directory=runs/root_faults

Whole runs on a small folder of coloured pictures, about a minute each. Prints a line a case: its exit status, its
seconds, what it warned of, and whether all is as docs/reliability.md says.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

_SETTINGS = (
    "data.image_size=8",
    "search.epochs=2",
    "search.batch_size=16",
    "search.cells=3",
    "search.channels=4",
    "search.pad=1",
    "space.operations=('skip_connect', 'max_pool_3x3')",
    "train.epochs=4",
    "train.batch_size=16",
    "train.cells=3",
    "train.channels=8",
    "train.pad=1",
    "train.cutout=0",
    "train.learning_rate=0.1",
    "train.auxiliary_weight=0.0",
)
_COLOURS = {"green": (30, 200, 30), "red": (200, 30, 30), "blue": (30, 30, 200), "yellow": (200, 200, 30)}
_CLASSES = ("blue", "green", "red")


class _Case:
    """A root with a finished run in it, and the folder of images it was made from."""

    def __init__(self, directory: str):
        self.directory = directory
        self.root = os.path.join(directory, "root")
        self.images = os.path.join(directory, "images")

    def path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    def run(self) -> tuple[int, list[str], float]:
        """Returns exit status, warnings and errors, and seconds."""
        began = time.monotonic()
        command = [sys.executable, "-m", "pipeline.local_runner", "--config=pipeline/configs/image_folder.py"]
        overrides = [f"--config.{setting}" for setting in (*_SETTINGS, f"data.image_folder={self.images}")]
        done = subprocess.run([*command, f"--root={self.root}", *overrides], capture_output=True, text=True)
        self.lines = done.stderr.splitlines()
        told = [
            line for line in self.lines if line.startswith(("WARNING", "ERROR", "search: resumed", "train: resumed"))
        ]
        return done.returncode, told, time.monotonic() - began

    def summary(self) -> dict:
        with open(self.path("summary.json")) as file:
            return json.load(file)

    def before_the_search(self, text: str) -> bool:
        """Whether a line with this text comes before the search's."""
        at = [number for number, line in enumerate(self.lines) if text in line]
        search = [number for number, line in enumerate(self.lines) if "SupernetSearch ..." in line]
        return bool(at and search) and at[0] < search[0]


def _write_class(folder: str, name: str, colour: str) -> None:
    for seed, (split, count) in enumerate((("train", 24), ("test", 16))):
        os.makedirs(os.path.join(folder, split, name))
        for number in range(count):
            noise = np.random.default_rng((seed, number, *_COLOURS[colour])).integers(-30, 30, (8, 8, 3))
            pixels = np.clip(np.array(_COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(os.path.join(folder, split, name, f"{split}{number}.png"))


def _each_split(case: _Case, change: Callable[[str], None]) -> None:
    for split in ("train", "test"):
        change(os.path.join(case.images, split))


def _versions(case: _Case) -> list[str]:
    return sorted(name for name in os.listdir(case.path("serving_model")) if not name.startswith("."))


def _unchanged(case: _Case) -> Callable[[], bool]:
    (version,) = _versions(case)
    return lambda: _versions(case) == [version] and case.summary()["serving_model"] == case.path(
        "serving_model", version
    )


def _foreign_versions(case: _Case) -> Callable[[], bool]:
    versions = _versions(case)
    foreign = ["7", str(int(time.time()) + 10**6), "notes"]
    for name in foreign:
        os.makedirs(case.path("serving_model", name))
        with open(case.path("serving_model", name, "saved_model.pb"), "w") as file:
            file.write("a person's")
    _each_split(case, lambda split: os.rename(os.path.join(split, "red"), os.path.join(split, "rot")))  # a new model

    def ends() -> bool:
        new = set(_versions(case)) - set(versions) - set(foreign)
        kept = all(os.listdir(case.path("serving_model", name)) == ["saved_model.pb"] for name in foreign)
        return kept and {int(name) for name in new} == {max(int(foreign[1]), *map(int, versions)) + 1}

    return ends


def _renamed_class(case: _Case) -> Callable[[], bool]:
    _each_split(case, lambda split: os.rename(os.path.join(split, "red"), os.path.join(split, "crimson")))
    return lambda: case.before_the_search("new is 'crimson'; gone is 'red'") and _blessed_without_baseline(case)


def _permuted_classes(case: _Case) -> Callable[[], bool]:
    def swap(split: str) -> None:
        for old, new in (("blue", "x"), ("red", "blue"), ("x", "red")):
            os.rename(os.path.join(split, old), os.path.join(split, new))

    _each_split(case, swap)  # the same names for other pictures: comparable, and far worse for the old model
    return lambda: case.summary()["comparison"]["baseline_accuracy"] < 0.5 and case.summary()["blessed"]


def _added_class(case: _Case) -> Callable[[], bool]:
    _write_class(case.images, "yellow", "yellow")
    return lambda: case.before_the_search("new is 'yellow'.") and _blessed_without_baseline(case)


def _removed_class(case: _Case) -> Callable[[], bool]:
    _each_split(case, lambda split: shutil.rmtree(os.path.join(split, "red")))
    return lambda: case.before_the_search("gone is 'red'.") and _blessed_without_baseline(case)


def _blessed_without_baseline(case: _Case) -> bool:
    summary = case.summary()
    return summary["blessed"] and summary["comparison"]["baseline_accuracy"] is None and len(_versions(case)) == 2


def _deleted(*names: str) -> Callable[[_Case], Callable[[], bool]]:
    def delete(case: _Case) -> Callable[[], bool]:
        shutil.rmtree(case.path("artifacts", *names))
        return lambda: case.before_the_search("Files are missing") and case.summary()["blessed"]

    return delete


def _deleted_model(case: _Case) -> Callable[[], bool]:
    (model,) = os.listdir(case.path("artifacts", "Trainer", "model"))
    shutil.rmtree(case.path("artifacts", "Trainer", "model", model, "Format-Serving"))
    return lambda: (
        case.before_the_search(f"Trainer/model/{model}")
        and "SupernetSearch" in case.summary()["cached"]
        and "Trainer" not in case.summary()["cached"]
        and case.summary()["blessed"]
    )


def _deleted_examples(case: _Case) -> Callable[[], bool]:
    for folder, _, names in os.walk(case.path("artifacts", "TfdsExampleGen")):
        for name in names:
            if name.endswith(".gz"):
                os.remove(os.path.join(folder, name))
    return lambda: case.before_the_search("TfdsExampleGen/examples") and case.summary()["blessed"]


def _moved(case: _Case) -> Callable[[], bool]:
    old, case.root = case.root, os.path.join(case.directory, "moved ünd $renamed")
    os.rename(old, case.root)
    return lambda: not os.path.exists(old) and _used_its_own(case, old)


def _copied(case: _Case) -> Callable[[], bool]:
    old, case.root = case.root, os.path.join(case.directory, "copy")
    shutil.copytree(old, case.root)
    before = _listing(old)
    return lambda: _listing(old) == before and _used_its_own(case, old)


def _used_its_own(case: _Case, old: str) -> bool:
    summary = case.summary()
    named = json.dumps(summary)
    return (
        any(line.startswith("search: resumed after epoch 2 of 2") for line in case.lines)
        and any(line.startswith("train: resumed after epoch") for line in case.lines)
        and "TfdsExampleGen" in summary["cached"]
        and f'"{old}/' not in named
        and summary["comparison"]["baseline_accuracy"] is not None
    )


def _listing(root: str) -> list[tuple[str, float]]:
    return sorted(
        (path, os.stat(path).st_mtime)
        for folder, _, names in os.walk(root)
        for path in (os.path.join(folder, name) for name in names)
    )


def _without_metadata(case: _Case) -> Callable[[], bool]:
    os.remove(case.path("metadata.sqlite"))

    def rest() -> list[tuple[str, float]]:
        return [entry for entry in _listing(case.root) if not entry[0].endswith(("pipeline.log", ".lock"))]

    before = rest()
    return lambda: len(case.lines) == 1 and "metadata.sqlite is gone" in case.lines[0] and rest() == before


_CASES = {
    "nothing changed": (_unchanged, 0),
    "a person's versions in serving_model": (_foreign_versions, 0),
    "a class renamed": (_renamed_class, 0),
    "two classes' folders swapped": (_permuted_classes, 0),
    "a class added": (_added_class, 0),
    "a class removed": (_removed_class, 0),
    "artifacts deleted": (_deleted(), 0),
    "artifacts/Trainer deleted": (_deleted("Trainer"), 0),
    "the model's Format-Serving deleted": (_deleted_model, 0),
    "the examples' *.gz deleted": (_deleted_examples, 0),
    "root moved": (_moved, 0),
    "root copied": (_copied, 0),
    "metadata.sqlite deleted": (_without_metadata, 1),
}


def main() -> None:
    """Runs the cases; exit status 1 unless each ends as it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", default="runs/root_faults", help="emptied first")
    parser.add_argument("--only", action="append", choices=_CASES, help="a case; may be given several times")
    flags = parser.parse_args()
    directory = os.path.abspath(flags.directory)
    shutil.rmtree(directory, ignore_errors=True)
    case = _Case(os.path.join(directory, "case"))
    for name in _CLASSES:
        _write_class(case.images, name, name)
    status, told, seconds = case.run()
    print(f"first run: exit status {status}, {seconds:.0f} s, {told}", flush=True)
    good = status == 0
    kept = os.path.join(directory, "kept")
    os.rename(case.directory, kept) if good else sys.exit(1)
    for name in flags.only or _CASES:
        prepare, expected = _CASES[name]
        # The first run's paths are absolute: each case starts where that one was.
        shutil.rmtree(case.directory, ignore_errors=True)
        shutil.copytree(kept, case.directory)
        case.root = os.path.join(case.directory, "root")
        ends_well = prepare(case)
        status, told, seconds = case.run()
        well = status == expected and ends_well()
        good &= well
        print(f"{'ok ' if well else 'BAD'} {name}: exit status {status}, {seconds:.0f} s", *told, sep="\n      ")
        sys.stdout.flush()
    sys.exit(not good)


if __name__ == "__main__":
    main()
