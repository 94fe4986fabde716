"""A whole run with a budget: killed and resumed it keeps its plan, and its settings alone repeat it to the bit."""

import glob
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from benchmarks.faults import chaos
from pipeline import budget
from tests.support import html_page, pipeline_runs

# Much time, so that a slow machine plans the same; what would make the run long is kept.
FLAGS = (
    "--config.budget.minutes=600",
    "--config.train.cells=3",
    "--config.train.cutout=0",
)


@pytest.fixture(scope="module")
def killed_twice(tmp_path_factory) -> pipeline_runs.Finished:
    """A run that is killed in its search and, after it was resumed, in its training."""
    root = str(tmp_path_factory.mktemp("budget") / "root")
    for line_before_the_kill in (r"search +2/18", r"train +1/4"):
        process = subprocess.Popen(
            pipeline_runs.command(root, *FLAGS), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        shown = []
        for line in process.stderr:
            shown.append(line)
            if re.match(line_before_the_kill, line):
                break
        process.send_signal(signal.SIGKILL)
        process.stderr.close()
        assert process.wait() == -signal.SIGKILL, "".join(shown)
    return pipeline_runs.run(root, *FLAGS)


def plans(root, planner) -> list[dict]:
    found = []
    for path in glob.glob(os.path.join(root, "artifacts", planner, "plan", "*", "plan.json")):
        with open(path) as file:
            found.append(json.load(file))
    return found


@pytest.mark.timeout(3600)
def test_a_killed_run_keeps_its_plan_and_accounts_for_its_seconds(killed_twice):
    assert killed_twice.returncode == 0, killed_twice.stderr
    root, summary = killed_twice.root, killed_twice.summary
    assert {"SearchPlanner", "TrainingPlanner"} <= set(summary["cached"])
    (first,), (corrected,) = plans(root, "SearchPlanner"), plans(root, "TrainingPlanner")
    # What the command line gave is kept; the rest of the training is planned.
    assert set(first["choices"]) == {
        *("train.batch_size", "train.warmup_epochs", "train.drop_path", "train.label_smoothing")
    }
    assert summary["search_epochs"] == 18
    account = summary["budget"]
    assert account["minutes"] == 600 and account["used_s"] > 0
    assert account["planned_s"] == pytest.approx(600 * 60 - first["seconds"]["reserve"], abs=0.5)
    rows = {row["stage"]: row for row in account["stages"]}
    assert rows["search"]["used_s"] == corrected["seconds"]["search"] > 0
    assert min(rows[stage]["used_s"] for stage in ("training", "evaluation", "push and report")) > 0
    for line in budget.lines(account):
        assert line in killed_twice.stdout
    trained = [line for line in killed_twice.stderr.splitlines() if line.startswith("train ")]
    assert all("of the run" in line for line in trained)
    with open(summary["report"]) as file:
        shown = html_page.Page(file.read()).text["time"]
    assert "600 minutes" in shown and all(reason in shown for reason in corrected["reasons"])


@pytest.mark.timeout(3600)
def test_the_planned_settings_without_the_budget_give_the_same_bits(killed_twice, tmp_path):
    with open(killed_twice.summary["report"]) as file:
        text = html_page.Page(file.read()).text["settings"]
    (config,) = re.findall(r"from pipeline\.configs import base.*?return config", text, flags=re.DOTALL)
    path = tmp_path / "again.py"
    path.write_text(config + "\n")
    root = str(tmp_path / "root")
    command = [sys.executable, "-m", "pipeline.local_runner", f"--config={path}", f"--root={root}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    equal = chaos.compare(killed_twice.root, root)
    assert equal == dict.fromkeys(equal, True)
    assert not os.path.exists(os.path.join(root, "artifacts", "SearchPlanner"))
