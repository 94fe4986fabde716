"""pipeline/sweep: which runs a sweep has, and what it makes of their results."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import yaml
from scipy import stats

from models.settings import ConfigError
from pipeline.configs import cifar10_paper, digits
from pipeline.roots import UsageError
from pipeline.sweep import __main__ as sweep
from pipeline.sweep import kubeflow, plan, processes, results
from pipeline.sweep.plan import Planned
from tests.support import html_page, pipeline_runs


@pytest.mark.parametrize(
    "text,seeds",
    [("0..3", [0, 1, 2, 3]), ("5", [5]), ("5..5", [5]), ("7,1..2, 9", [7, 1, 2, 9]), (" 0 .. 1 ", [0, 1])],
)
def test_seeds_are_numbers_and_ranges(text, seeds):
    assert plan.seeds(text) == seeds


@pytest.mark.parametrize(
    "text,said",
    [
        ("7..0", "the range 7..0 is empty. Write 0..7."),
        ("", "found ''; expected numbers"),
        ("1,", "found ''; expected numbers"),
        ("-1..2", "found '-1..2'; expected numbers"),
        ("0...2", "found '0...2'; expected numbers"),
        ("1.5", "found '1.5'; expected numbers"),
        ("²", "expected numbers"),
        ("0..3,2", "2 is given twice"),
        ("0..2147483648", "found 2147483648; expected 2147483647 or less"),
        ("0..1000000", "found more than 1000 seeds"),
    ],
)
def test_other_seeds_are_refused(text, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        plan.seeds(text)


def test_a_rule_that_is_no_rule_is_refused():
    config = digits.get_config()
    assert plan.rules("", config) == ["interactions"]
    assert plan.rules("paper, interactions", config) == ["paper", "interactions"]
    for text, said in (("papers", "there is no rule 'papers'"), ("paper,paper", "a rule is given twice")):
        with pytest.raises(UsageError, match=said):
            plan.rules(text, config)
    config.architecture = "darts_v2"
    with pytest.raises(UsageError, match="there is no search"):
        plan.rules("paper", config)


def test_each_rule_runs_with_each_seed_and_with_its_own_options_only():
    runs = plan.plan(digits.get_config(), [3, 4], ["interactions", "paper"], [])
    assert [(run.name, run.seed) for run in runs] == [
        ("interactions_seed_3", 3),
        ("interactions_seed_4", 4),
        ("paper_seed_3", 3),
        ("paper_seed_4", 4),
    ]
    assert runs[0].flags == ("--config.seed=3",)
    # digits.py sets an option of the rule interactions, which would be refused with another rule.
    assert runs[2].flags == (
        "--config.seed=3",
        "--config.oracle.rule=paper",
        "--config.oracle.interactions.trend=True",
    )


def test_a_run_has_its_rule_in_its_name_so_that_no_other_rule_finds_it():
    (alone,) = plan.plan(cifar10_paper.get_config(), [0], ["paper"], [])
    assert (alone.name, alone.flags) == ("paper_seed_0", ("--config.seed=0",))
    (other,) = plan.plan(cifar10_paper.get_config(), [0], ["interactions"], [])
    assert other.name == "interactions_seed_0"
    assert plan.run_name("a.b_c", 0) != plan.run_name("a.b.c", 0)


def test_settings_that_a_sweep_chooses_or_that_cannot_be_are_refused():
    config = digits.get_config()
    with pytest.raises(UsageError, match=r"--config\.seed has no effect in a sweep"):
        plan.plan(config, [0], ["paper"], ["seed"])
    with pytest.raises(UsageError, match=r"--config\.oracle\.rule has no effect in a sweep"):
        plan.plan(config, [0], ["paper", "elite"], ["oracle.rule"])
    config.search.epochs = 1
    with pytest.raises(ConfigError, match=r"config\.search\.epochs: found 1"):
        plan.plan(config, [0], ["interactions"], [])


def test_a_root_of_something_else_is_refused(tmp_path):
    config = digits.get_config()
    identity = plan.identity(config)
    root = str(tmp_path)
    plan.require_same(root, identity)  # an empty one
    (tmp_path / plan.FILE_NAME).write_text(json.dumps(results.document(identity, [], {})))
    plan.require_same(root, identity)
    config.seed, config.oracle.rule = 5, "paper"  # what a sweep varies
    config.data.cache_mb += 1  # no result changes with it
    plan.require_same(root, plan.identity(config))
    config.train.epochs = 7
    with pytest.raises(UsageError, match=r"another sweep: train\.epochs was 40 and is now 7"):
        plan.require_same(root, plan.identity(config))
    (tmp_path / plan.FILE_NAME).write_text("[]")
    with pytest.raises(UsageError, match="is damaged"):
        plan.require_same(root, identity)
    (tmp_path / "artifacts").mkdir()
    with pytest.raises(UsageError, match="is the root of a single run"):
        plan.require_same(root, identity)


def _row(seed, val, test, rule="paper", params=100, **changed):
    summary = {"val_accuracy": val, "test_accuracy": test, "params": params, "macs": 1, "genotype_text": "g"}
    run = Planned(f"{rule}_seed_{seed}", rule, seed, ())
    return results.row(run, {**summary, "trained_model": "", "report": "", "seconds": {"total": 1.0}, **changed})


def test_the_interval_is_that_of_scipy_and_needs_two_values():
    values = [0.91, 0.93, 0.92, 0.97]
    found = results.spread(values)
    assert (found["count"], found["mean"]) == (4, pytest.approx(np.mean(values)))
    assert found["deviation"] == pytest.approx(np.std(values, ddof=1))
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert found["interval"] == pytest.approx(expected)
    assert results.spread([0.5]) == {"count": 1, "mean": 0.5, "deviation": None, "interval": None}
    assert results.spread([]) == {"count": 0, "mean": None, "deviation": None, "interval": None}


def test_the_best_run_is_the_best_on_val_whatever_it_has_on_test():
    rows = [_row(0, 0.90, 0.99), _row(1, 0.95, 0.80), _row(2, 0.95, 0.99, params=101), _row(3, None, 1.0)]
    assert results.best(rows)["seed"] == 1
    for row in rows:
        row["test_accuracy"] = 1 - row["test_accuracy"]
    assert results.best(rows)["seed"] == 1
    assert results.best([_row(0, None, 0.9)]) is None


def test_a_failed_run_is_in_the_table_with_its_reason_and_in_no_mean():
    failed = results.row(Planned("paper_seed_2", "paper", 2, ()), None, "the loss is not finite")
    waiting = results.row(Planned("paper_seed_3", "paper", 3, ()), None)
    found = results.document({}, [_row(0, 0.9, 0.8), _row(1, 0.8, 0.6), failed, waiting], {})
    (group,) = found["rules"]
    assert group["test_accuracy"]["mean"] == pytest.approx(0.7)
    table = results.table(found)
    assert "failed: the loss is not finite" in table
    assert re.search(r"paper_seed_3 .* waiting\n", table)
    assert re.search(r"paper, 2 runs\n +mean +0\.8500 +0\.7000 +100\n +deviation +0\.0707 +0\.1414 +0\n", table)
    assert "Best by validation accuracy: paper_seed_0, 0.9000 on val, 0.8000 on test." in table
    assert json.loads(json.dumps(found)) == found


def test_a_table_of_nothing_has_no_figures():
    failed = results.row(Planned("seed_0", "paper", 0, ()), None, "no images")
    table = results.table(results.document({}, [failed], {}))
    assert "No best run: none is finished." in table
    held_back = results.table(results.document({}, [_row(0, None, 0.5)], {}))
    assert "No best run: no validation accuracy is known." in held_back


def _fake(root, body, workers, count=3):
    """Runs a sweep whose runs are a script in place of the pipeline; returns the failures by name."""
    script = (
        f"import os, sys, time\nroot = sys.argv[1].removeprefix('--root=')\nos.makedirs(root, exist_ok=True)\n{body}"
    )
    runs = [Planned(f"seed_{seed}", "paper", seed, (f"--config.seed={seed}",)) for seed in range(count)]
    failures = {}
    processes.Processes(str(root), [sys.executable, "-c", script], workers, None, "digits").run(
        runs, lambda run, failure: failures.update({run.name: failure})
    )
    return failures


_FINISH = "open(os.path.join(root, 'summary.json'), 'w').write('{}')\n"
_CHECKED = "print('[00:00:00] ImageValidator done, 1.0 s', file=sys.stderr, flush=True)\n"


def test_the_others_wait_for_the_images_of_the_first_and_use_its_batch_sizes(tmp_path):
    body = (
        "first = root.endswith('seed_0')\n"
        "assert first != any('--examples_from=' in flag for flag in sys.argv)\n"
        "assert first or open(os.path.join(root, 'memory.json')).read() == 'sizes'\n"
        "if first:\n    time.sleep(0.5)\n    open(os.path.join(root, 'memory.json'), 'w').write('sizes')\n"
        f"    {_CHECKED}    time.sleep(0.5)\n{_FINISH}"
    )
    assert _fake(tmp_path, body, workers=3) == {"seed_0": "", "seed_1": "", "seed_2": ""}


def test_a_failed_run_stops_no_other_and_only_unfinished_ones_are_repeated(tmp_path, capfd):
    fail = "if root.endswith('seed_1'):\n    print('ERROR: no luck', file=sys.stderr)\n    sys.exit(1)\n"
    body = f"{_CHECKED}{fail}{_FINISH}"
    assert _fake(tmp_path, body, workers=2) == {"seed_0": "", "seed_1": "no luck", "seed_2": ""}
    assert "seed_1: FAILED: no luck" in capfd.readouterr().err
    assert _fake(tmp_path, _FINISH, workers=2) == {"seed_1": ""}
    assert "2 of 3 runs are finished already." in capfd.readouterr().err
    assert _fake(tmp_path, "sys.exit(1)", workers=2) == {}


def test_without_the_images_of_the_first_run_no_other_starts(tmp_path):
    failures = _fake(tmp_path, "sys.exit(3)", workers=2)
    assert failures["seed_0"].startswith("it ended with exit status 3; see ")
    assert failures["seed_1"] == failures["seed_2"]
    assert failures["seed_1"].startswith("not started: seed_0, whose examples it would use, failed")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_runs_of_a_sweep_that_is_ended_end_with_it(tmp_path, number):
    script = (
        "import signal, sys\nsignal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "from tests.pipeline import sweep_test\n"
        'body = \'open(root + "/pid", "w").write(str(os.getpid()))\\ntime.sleep(600)\'\n'
        f"sweep_test._fake({str(tmp_path)!r}, body, workers=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    file = tmp_path / "seed_0" / "pid"
    for _ in range(1200):
        if file.exists() and file.read_text():
            break
        time.sleep(0.1)
    process.send_signal(number)
    process.wait(60)
    for _ in range(300):
        if not os.path.exists(f"/proc/{file.read_text()}"):
            return
        time.sleep(0.1)
    raise AssertionError("the run goes on")


def test_ctrl_c_reaches_a_run_once_and_its_clean_up_is_not_broken_off(tmp_path):
    body = (
        "import signal\n"
        "signals = []\n"
        "for number in (signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(number, lambda number, frame: signals.append(number))\n"
        "open(root + '/pid', 'w').write(str(os.getpid()))\n"
        "while not signals:\n    time.sleep(0.01)\n"
        "time.sleep(1)\n"
        "open(root + '/signals', 'w').write(str(signals))\n"
    )
    script = f"from tests.pipeline import sweep_test\nsweep_test._fake({str(tmp_path)!r}, {body!r}, workers=1, count=1)"
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL, start_new_session=True)
    file = tmp_path / "seed_0" / "pid"
    for _ in range(1200):
        if file.exists() and file.read_text():
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    process.wait(60)
    assert (tmp_path / "seed_0" / "signals").read_text() == str([int(signal.SIGTERM)])


class _Finished:
    """A sweep's runs that are all finished; `curves` is what there is of their curves, or an error."""

    def __init__(self, curves):
        self._curves = curves

    def run(self, runs, ended):
        pass

    def summary(self, run):
        return {"val_accuracy": 0.9, "test_accuracy": 0.8, "params": 100, "macs": 1}

    def curves(self, run):
        found = self._curves[run.seed]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.mark.parametrize("other", [{"accuracy": [0.5, 0.9]}, {}])
