"""A whole run with a budget: killed and resumed it keeps its plan, and its report has a config that repeats it."""

import glob
import json
import os
import re
import signal
import subprocess

import pytest

from benchmarks.faults import planned_run
from models.runtime import artifact_files
from pipeline import budget, validation
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
        *("train.batch_size", "train.epoch_images"),
        *("train.warmup_epochs", "train.drop_path", "train.dropout", "train.label_smoothing"),
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
def test_the_report_has_a_config_with_the_planned_settings_and_without_the_budget(killed_twice, tmp_path):
    with open(killed_twice.summary["report"]) as file:
        config = planned_run.config_of(file.read())
    namespace = {}
    exec(config, namespace)
    given = validation.validate(namespace["get_config"]())
    (corrected,) = plans(killed_twice.root, "TrainingPlanner")
    # The training that was killed left a folder, too.
    folders = glob.glob(os.path.join(killed_twice.root, "artifacts", "Trainer", "model_run", "*"))
    newest = max(folders, key=lambda folder: int(os.path.basename(folder)))
    trained = artifact_files.TRAINING.load(newest, dict)["settings"]
    assert given.budget.minutes == 0
    assert given.search.epochs == 18
    assert corrected["choices"]
    assert given.model_dump(mode="json", include=set(trained)) == trained
