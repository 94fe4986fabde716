"""What a step needs of memory, what there is, and the batches that follow from both."""

import json
import math
import os
import resource
import subprocess
import sys

import pytest
from PIL import Image

from models import memory, memory_probe
from models.data.dataset_info import DataError
from models.memory import Limit, Need
from models.search_spaces import cell
from models.search_spaces.registry import create_space
from models.settings import Search, Settings
from pipeline import memory_plan
from pipeline.configs import digits, digits_mobile, image_folder
from pipeline.validation import ConfigError
from tests.support.spaces import make_space


def trained(config, **search):
    """A config whose search trains on shared weights."""
    config = config.get_config()
    config.search.update({"objective": "val_accuracy", **search})
    return config


DIGITS = {"batch_size": 64, "cells": 3, "channels": 8}

GB = 10**9


def test_a_line_goes_through_its_points_and_is_never_falling():
    need = memory.line((10, 2 * GB), (30, 4 * GB))
    assert need == Need(1 * GB, 0.1 * GB)
    assert need.at(10) == 2 * GB and need.at(100) == 11 * GB
    assert memory.line((10, 2 * GB), (30, 1 * GB)) == Need(2 * GB, 0.0)


@pytest.mark.parametrize("there,largest", [(4.5, 32), (2.05, 8), (1.75, 7), (1.2, 2), (1.1, 1), (0.5, -5)])
def test_the_largest_batch_fits_and_is_a_multiple_of_eight(there, largest):
    assert Need(1 * GB, 0.1 * GB).largest(there * GB) == largest


def test_any_batch_fits_where_none_costs_anything():
    assert Need(1 * GB, 0.0).largest(2 * GB) >= 10**6


def _tree(path, files):
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


_STATUS = "Name:\tpython\nVmRSS:\t  1000000 kB\n"
_MEMINFO = "MemTotal:       16000000 kB\nMemAvailable:    9000000 kB\nHugePages_Total:       0\n"
_V1, _V2 = "4:cpu:/x\n3:memory:/a/b\n0::/\n", "0::/a/b\n"


@pytest.mark.parametrize(
    "cgroup,files,bytes_,what",
    [
        (_V2, {}, 10_000_000 * 1024, "free on this machine"),
        (
            _V2,
            {"a/memory.max": "max\n", "a/memory.current": "5\n", "a/memory.stat": "anon 5\n"},
            10_000_000 * 1024,
            "free on this machine",
        ),
        (
            _V2,
            {
                "a/b/memory.max": "8000000000\n",
                "a/b/memory.current": "3000000000\n",
                "a/b/memory.stat": "anon 1\nactive_file 300000000\ninactive_file 700000000\n",
            },
            6 * GB + 1_000_000 * 1024,
            "free in this container (cgroup)",
        ),
        (  # the limit of a group further up holds too
            _V2,
            {"a/memory.max": "4000000000\n", "a/memory.current": "2000000000\n", "a/memory.stat": "anon 1\n"},
            2 * GB + 1_000_000 * 1024,
            "free in this container (cgroup)",
        ),
        (  # in a container the mount is the group itself
            _V2,
            {"memory.max": "4000000000\n", "memory.current": "2000000000\n", "memory.stat": "anon 1\n"},
            2 * GB + 1_000_000 * 1024,
            "free in this container (cgroup)",
        ),
        (  # what is held may be charged elsewhere
            _V2,
            {"memory.max": "4000000000\n", "memory.current": "100000000\n", "memory.stat": "anon 1\n"},
            4 * GB,
            "free in this container (cgroup)",
        ),
        (
            _V1,
            {
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.usage_in_bytes": "7\n",
                "memory/memory.stat": "cache 7\n",
                "memory/a/b/memory.limit_in_bytes": "2000000000\n",
                "memory/a/b/memory.usage_in_bytes": "1800000000\n",
                "memory/a/b/memory.stat": "cache 9\ntotal_active_file 0\ntotal_inactive_file 500000000\n",
            },
            700_000_000 + 1_000_000 * 1024,
            "free in this container (cgroup)",
        ),
    ],
    ids=["none", "without a limit", "version 2", "further up", "mount of a container", "held elsewhere", "version 1"],
)
def test_the_tightest_limit_is_found(tmp_path, cgroup, files, bytes_, what):
    _tree(tmp_path / "proc", {"self/status": _STATUS, "meminfo": _MEMINFO, "self/cgroup": cgroup})
    _tree(tmp_path / "cgroup", files)
    assert memory.limit(str(tmp_path / "proc"), str(tmp_path / "cgroup")) == Limit(bytes_, what)


