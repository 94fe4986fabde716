"""Tests of the benchmark of the performance ranking hypothesis."""

import itertools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from benchmarks.search_quality import ranking_hypothesis
from models.architectures import nasbench201
from models.data import dataset
from models.settings import Settings
from tests.support import image_fixtures
from tests.support.spaces import make_space

TINY = "tests.support.tiny_space"
SETTINGS = {"space": TINY, "epochs": 2, "seed": 0}


def noise(count, seed):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, 8, 8, 3), np.uint8)
    labels = random.integers(2, size=count).astype(np.int32)
    ids = np.array([b"%d" % i for i in range(count)])
    return dataset.ImageDataset(pixels, labels, ids, ("cat", "dog"), (0.5,) * 3, (0.25,) * 3)


def trained(first=0):
    search = Settings.parse({"search": {"epochs": 2, "batch_size": 8, "channels": 2, "pad": 1}}).search
    space = make_space({"name": TINY})
    paths = [{f"block_{i}": name for i in range(3)} for name in ("conv_1x1", "conv_3x3")]
    train, val = noise(16, 0), noise(64, 1)
    trainer = ranking_hypothesis.build(space, search, train)
    for record in ranking_hypothesis.run(paths, first, space, search, trainer, train, val, seed=5):
        assert record.pop("seconds") > 0
        yield record


def test_a_run_that_was_cut_off_ends_as_one_that_was_not():
    whole = list(trained())
    assert [list(record["path"].values()) for record in whole] == [["conv_1x1"] * 3, ["conv_3x3"] * 3]
    assert [len(record["val_accuracy"]) for record in whole] == [2, 2]
    keras.utils.set_random_seed(9)
    assert list(trained(first=1)) == whole[1:]


def test_architectures_without_a_way_from_image_to_logits_are_drawn_again():
    space = make_space({"name": "nasbench201", "operations": ("none", "skip_connect")})
    supernet = space.supernet((4, 4, 3), 2, channels=1, cells=1)
    found = ranking_hypothesis.draw(space, supernet, 8, seed=1)
    kept = [path for path in found if any(name != "none" for name in nasbench201.connected(tuple(path.values())))]
    assert kept == found
    assert all(one != other for one, other in itertools.combinations(found, 2))
    assert ranking_hypothesis.draw(space, supernet, 3, seed=1) == found[:3]
    assert ranking_hypothesis.draw(space, supernet, 3, seed=2) != found[:3]


def test_more_architectures_than_the_space_has_are_refused():
    space = make_space({"name": TINY, "operations": ("skip",)})
    supernet = space.supernet((4, 4, 3), 2)
    with pytest.raises(ValueError, match=r"--architectures: found 2; expected at most about 1"):
        ranking_hypothesis.draw(space, supernet, 2, seed=0)


def test_every_epoch_is_compared_with_the_last_one_and_the_table():
    accuracies = np.array([[0.4, 0.2, 0.1], [0.3, 0.1, 0.2], [0.2, 0.3, 0.3], [0.1, 0.4, 0.4]])
    first, second, last = ranking_hypothesis.analyse(accuracies, truth=np.array([70.0, 80.0, 90.0, 60.0]))
    assert [row["epoch"] for row in (first, second, last)] == [1, 2, 3]
    assert first["mean"] == pytest.approx(0.25)
    assert first["last"]["tau"] == -1
    assert first["last"]["p"] == 0
    assert second["last"]["tau"] == pytest.approx(4 / 6)  # 5 pairs in order, 1 not
    assert second["last"]["p"] == pytest.approx(5 / 6)
    assert second["last"]["low"] < 4 / 6 < second["last"]["high"]
    assert last["last"]["tau"] == last["last"]["p"] == 1
    assert [row["table"]["tau"] for row in (first, second, last)] == pytest.approx([0, -2 / 6, 0])
    assert ranking_hypothesis.analyse(accuracies)[0]["table"] is None


def test_table_of_text_and_picture_show_what_there_is():
    accuracies = np.random.default_rng(0).random((6, 3))
    alone, both = ranking_hypothesis.analyse(accuracies), ranking_hypothesis.analyse(accuracies, np.arange(6))
    assert "with the table" not in ranking_hypothesis.render(alone)
    text = ranking_hypothesis.render(both).splitlines()
    assert len(text) == 5
    assert text[-1].split()[:3] == ["3", f"{accuracies[:, 2].mean():.4f}", "|"]
    for epochs, lines in ((alone, 1), (both, 2)):
        figure = ranking_hypothesis.draw_taus(epochs)
        (axes,) = figure.axes
        assert len(axes.collections) == lines
        assert axes.get_xlabel() == "epoch"
        assert "tau" in axes.get_ylabel()
        (legend,) = figure.legends
        assert len(legend.get_texts()) == lines


def test_a_file_of_other_flags_or_of_something_else_is_refused(tmp_path):
    path = tmp_path / "run.json"
    results = ranking_hypothesis.Results(str(path), SETTINGS)
    assert results.records == []
    results.records.append({"path": {"a": "b"}, "val_accuracy": [0.1], "seconds": 1.0})
    results.save()
    assert ranking_hypothesis.Results(str(path), SETTINGS).records == results.records
    with pytest.raises(ValueError, match=r"--epochs: found 3; expected 2, with which .*run.json was begun"):
        ranking_hypothesis.Results(str(path), {**SETTINGS, "epochs": 3})
    for content in ("{", "[]", '{"methods": {}}'):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"run.json is no file of this benchmark"):
            ranking_hypothesis.Results(str(path), SETTINGS)


def test_an_architecture_that_the_table_lacks_is_named(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("edge_0,edge_1,cifar10_val,cifar10_test\na,b,1,60\nb,b,2,70\n")
    paths = [{"edge_1_0": "b", "edge_2_0": "b"}, {"edge_1_0": "a", "edge_2_0": "b"}]
    assert ranking_hypothesis._published(table, "cifar10_test", paths).tolist() == [70, 60]
    with pytest.raises(ValueError, match=r"--table: .*table.csv has no row for the architecture a, c"):
        ranking_hypothesis._published(table, "cifar10_test", [{"edge_1_0": "a", "edge_2_0": "c"}])


def test_the_command_continues_a_run_and_draws_it(tmp_path):
    image_fixtures.write_folder(tmp_path / "images", train=8)
    flags = {"space": TINY, "channels": 2, "cells": 1, "images": str(tmp_path / "images"), "size": 4}
    flags |= {"train_images": 8, "val_images": 8, "epochs": 1, "batch": 4, "learning_rate": 0.1, "pad": 0, "seed": 0}
    path = tmp_path / "run.json"
    first = {"path": {f"block_{i}": "skip" for i in range(3)}, "val_accuracy": [0.5], "seconds": 1.0}
    path.write_text(json.dumps({"settings": flags, "epochs": None, "architectures": [first]}))
    command = [sys.executable, "-m", "benchmarks.search_quality.ranking_hypothesis", "--architectures=2"]
    command += [f"--json={path}", f"--plot={tmp_path / 'run.png'}", *(f"--{key}={flags[key]}" for key in flags)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stderr
    assert "architecture 2 of 2: accuracy" in finished.stdout
    assert "architecture 1 of 2" not in finished.stdout
    assert "with the last epoch" in finished.stdout
    content = json.loads(path.read_text())
    assert content["settings"] == flags
    assert content["architectures"][0] == first
    assert len(content["architectures"]) == 2
    assert content["epochs"][0]["last"]["tau"] in (0, 1)
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
