"""What does a budget of minutes give, beside a plain CNN that gets the same processor time?

    python -m benchmarks.search_quality.minutes --images=DIR --minutes=10,30 --seeds=3 --json=minutes.json

Each row of the table is a method, a budget and a seed:

- `search`: the whole pipeline with `config.budget.minutes`, without baselines.
- `preset`: the same pipeline with the paper's published cell instead of a search.
- `random`: the same pipeline with a random genotype instead of a search.
- `cnn`: the plain CNN of the baselines. It gets the processor seconds that the whole run of `search` used, from its
  start to its report, for its training alone.
- `pretrained`: the features of a pretrained network with a linear classifier, if `--pretrained` names one. Its time has
  no limit; the seconds are its own.

All methods train on the same images (train + val) and are evaluated on the same test images. `--images` takes a folder
of images (docs/data.md) or the word digits. Prints mean accuracies and the differences to `cnn` with 95 % intervals.

`--json` is written after every row. The same command continues after a kill with the row that was not finished.
"""

import dataclasses
import glob
import json
import os
import resource
import runpy
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags

from benchmarks.search_quality.recipes import ROWS, Trainings, interval
from models.data import dataset
from models.planning import measure
from models.runtime.files import write_atomically
from models.search_spaces.registry import create_space
from models.settings import Data, Settings

METHODS = ("search", "preset", "random", "cnn", "pretrained")
_CNN = "plain"  # a row of recipes.py


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all rows have in common.

    Attributes:
        images: A folder of images, or `digits`.
        config: The pipeline's config.
        size: Height and width to which images are resized in pixels; 0: as they are.
        pretrained: `config.baselines.pretrained`, or "".
        weights: `config.baselines.weights`, or "".
    """

    images: str
    config: str
    size: int
    pretrained: str
    weights: str


class Runs:
    """Runs the pipeline and the plain CNN.

    Args:
        setting: What all rows have in common.
        root: The folder of all runs.
    """

    def __init__(self, setting: Setting, root: str):
        self._setting, self._root = setting, root

    def run(self, method: str, minutes: float, seed: int, search: Mapping[str, Any] | None) -> dict[str, Any]:
        """Returns test accuracy, processor seconds and seconds of a row; the pipeline's rows also tell the model.

        Args:
            method: One of `METHODS`.
            minutes: The budget.
            seed: Of everything random.
            search: The row `search` of this budget and seed; only `cnn` needs it.
        """
        if method == "cnn":
            assert search is not None
            return self._cnn(minutes, seed, search["processor_s"])
        flags_of = {
            "search": (),
            "preset": ("--config.architecture=mdenas_cifar10",),
            "random": (f"--config.architecture={self._random(seed)}",),
            "pretrained": (
                "--config.architecture=mdenas_cifar10",
                "--config.train.epochs=1",
                "--config.baselines.names=()",
                f"--config.baselines.pretrained={self._setting.pretrained}",
                f"--config.baselines.weights={self._setting.weights}",
            ),
        }[method]
        budget = () if method == "pretrained" else (f"--config.budget.minutes={minutes}",)
        summary, used = self._pipeline(self._folder(method, minutes, seed), seed, *budget, *flags_of)
        if method == "pretrained":
            found = summary["baselines"]["pretrained"]
            return {"accuracy": found["test_accuracy"], "processor_s": None, "seconds": found["seconds"]}
        return {
            "accuracy": summary["test_accuracy"],
            "processor_s": used,
            "seconds": summary["budget"]["used_s"],
            "params": summary["params"],
            "stages": summary["budget"]["stages"],
            "genotype": summary["genotype_text"],
        }

    def _folder(self, method: str, minutes: float, seed: int) -> str:
        return os.path.join(self._root, f"{method}_{minutes:g}_{seed}")

    def _pipeline(self, root: str, seed: int, *overrides: str) -> tuple[dict[str, Any], float]:
        """Returns the summary of a run, and the processor seconds of all its processes."""
        shutil.rmtree(root, ignore_errors=True)  # of a killed row, whose processor seconds are not known
        command = [sys.executable, "-m", "pipeline.local_runner", f"--config={self._setting.config}", f"--root={root}"]
        command += [f"--config.seed={seed}", "--config.evaluate.accuracy_threshold=0.0"]
        if self._setting.images != "digits":
            command += [f"--config.data.image_folder={self._setting.images}"]
            command += [f"--config.data.image_size={self._setting.size}"] if self._setting.size else []
        if not any("baselines" in override for override in overrides):
            command += ["--config.baselines.names=()"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(f"{root}.log", "w", encoding="utf-8") as log:
            done = subprocess.run([*command, *overrides], stdout=log, stderr=log, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(f"{root}: the run ended with status {done.returncode}; see {root}.log.")
        with open(os.path.join(root, "summary.json"), encoding="utf-8") as file:
            return json.load(file), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def _random(self, seed: int) -> str:
        """Returns the file of a random genotype of the config's search space."""
        path = os.path.join(self._root, f"random_{seed}.json")
        config = runpy.run_path(self._setting.config)["get_config"]()
        genotype = measure.random_architecture(create_space(Settings.parse(config).space), seed)
        write_atomically(path, json.dumps(genotype.to_dict()))
        return path

    def _cnn(self, minutes: float, seed: int, seconds: float) -> dict[str, Any]:
        """Trains the plain CNN on the examples that `search` ingested."""
        (examples,) = glob.glob(
            os.path.join(self._folder("search", minutes, seed), "artifacts", "TfdsExampleGen", "examples", "*")
        )
        digits = self._setting.images == "digits"
        data = Data(image_size=self._setting.size)
        train, test = (
            dataset.load_examples([os.path.join(examples, f"Split-{split}", "*") for split in splits], data)
            for splits in (("train", "val"), ("test",))
        )
        began = time.monotonic()
        run = Trainings(train, test, min(train.image_shape[:2]), digits).run(ROWS[_CNN], seed, seconds, None)
        return {
            "accuracy": run["accuracy"],
            "processor_s": run["seconds"],
            "seconds": time.monotonic() - began,
            "params": run["params"],
            "epochs": run["epochs"],
        }


