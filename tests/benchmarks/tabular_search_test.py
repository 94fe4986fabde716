import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from absl import app

from benchmarks.search_quality import synthetic_tables, tables, tabular_search
from models.oracle import oracle
from tests.support import paths

TINY = paths.DATA / "tiny_table.csv"
FAST = [method for method in tabular_search.METHODS if method != "bayesian"]


def tiny():
    return tables.load(TINY, "layer_*", "accuracy", ["second", "third"])


def test_table_is_read_with_its_reports_averaged():
    table = tiny()
    assert table.choices == {
        "layer_conv": ("conv 3x3", "conv 5x5", "none"),
        "layer_pool": ("max", "avg"),
        "layer_width": ("16", "32", "64"),
    }
    key = ("conv 5x5", "max", "64")
    assert table.objective[key] == 84.0
    assert table.report[key] == pytest.approx((84.2 + 83.6) / 2)
    assert len(table.objective) == 18


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices": "block_*"}, "no column matches"),
        ({"objective": "acc"}, "'acc'"),
        ({"report": ["second", "fourth"]}, "'fourth'"),
        ({"objective": "layer_conv"}, "line 2.*'conv 3x3'"),
        ({"choices": "layer_conv"}, "line 3.*second time"),
    ],
)
def test_wrong_table_is_refused(change, message):
    arguments = {"path": TINY, "choices": "layer_*", "objective": "accuracy", "report": ["second"], **change}
    with pytest.raises(ValueError, match=message):
        tables.load(**arguments)


@pytest.mark.parametrize("method", FAST)
def test_search_is_repeatable_and_reports_what_was_looked_up(method):
    table = tiny()
    early, result = tabular_search.search(table, method, evaluations=[10, 18], noise=0.1, seed=2)
    (again,) = tabular_search.search(table, method, evaluations=[18], noise=0.1, seed=2)
    assert {**result, "seconds": 0} == {**again, "seconds": 0}
    assert early["seconds"] < result["seconds"]
    assert result["best"] in table.report.values()
    assert (result["argmax"] is None) == (method in ("random", "evolution"))
    assert result["argmax"] is None or result["argmax"] in table.report.values()


@pytest.mark.parametrize("method", FAST)
def test_noise_free_search_of_a_tiny_table_comes_near_its_best(method):
    table = tiny()
    results = [tabular_search.search(table, method, evaluations=[40], noise=0.0, seed=seed)[0] for seed in range(4)]
    assert np.mean([result["best"] for result in results]) > table.best - 0.5


def test_noise_makes_the_best_evaluated_worse():
    table = tiny()
    calm, noisy = (
        np.mean([tabular_search.search(table, "random", [12], noise, seed)[0]["best"] for seed in range(20)])
        for noise in (0.0, 5.0)
    )
    assert noisy < calm - 0.3


@pytest.mark.parametrize(
    ("trend", "expected"),
    # Of 4 evaluations, in deviations: by half of it, 1 - exp(-2.5), and so on.
    [(("rise", 2.0), [1.4270, 1.8358, 1.9530, 1.9865]), (("fall", 3.0), [-0.0117, -0.1875, -0.9492, -3.0])],
)
def test_trend_is_added_to_what_is_evaluated(trend, expected, monkeypatch):
    table = tiny()
    told = []
    update = oracle.MultinomialOracle.update_trial

    def recorded(self, trial_id, metrics, step=0):
        key = tabular_search._key(table, self.trials[trial_id].hyperparameters)
        told.append((metrics["metric"] - table.objective[key]) / table.deviation)
        return update(self, trial_id, metrics, step)

    monkeypatch.setattr(oracle.MultinomialOracle, "update_trial", recorded)
    tabular_search.search(table, "elite", evaluations=[2, 4], noise=0.0, seed=1, trend=trend)
    np.testing.assert_allclose(told, expected, atol=1e-4)


def test_deviation_is_not_widened_by_broken_architectures():
    values = {(str(number),): float(number) for number in range(99)}
    assert tables.Table({}, values, values).deviation == pytest.approx(1.4826 * 25)
    broken = {**values, ("broken",): -1e6}
    assert tables.Table({}, broken, broken).deviation == pytest.approx(1.4826 * 25, rel=0.05)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("interactions:trend", "interactions:trend: found 'trend', needed is OPTION=VALUE"),
        ("interactions:trends=True", "trends"),
        ("elite:eta=-1", "eta of the rule 'elite': found -1"),
        ("gp:trend=True", "gp:trend=True: only update rules have options"),
    ],
)
def test_wrong_option_of_a_rule_is_refused(method, message):
    with pytest.raises((TypeError, ValueError), match=message):
        tabular_search._rule(method)


def test_option_of_a_rule_reaches_it():
    method = "interactions:trend=True:floor=0.1"
    rule = tabular_search._oracle(method, tiny(), 10, 0)._multinomial.rule
    assert (rule.name, rule.trend, rule.floor) == ("interactions", True, 0.1)
    assert not tabular_search._oracle("interactions", tiny(), 10, 0)._multinomial.rule.trend


@pytest.mark.parametrize("trend", ["rise", "up:5", "fall:", "fall:nan", "fall:much"])
def test_wrong_trend_is_refused(trend):
    with pytest.raises(app.UsageError, match=f"--trend: found '{trend}', needed is rise or fall"):
        tabular_search._trend(trend)