def test_a_limit_of_the_shell_counts(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (123, 456) if which == resource.RLIMIT_DATA else (-1, -1))
    assert memory.limit() == Limit(123.0, "allowed by ulimit")


def test_where_the_kernel_does_not_tell_nothing_is_known(tmp_path):
    assert memory.limit(str(tmp_path)) is None


@pytest.mark.parametrize("config", [digits, digits_mobile], ids=["cell", "mobile"])
@pytest.mark.parametrize("stage", ["search", "train"])
def test_the_demos_are_seen_to_fit_without_a_measurement(config, stage):
    config = trained(config, **DIGITS)
    space = make_space(config.space.to_dict())
    need = memory.most(space, getattr(Settings.parse(config), stage), (8, 8, 1))
    assert need.at(config[stage].batch_size) < 2.5 * GB


@pytest.mark.parametrize(
    "objective,architecture,minutes,stages",
    [
        ("val_accuracy", "", 0.0, ("search", "train")),
        ("spectrum", "", 0.0, ("train",)),
        ("val_accuracy", "mdenas_cifar10", 0.0, ("train",)),
        ("val_accuracy", "", 5.0, ("search",)),
        ("spectrum", "", 5.0, ()),
    ],
)
def test_a_search_that_trains_nothing_and_a_planned_training_have_no_batch_to_fit(
    objective, architecture, minutes, stages
):
    config = digits.get_config()
    config.search.objective, config.architecture, config.budget.minutes = objective, architecture, minutes
    assert memory_plan._stages(config) == stages


def test_nas_bench_201_is_bounded_by_its_three_stages():
    space = make_space({"name": "nasbench201"})
    one, five = (memory.most(space, Search(cells=cells, channels=16), (32, 32, 3)) for cells in (1, 5))
    assert five.per_image == 5 * one.per_image
    # All tensors of a forward program alone, with a convolution on every edge.
    supernet = space.supernet((32, 32, 3), 10, channels=16, cells=1)
    path = {choice.name: "nor_conv_3x3" for choice in space.choices}
    forward = memory_probe.forward_bytes(lambda images: supernet(images, path=path, training=True), (32, 32, 3))
    assert one.per_image > 1.5 * forward


def test_the_bound_is_far_above_what_was_measured():
    settings = Settings.parse(image_folder.get_config())
    space = create_space(settings.space)
    # docs/performance.md, 32 pixels: bytes an image.
    assert memory.most(space, settings.search, (32, 32, 3)).per_image > 3 * 34e6
    assert memory.most(space, settings.train, (32, 32, 3)).per_image > 3 * 66e6


@pytest.mark.parametrize(
    "space",
    [
        {"name": "tests.support.tiny_space"},
        {"name": "cell", "operations": ["skip_connect", "models.networks.operations.SepConv"]},
    ],
)
def test_nothing_is_bounded_with_operations_of_ones_own(space, monkeypatch):
    monkeypatch.setattr(cell, "require_operation", lambda name: None)
    assert memory.most(make_space(space), Search(), (8, 8, 3)) is None


def test_ample_memory_is_seen_without_a_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "limit", lambda: Limit(10 * GB, "free here"))
    monkeypatch.setattr(memory_plan, "_measure", lambda *_: pytest.fail("measured"))
    config = trained(digits, **DIGITS)
    (line,) = memory_plan.fit(config, str(tmp_path), ())
    assert (
        "search in batches of 64: at most 2.1 GB of 10.0 GB free here; train in batches of 64: at most 2.3 GB" in line
    )
    config.architecture = "mdenas_cifar10"
    (line,) = memory_plan.fit(config, str(tmp_path), ())
    assert "search" not in line


