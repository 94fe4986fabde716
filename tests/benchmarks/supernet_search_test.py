"""Tests of the searches in NAS-Bench-201's space: what is printed of them, and that they can be continued."""

import itertools
import json
import subprocess
import sys
import types

import numpy as np
import pytest
from absl import app
from tensorflow.python.framework import config as tensorflow_config

from benchmarks.search_quality import supernet_search
from models.architectures.nasbench201 import OPERATIONS
from models.search import spectrum
from tests.support import image_fixtures

PUBLISHED = {("a", "a"): 10.0, ("a", "b"): 20.0, ("b", "a"): 20.0, ("b", "b"): 90.0}
WORST, MIDDLE, BEST = ({"x": x, "y": y} for x, y in ("aa", "ba", "bb"))


def search(argmax, best, seconds=1.0, tau=None):
    return {"argmax": argmax, "best": best, "seconds": seconds, "tau": tau}


def test_the_percentile_is_the_share_of_worse_architectures():
    found = [supernet_search.percentile(path, PUBLISHED) for path in (WORST, MIDDLE, BEST)]
    assert found == [0.0, 25.0, 75.0]


def test_the_summary_has_middle_and_worst_of_all_seeds():
    searches = [search(BEST, None, 2.0, 0.5), search(MIDDLE, None, 4.0, 0.1), search(BEST, None, 6.0)]
    found = supernet_search.summarize(searches, PUBLISHED)
    assert found["best"] is None
    argmax = found["argmax"]
    assert argmax["percentiles"] == [75.0, 25.0, 75.0]
    assert (argmax["median"], argmax["worst"]) == (75.0, 25.0)
    assert argmax["mean"] == pytest.approx(175 / 3) and argmax["accuracy"] == pytest.approx(200 / 3)
    low, high = argmax["interval"]
    assert 25 <= low < 175 / 3 < high <= 75
    assert (found["seconds"], found["tau"]) == (4.0, pytest.approx(0.3))
    sure = supernet_search.summarize([search(None, BEST), search(None, BEST)], PUBLISHED)
    assert sure["argmax"] is None and sure["tau"] is None
    assert sure["best"]["interval"] == [75.0, 75.0]
    # The best of one seed is not known: no figure of fewer seeds than there are.
    assert supernet_search.summarize([search(BEST, BEST), search(BEST, None)], PUBLISHED)["best"] is None


def test_the_table_has_a_line_a_method_of_equal_width():
    rows = {
        "random": supernet_search.summarize([search(MIDDLE, None, 0.4)] * 2, PUBLISHED),
        "interactions:trend=True": supernet_search.summarize([search(BEST, MIDDLE, 61.0, -0.25)], PUBLISHED),
    }
    *head, first, second = supernet_search.render(rows).splitlines()
    assert len({len(line) for line in (head[1], first, second)}) == 1
    assert [len(cell) for cell in head[0].split("|")][:3] == [len(cell) for cell in first.split("|")][:3]
    cells = [[cell.split() for cell in line.split("|")] for line in (first, second)]
    assert cells[0] == [
        ["random"],
        ["25.0", "25.0", "25.0", "25.0", "to", "25.0", "20.00"],
        ["-"],
        ["0", "-"],
    ]
    assert cells[1] == [
        ["interactions:trend=True"],
        ["75.0", "75.0", "75.0", "75.0", "to", "75.0", "90.00"],
        ["25.0", "25.0", "25.0", "25.0", "to", "25.0", "20.00"],
        ["61", "-0.25"],
    ]


@pytest.fixture
def given(monkeypatch, tmp_path):
    """Sets flags of the command, which only the command itself declares."""

    def give(**values):
        for name, value in values.items():
            monkeypatch.setattr(supernet_search, f"_{name.upper()}", types.SimpleNamespace(value=value), raising=False)

    for threads in ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads"):
        monkeypatch.setattr(supernet_search.tf.config.threading, threads, lambda number: None)
    monkeypatch.setattr(supernet_search, "_published", lambda: PUBLISHED)
    monkeypatch.setattr(supernet_search, "_DECISIVE", ("size",))
    flags = types.SimpleNamespace(FLAGS={"size": types.SimpleNamespace(value=16)})
    monkeypatch.setattr(supernet_search, "flags", flags)
    give(threads=1, json=str(tmp_path / "found.json"), methods=["random", "paper"], first_seed=0, seeds=2)
    give.flags = flags.FLAGS
    return give