def test_architecture_that_is_not_in_the_table_is_a_failed_trial():
    table = tiny()
    for key in list(table.objective):
        if key[0] == "none":
            del table.objective[key], table.report[key]
    (result,) = tabular_search.search(table, "main_effects", evaluations=[60], noise=0.0, seed=0)
    assert result["best"] == table.best
    assert result["argmax"] in table.report.values()


def test_summary_relates_regret_to_random_search():
    results = {
        "random": [{"argmax": None, "best": 90.0, "seconds": 1.0}, {"argmax": None, "best": 92.0, "seconds": 3.0}],
        "paper": [{"argmax": 89.0, "best": 94.5, "seconds": 1.0}, {"argmax": 91.0, "best": 94.5, "seconds": 1.0}],
    }
    summary = tabular_search.summarize(results, best=95.0)
    assert summary["random"]["argmax"] is None
    assert summary["random"]["best"] == {"mean": 91.0, "sd": pytest.approx(2**0.5), "regret": 4.0, "ratio": 1.0}
    assert summary["random"]["seconds"] == 2.0
    assert summary["paper"]["argmax"] == {"mean": 90.0, "sd": pytest.approx(2**0.5), "regret": 5.0, "ratio": 1.25}
    assert summary["paper"]["best"] == {"mean": 94.5, "sd": 0.0, "regret": 0.5, "ratio": 0.125}
    text = tabular_search.render(summary)
    assert "1.25" in text and "0.5000" in text


def test_several_tables_give_the_means_of_their_figures(tmp_path):
    def summary(best, seconds, ratio):
        return {"paper": {"argmax": None, "best": {"mean": best, "ratio": ratio}, "seconds": seconds, "seeds": 2}}

    mean = tabular_search.average([summary(90.0, 1.0, 0.5), summary(92.0, 3.0, None)])
    assert mean == {"paper": {"argmax": None, "best": {"mean": 91.0, "ratio": None}, "seconds": 2.0, "seeds": 2}}
    other, figures = tmp_path / "other.csv", tmp_path / "figures.json"
    header, *rows = TINY.read_text().splitlines()
    # The same architectures, all a percent worse: the same regrets, so the same ratios.
    columns = header.split(",")
    worse = [
        ",".join(
            value if name.startswith("layer_") else str(float(value) - 1.0)
            for name, value in zip(columns, row.split(","), strict=True)
        )
        for row in rows
    ]
    other.write_text("\n".join([header, *worse]))
    command = [
        sys.executable,
        "-m",
        "benchmarks.search_quality.tabular_search",
        "--choices=layer_*",
        "--objective=accuracy",
    ]
    command += ["--report=second,third", "--evaluations=8", "--seeds=2", "--methods=elite", "--processes=1"]
    found = []
    for listed in (TINY, f"{TINY},{other}"):
        subprocess.run(
            [*command, f"--table={listed}", f"--json={figures}"], check=True, capture_output=True, timeout=300
        )
        found.append(json.loads(figures.read_text())["methods"]["elite"]["best"])
    assert found[1]["ratio"] == pytest.approx(found[0]["ratio"])
    assert found[1]["mean"] == pytest.approx(found[0]["mean"] - 0.5)


def test_command_prints_the_methods_and_writes_the_figures(tmp_path):
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.search_quality.tabular_search", f"--table={TINY}", "--choices=layer_*"]
    command += ["--objective=accuracy", "--report=second,third", "--evaluations=4,8", "--seeds=3", "--slow_seeds=1"]
    command += ["--noise=0.1", "--methods=paper,bayesian", "--processes=1", f"--json={figures}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    written = json.loads(figures.read_text())
    methods = written["methods"]
    assert list(written["evaluations"]) == ["4", "8"]
    assert written["evaluations"]["8"]["methods"] == methods != written["evaluations"]["4"]["methods"]
    assert list(methods) == ["random", "paper", "bayesian"]
    assert all(f"\n{method}" in output for method in methods)
    assert set(methods["paper"]["argmax"]) == set(methods["paper"]["best"]) == {"mean", "sd", "regret", "ratio"}
    assert methods["bayesian"]["argmax"] is None
    assert [methods[method]["seeds"] for method in methods] == [3, 3, 1]


def test_command_names_a_table_that_cannot_be_read(tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmarks.search_quality.tabular_search",
        f"--table={tmp_path / 'none.csv'}",
        "--choices=layer_*",
    ]
    finished = subprocess.run([*command, "--objective=a", "--report=b"], capture_output=True, text=True, timeout=120)
    assert finished.returncode != 0
    assert "none.csv" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("kind", synthetic_tables.KINDS)
def test_synthetic_table_is_repeatable_and_more_than_main_effects(kind, tmp_path):
    paths = [tmp_path / "first.csv", tmp_path / "second.csv"]
    for path in paths:
        synthetic_tables.write(kind, 5, str(path))
    assert paths[0].read_text() == paths[1].read_text()
    table = tables.load(paths[0], "choice_*", "seed_0", ["seed_1", "seed_2"])
    keys, values = list(table.report), np.array(list(table.report.values()))
    assert len(keys) == np.prod([len(operations) for operations in table.choices.values()])
    columns = [[key[i] == op for key in keys] for i, ops in enumerate(table.choices.values()) for op in ops]
    design = np.array(columns, float).T
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    assert 1 - ((values - fitted) ** 2).mean() / values.var() < 0.75
    with open(paths[0]) as file:
        assert next(csv.reader(file))[-3:] == ["seed_0", "seed_1", "seed_2"]