def table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the lines of the table.

    Args:
        rows: The results, by `method minutes seed`.
    """
    head = f"{'minutes':>8} {'method':12}{'seeds':>6}{'accuracy':>10}{'cpu s':>8}{'s':>8}{'params':>10}"
    lines = [head + f"{'to cnn':>9}{'+-':>8}"]
    groups: dict[tuple[float, str], dict[str, Mapping[str, Any]]] = {}
    for name, row in rows.items():
        method, minutes, seed = name.split()
        groups.setdefault((float(minutes), method), {})[seed] = row
    for (minutes, method), seeds in sorted(groups.items(), key=lambda item: (item[0][0], METHODS.index(item[0][1]))):

        def mean(key, seeds=seeds):
            values = [row[key] for row in seeds.values() if row.get(key) is not None]
            return statistics.fmean(values) if values else float("nan")

        line = f"{minutes:8g} {method:12}{len(seeds):6d}{mean('accuracy'):10.4f}{mean('processor_s'):8.0f}"
        line += f"{mean('seconds'):8.0f}{mean('params'):10,.0f}"
        cnn = groups.get((minutes, "cnn"), {})
        differences = [seeds[seed]["accuracy"] - cnn[seed]["accuracy"] for seed in seeds if seed in cnn]
        if differences and method != "cnn":
            line += f"{statistics.fmean(differences):+9.4f}{interval(differences):8.4f}"
        lines.append(line)
    return lines


def main(_: Sequence[str]) -> None:
    images = _IMAGES.value if _IMAGES.value == "digits" else os.path.abspath(_IMAGES.value)
    if images != "digits" and not os.path.isdir(images):
        raise app.UsageError(f"--images: there is no folder {images}; expected a folder of images, or digits")
    methods = list(_METHODS.value)
    unknown = sorted(set(methods) - set(METHODS))
    if unknown:
        raise app.UsageError(f"--methods: found {', '.join(unknown)}; expected of {', '.join(METHODS)}")
    if "pretrained" in methods and not _PRETRAINED.value:
        raise app.UsageError("--methods: pretrained needs --pretrained")
    config = _CONFIG.value or f"pipeline/configs/{'digits' if images == 'digits' else 'small_folder'}.py"
    size = 0 if images == "digits" else _SIZE.value
    setting = Setting(images, config, size, _PRETRAINED.value, _WEIGHTS.value)
    content: dict[str, Any] = {"settings": dataclasses.asdict(setting), "rows": {}}
    if os.path.exists(_JSON.value):
        with open(_JSON.value, encoding="utf-8") as file:
            content = json.load(file)
        if content["settings"] != dataclasses.asdict(setting):
            raise app.UsageError(f"--json: {_JSON.value} was begun with other flags; name another file")
    root = os.path.abspath(os.path.splitext(_JSON.value)[0])
    os.makedirs(root, exist_ok=True)
    runs, rows = Runs(setting, root), content["rows"]
    for minutes in map(float, _MINUTES.value):
        for seed in range(_FIRST_SEED.value, _FIRST_SEED.value + _SEEDS.value):
            for method in sorted(methods, key=METHODS.index):
                name = f"{method} {minutes:g} {seed}"
                if name in rows:
                    continue
                rows[name] = runs.run(method, minutes, seed, rows.get(f"search {minutes:g} {seed}"))
                write_atomically(_JSON.value, json.dumps(content, indent=1))
                print(f"{name}: {rows[name]['accuracy']:.4f}, {rows[name]['seconds']:.0f} s", flush=True)
    print(*table(rows), sep="\n")


if __name__ == "__main__":
    _IMAGES = flags.DEFINE_string("images", None, "Folder of images; or digits.", required=True)
    _JSON = flags.DEFINE_string(
        "json", None, "File of the figures; continued if it exists. The runs lie beside it.", required=True
    )
    _CONFIG = flags.DEFINE_string("config", "", "The pipeline's config. Default: small_folder.py, or digits.py.")
    _SIZE = flags.DEFINE_integer("size", 32, "Height and width of the images in pixels; digits stay as they are.")
    _MINUTES = flags.DEFINE_list("minutes", ["10", "30"], "The budgets.")
    _METHODS = flags.DEFINE_list("methods", ["search", "preset", "random", "cnn"], f"Of {', '.join(METHODS)}.")
    _PRETRAINED = flags.DEFINE_string("pretrained", "", "The pretrained network (config.baselines.pretrained).")
    _WEIGHTS = flags.DEFINE_string("weights", "", "Its weights (config.baselines.weights).")
    _SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each method and budget.", lower_bound=1)
    _FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "First seed.", lower_bound=0)
    app.run(main)