def test_a_run_whose_artifacts_are_gone_costs_neither_table_nor_page(tmp_path, capsys, other):
    gone = FileNotFoundError(2, "No such file or directory", "training.json")
    runs = [Planned(plan.run_name("paper", seed), "paper", seed, ()) for seed in range(2)]
    assert sweep._sweep(str(tmp_path), "digits", {}, runs, _Finished([gone, other])) == 0
    told = capsys.readouterr()
    assert re.search(r"paper_seed_0 .*0\.9000.*\npaper_seed_1 .*0\.9000", told.out)
    assert told.err.startswith("WARNING: paper_seed_0: its curves are not on the page, because they cannot be read: ")
    assert told.err.count("\n") == 1
    page = html_page.Page((tmp_path / "sweep.html").read_text())
    assert len(page.loaded) == len(other)


def _sweep(root, *flags):
    command = pipeline_runs.command(root, *flags, module="pipeline.sweep")
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_a_sweep_that_is_killed_ends_with_the_same_table_and_reads_the_images_once(tmp_path):
    flags = (
        *("--seeds=4,5", "--config.train.epochs=2"),
        *("--config.baselines.names=('majority',)", "--config.baselines.epochs=0"),
    )
    process = _sweep(tmp_path / "killed", *flags)
    for line in process.stderr:
        if "interactions_seed_5: Trainer" in line:
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.communicate()
    done = _sweep(tmp_path / "killed", *flags)
    table, told = done.communicate(timeout=1500)
    assert done.returncode == 0, told
    assert "1 of 2 runs are finished already." in told
    assert "interactions_seed_5: TfdsExampleGen" in told  # an importer
    again, told = _sweep(tmp_path / "killed", *flags).communicate(timeout=300)
    assert again == table and "2 of 2 runs are finished already." in told
    row = r"interactions_seed_4 +interactions +4 +0\.\d{4} +0\.\d{4} +[\d,]+\n"
    assert re.search(row + "interactions_seed_5 ", table)

    names = [plan.run_name("interactions", seed) for seed in (4, 5)]
    summaries = [json.loads((tmp_path / "killed" / name / "summary.json").read_text()) for name in names]
    (examples,) = {tuple(summary["lineage"]["examples"]) for summary in summaries}
    assert "/killed/interactions_seed_4/" in examples[0]
    assert summaries[0]["lineage"]["distribution"] != summaries[1]["lineage"]["distribution"]
    page = html_page.Page((tmp_path / "killed" / "sweep.html").read_text())
    assert len(page.loaded) == 1 and page.loaded[0].startswith("data:image/svg+xml")
    assert "Best by validation accuracy: interactions_seed_" in page.text[""]