def test_decoded_images_count_twice_where_they_are_kept():
    assert memory.decoded_bytes(1000, (32, 32, 3), cache_mb=4) == 2 * 1000 * 32 * 32 * 3
    assert memory.decoded_bytes(2000, (32, 32, 3), cache_mb=4) == 0


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "images" / "train" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (48, 40)).save(tmp_path / "images" / "train" / name / f"{number}.png")
    return str(tmp_path / "images")


@pytest.fixture
def plan(tmp_path, monkeypatch, folder):
    """Plans a run of 100 MB an image where there are 10 GB; `measured` lists the stages that were measured."""
    measured = []

    def measure(stage, config, images, heaviest, there):
        measured.append(stage)
        need = {"fixed": 1 * GB - memory_plan._PIPELINE - images["bytes"], "per_image": 0.1 * GB, "program": 0.0}
        return {"path": {"some": "path"}, "host": need}

    monkeypatch.setattr(memory_plan, "_measure", measure)
    monkeypatch.setattr(memory, "limit", lambda: Limit(10 * GB, "free here"))
    monkeypatch.setattr(memory_plan, "_bound", lambda *_: None)

    def run(root="root", given=(), **settings):
        config = trained(image_folder)
        config.data.image_folder = folder
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in settings.items()})
        (tmp_path / root).mkdir(exist_ok=True)
        lines = list(memory_plan.fit(config, str(tmp_path / root), given))
        return config, lines

    run.measured = measured
    return run


def test_a_batch_that_does_not_fit_is_lowered_and_the_learning_rates_with_it(plan):
    config, lines = plan(search__batch_size=512, search__min_learning_rate=0.001, train__batch_size=48)
    assert config.search.batch_size == 80  # 9 GB but for the reserve: (9 - 1) / 0.1
    assert math.isclose(config.search.learning_rate, 0.025 * 80 / 512)
    assert math.isclose(config.search.min_learning_rate, 0.001 * 80 / 512)
    assert (config.train.batch_size, config.train.learning_rate) == (48, 0.025)
    assert "52.2 GB of 10.0 GB free here, lowered to 80 (9.0 GB; learning rate 0.00391)" in lines[-1]
    assert "train in batches of 48: 5.8 GB of 10.0 GB" in lines[-1]


def test_what_was_given_is_not_changed(plan):
    config, _ = plan(given=("search.learning_rate",), search__learning_rate=0.5, search__min_learning_rate=0.1)
    assert (config.search.learning_rate, config.search.min_learning_rate) == (0.5, 0.1)
    config, _ = plan(root="other", given=("search.min_learning_rate",), search__min_learning_rate=0.02)
    assert (config.search.learning_rate, config.search.min_learning_rate) == (0.02, 0.02)


@pytest.mark.parametrize("stage", ["search", "train"])
def test_a_batch_that_was_given_and_does_not_fit_is_refused_with_the_largest_that_does(plan, stage):
    with pytest.raises(ConfigError, match=rf"--config\.{stage}\.batch_size=80\.") as error:
        plan(given=(f"{stage}.batch_size",), **{"search__batch_size": 64, f"{stage}__batch_size": 512})
    assert f"config.{stage}.batch_size is 512, which needs 52.2 GB" in str(error.value)
    assert "\n" not in str(error.value)


def test_where_no_batch_fits_the_run_is_refused(plan, monkeypatch):
    monkeypatch.setattr(memory, "limit", lambda: Limit(1.2 * GB, "free here"))
    with pytest.raises(ConfigError, match=r"No batch fits: lower config\.data\.image_size"):
        plan()


def test_a_resumed_run_has_the_batches_of_the_first_however_much_is_free(plan, monkeypatch):
    first, _ = plan()
    monkeypatch.setattr(memory, "limit", lambda: Limit(100 * GB, "free here"))
    again, lines = plan()
    assert again.to_dict() == first.to_dict() and again.search.batch_size == 80
    assert plan.measured == ["search", "train"]
    assert len(lines) == 1 and "as decided before" in lines[0]
    other, _ = plan(search__channels=8)
    assert other.search.batch_size == 512