@pytest.fixture
def ran(monkeypatch):
    """The searches that were run, as method and seed."""
    found = []

    class Bench:
        def __init__(self, seed):
            self.seed = seed

        def run(self, method):
            found.append((method, self.seed))
            if method == "elite":
                raise KeyboardInterrupt
            return search(BEST if self.seed else MIDDLE, None)

    monkeypatch.setattr(supernet_search, "Bench", Bench)
    return found


def test_the_file_of_figures_is_continued(given, ran, tmp_path, capsys):
    supernet_search.main([])
    assert ran == [("random", 0), ("random", 1), ("paper", 0), ("paper", 1)]
    ran.clear()
    given(methods=["elite", "random"], seeds=3)
    with pytest.raises(KeyboardInterrupt):
        supernet_search.main([])
    given(methods=["random"])
    capsys.readouterr()
    supernet_search.main([])
    assert ran == [("elite", 0), ("random", 2)]
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["settings"] == {"size": 16}
    assert set(written["searches"]["random"]) == {"0", "1", "2"} and written["searches"]["random"]["0"]["argmax"]
    assert written["methods"]["random"]["argmax"]["percentiles"] == [25.0, 75.0, 75.0]
    shown = capsys.readouterr().out
    assert "random seed 2 {'argmax': '75.0'}" in shown and "seed 0" not in shown
    # Methods of earlier calls are in the table too, those without a search are not.
    assert [line.split()[0] for line in shown.splitlines()[-2:]] == ["random", "paper"]


def test_the_file_of_other_flags_is_not_continued(given, ran):
    supernet_search.main([])
    given.flags["size"].value = 32
    with pytest.raises(app.UsageError, match=r"--json: .*found\.json was begun with other flags"):
        supernet_search.main([])
    assert len(ran) == 4


@pytest.mark.parametrize(
    "method", ["papr", "spectrum", "spectrum:", "spectrum:random", "naswot:2", "paper:alpha", "elite:etta=1", ""]
)
def test_a_method_that_is_not_there_is_refused_before_any_search(given, ran, method):
    given(methods=["random", method])
    with pytest.raises(app.UsageError, match=f"--methods: found '{method}'"):
        supernet_search.main([])
    assert not ran


def test_every_method_of_the_documentation_is_known(given, ran):
    methods = ["default", "spectrum:paper", "interactions", "uniform", "evolution", "naswot", "synflow", "naswot_final"]
    methods += ["synflow_final", "params", "macs", "random", "interactions:trend=True", "spectrum:elite:eta=0.1"]
    given(methods=methods, seeds=1)
    supernet_search.main([])
    assert [method for method, _ in ran] == methods


def test_searches_recommend_architectures_of_the_table(given, tmp_path, monkeypatch):
    table = {key: float(len(set(key))) for key in itertools.product(OPERATIONS, repeat=6)}
    monkeypatch.setattr(supernet_search, "_published", lambda: table)
    monkeypatch.setattr(spectrum, "REFERENCE", 4)
    image_fixtures.write_folder(tmp_path / "images", train=20, test=1, size=(4, 4))
    given(images=str(tmp_path / "images"), size=4, train_images=24, val_images=8, channels=2, cells=1, final_cells=1)
    given(epochs=2, batch=8, rate=0.01, pad=1, scores=3, seconds=0.01, tau=0)
    try:
        bench = supernet_search.Bench(0)
        found = {method: bench.run(method) for method in ("default", "random", "naswot_final")}
        again = bench.run("random")
    finally:
        tensorflow_config.disable_op_determinism()
    for method, one in found.items():
        assert tuple(one["argmax"].values()) in table, method
        assert list(one["argmax"]) == [choice.name for choice in bench.space.choices]
        assert (one["best"] is None) == (method in ("random", "naswot_final"))
        assert one["seconds"] >= 0 and one["tau"] is None
    assert found["random"]["argmax"] == again["argmax"]
    assert np.isfinite(supernet_search.summarize([found["default"]], table)["best"]["mean"])


def test_command_names_a_wrong_method(tmp_path):
    command = [sys.executable, "-m", "benchmarks.search_quality.supernet_search", "--images=a", "--table=b"]
    finished = subprocess.run(
        [*command, f"--json={tmp_path / 'c.json'}", "--methods=papr"], capture_output=True, text=True, timeout=300
    )
    assert finished.returncode != 0
    assert "--methods: found 'papr'" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