class _Cluster:
    """A double of kfp.Client. A run is over after two waits; its images are checked after one."""

    def __init__(self, fails=()):
        self.submitted, self._waits, self._fails = [], {}, fails
        self.together = 0

    def create_run_from_pipeline_package(self, pipeline_file, *, arguments, run_name, experiment_name, enable_caching):
        assert enable_caching
        self.submitted.append((run_name, arguments))
        run_id = f"id-{len(self.submitted)}"
        self._waits[run_id] = 0
        self.together = max(self.together, sum(waits < 2 for waits in self._waits.values()))
        return types.SimpleNamespace(run_id=run_id)

    def get_run(self, run_id):
        waits = self._waits[run_id]
        state = "RUNNING" if waits < 2 else "FAILED" if run_id in self._fails else "SUCCEEDED"
        task = types.SimpleNamespace(display_name="ImageValidator", state="RUNNING" if waits < 1 else "SUCCEEDED")
        return types.SimpleNamespace(state=state, run_details=types.SimpleNamespace(task_details=[task]))

    def wait(self, seconds):
        if len(self.submitted) == 1:
            assert list(self._waits.values()) in ([0], [1])
        self._waits = {run_id: waits + 1 for run_id, waits in self._waits.items()}


@pytest.fixture
def package(tmp_path):
    training = {"seed": 0, "train": {"epochs": 2, "hold_out_val": False}}
    parameters = {"training": {"defaultValue": json.dumps(training)}, "seed": {"defaultValue": 0}}
    oracle = {"runtimeValue": {"constant": json.dumps({"rule": "paper"})}}
    spec = {
        "pipelineInfo": {"name": "digits"},
        "defaultPipelineRoot": str(tmp_path / "bucket"),
        "root": {
            "inputDefinitions": {"parameters": parameters},
            "dag": {"tasks": {"SupernetSearch": {"inputs": {"parameters": {"oracle": oracle}}}}},
        },
    }
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump_all([spec, {}]))
    return kubeflow.Package(str(path))