def test_a_refusal_decides_nothing(plan, monkeypatch):
    with pytest.raises(ConfigError):
        plan(given=("search.batch_size",))
    monkeypatch.setattr(memory, "limit", lambda: Limit(100 * GB, "free here"))
    config, _ = plan(given=("search.batch_size",))
    assert config.search.batch_size == 512


def test_a_known_architecture_has_no_search_to_measure(plan):
    plan(architecture="mdenas_cifar10")
    assert plan.measured == ["train"]


def test_every_further_program_of_the_search_counts():
    config = image_folder.get_config()
    measured = {"host": {"fixed": 1.0, "per_image": 2.0, "program": 10.0}, "path": {}}
    kinds = memory_plan._kinds(config, "search", {"bytes": 100}, measured, Limit(1, ""))
    assert kinds == [(Need(1.0 + 7 * 10.0 + 100 + memory_plan._PIPELINE, 2.0), Limit(1, ""))]


def test_a_gpu_has_a_limit_of_its_own():
    need = {"fixed": 1 * GB, "per_image": 0.1 * GB, "program": 0.0}
    measured = {"host": {**need, "per_image": 0.0}, "card": need, "card_bytes": 5 * GB, "path": {}}
    config = image_folder.get_config()
    kinds = memory_plan._kinds(config, "train", {"bytes": 0}, measured, Limit(100 * GB, "free"))
    assert memory_plan._choose("train", 96, kinds, given=False) == 32


def test_memory_that_could_not_be_measured_leaves_the_batches_also_of_the_runs_to_come(plan):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_plan, "_measure", lambda *_: {"error": "it was killed"})
        config, lines = plan()
    assert config.search.batch_size == 512
    assert "search could not be measured (it was killed), its batch stays at 512" in lines[-1]
    assert plan()[0].search.batch_size == 512


def test_where_nothing_is_known_batches_stay(plan, monkeypatch):
    monkeypatch.setattr(memory, "limit", lambda: None)
    config, (line,) = plan()
    assert config.search.batch_size == 512 and "not estimated" in line


def test_the_images_of_a_folder_are_looked_at(folder):
    config = image_folder.get_config()
    config.data.image_folder, config.data.image_size = folder, 0
    images = memory_plan._images(config.data)
    assert (images["shape"], images["classes"]) == ((40, 48, 3), 2)
    encoded = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
    assert images["bytes"] == 2 * 6 * 40 * 48 * 3 + encoded
    config.data.image_size, config.data.channels = 32, 1
    images = memory_plan._images(config.data)
    assert images["shape"] == (32, 32, 1)
    assert images["bytes"] == 3 * 6 * 32 * 32  # decoded twice, and stored
    config.data.store = "original"
    assert memory_plan._images(config.data)["bytes"] == 2 * 6 * 32 * 32 + encoded


def test_data_that_cannot_be_used_are_refused_before_anything_is_measured(folder, plan):
    os.rename(os.path.join(folder, "train"), os.path.join(folder, "test"))
    with pytest.raises(DataError, match="has no directory train/"):
        plan()


def test_the_images_of_a_data_set_are_known_from_tfds():
    images = memory_plan._images(digits.get_config().data)
    assert (images["shape"], images["classes"]) == ((8, 8, 1), 10)


def test_the_child_measures_a_space_of_ones_own():
    config = trained(digits, **DIGITS)
    config.space.name = "tests.support.tiny_space"
    asked = {"stage": "search", "config": config.to_dict(), "image_shape": [32, 32, 3], "classes": 10}
    command = [sys.executable, "-m", "models.memory_probe"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["path"] == dict.fromkeys(("block_0", "block_1", "block_2"), "conv_3x3")
    need = Need(measured["host"]["fixed"], measured["host"]["per_image"])
    assert 0.2 * GB < need.at(64) < 2 * GB