def _on(cluster, package, submitted):
    runs = [Planned(plan.run_name(package.rule, seed), package.rule, seed, ()) for seed in range(3)]
    engine = kubeflow.Kubeflow(cluster, package, 2, submitted, wait=cluster.wait)
    failures = {}
    engine.run(runs, lambda run, failure: failures.update({run.name: failure}))
    return engine, runs, failures


def test_on_kubeflow_each_run_gets_its_seed_and_the_first_one_reads_the_images(package):
    cluster = _Cluster()
    engine, runs, failures = _on(cluster, package, {})
    assert failures == dict.fromkeys(("paper_seed_0", "paper_seed_1", "paper_seed_2"), "")
    assert cluster.together == 2
    for seed, (name, arguments) in enumerate(cluster.submitted):
        assert (name, arguments["seed"]) == (f"digits paper_seed_{seed}", seed)
        assert json.loads(arguments["training"]) == {"seed": seed, "train": {"epochs": 2, "hold_out_val": True}}
    assert all(engine.summary(run) == {} for run in runs)  # finished, and their artifacts cannot be read from here


def test_a_sweep_on_kubeflow_watches_what_an_earlier_start_submitted_and_repeats_what_failed(package):
    cluster, submitted = _Cluster(fails=("id-2",)), {}
    _, _, failures = _on(cluster, package, submitted)
    assert failures == {"paper_seed_0": "", "paper_seed_1": "Kubeflow's run id-2: FAILED", "paper_seed_2": ""}
    _, _, failures = _on(cluster, package, submitted)
    assert failures == {"paper_seed_1": ""}
    assert submitted == {"paper_seed_0": ["id-1"], "paper_seed_1": ["id-2", "id-4"], "paper_seed_2": ["id-3"]}
    running = _Cluster()
    running.create_run_from_pipeline_package("", arguments={}, run_name="", experiment_name="", enable_caching=True)
    _on(running, package, {"paper_seed_0": ["id-1"]})
    assert [name for name, _ in running.submitted] == ["", "digits paper_seed_1", "digits paper_seed_2"]


@pytest.mark.parametrize("content", [None, "", "a: [", "root: {}", "[]", "root: {inputDefinitions: {parameters: {}}}"])
def test_a_file_that_is_no_pipeline_is_refused(tmp_path, content):
    path = tmp_path / "other.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=r"--package=.*other\.yaml (cannot be read|is no pipeline)"):
        kubeflow.Package(str(path))
