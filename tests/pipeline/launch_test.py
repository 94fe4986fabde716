"""pipeline/launch.py: mistakes are answered with one line, at once, and the root is held by one run at a time."""

import errno
import os
import subprocess
import sys
import time

import pytest

from pipeline import command_line, launch, terminal
from pipeline.configs import digits
from pipeline.roots import UsageError

DIGITS = "--config=pipeline/configs/digits.py"


def _run(*flags):
    command = [sys.executable, "-m", "pipeline.local_runner", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_help_is_answered_without_loading_tensorflow():
    began = time.monotonic()
    done = _run("--help")
    assert "--root" in done.stdout and "--config" in done.stdout and "--beam_pipeline_args" in done.stdout
    # TensorFlow and TFX take over ten seconds to import; the bound is loose, since machines are busy.
    assert time.monotonic() - began < 8
    script = "import sys; from pipeline import launch; sys.exit('tensorflow' in sys.modules or 'tfx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


@pytest.mark.parametrize(
    "flags,said",
    [
        ((DIGITS,), "Flag --root must have a value"),
        (("--root=ROOT",), "Flag --config must have a value"),
        (("--root=ROOT", DIGITS, "--config.search.epoch=3"), "config.search.epoch: there is no such setting; expected"),
        (("--root=ROOT", DIGITS, "--config.serch.epochs=3"), "--config has no setting 'serch'. Did you mean 'search'?"),
        (("--root=ROOT", DIGITS, "--config.search.epochs=many"), "--config.search.epochs=many"),
        (
            ("--root=ROOT", DIGITS, "--config.search.epochs=0"),
            "config.search.epochs: found 0; expected a whole number, 1 or",
        ),
        (("--root=ROOT", "--config=missing.py"), "missing.py"),
        (("--root=/proc/mdenas", DIGITS), "--root=/proc/mdenas cannot be written"),
        (("--root=ROOT[1]", DIGITS), "contains the character '['"),
        (("--root=ROOT", DIGITS, "--config.data.image_folder=~/nowhere"), "config.data.image_folder=/"),
        (
            ("--root=ROOT", DIGITS, "config.seed=1"),
            "ERROR: Found 'config.seed=1', which is not a flag. Write a setting as",
        ),
    ],
    ids=[
        "no root",
        "no config",
        "mistyped key",
        "mistyped section",
        "wrong type",
        "impossible value",
        "no such config",
        "unwritable root",
        "root with a pattern",
        "~ in a setting",
        "no flag",
    ],
)
def test_a_mistake_is_answered_with_a_line_that_names_it(tmp_path, flags, said):
    done = _run(*(flag.replace("ROOT", str(tmp_path / "root")) for flag in flags))
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_from_elsewhere_is_told_where_to_start(tmp_path):
    project = os.path.dirname(launch.__file__)
    project = os.path.dirname(os.path.abspath(project))
    command = [sys.executable, "-m", "pipeline.local_runner", f"--config={project}/pipeline/configs/digits.py"]
    done = subprocess.run(
        [*command, f"--root={tmp_path / 'root'}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": project},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == f"ERROR: Start the run in the project's folder, {project}, not in {tmp_path}.\n"
    assert not (tmp_path / "root").exists()


def test_a_root_in_use_says_who_holds_it(tmp_path):
    with (
        launch.locked(str(tmp_path)),
        pytest.raises(UsageError, match=r"is in use by process \d+ on .*Wait for it"),
        launch.locked(str(tmp_path)),
    ):
        pass
    with launch.locked(str(tmp_path)):  # free again
        pass


def test_the_traceback_of_a_thread_is_in_the_log_and_not_in_the_terminal(tmp_path):
    script = (
        "import threading\nfrom pipeline import terminal\nterminal.log_to('run.log')\n"
        "thread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()"
    )
    variables = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "ZeroDivisionError" in (tmp_path / "run.log").read_text()


def test_an_error_is_one_line_without_beams_notes():
    error = ValueError("bad image\n  a.png [while running 'Map(x)/Decode']")
    assert terminal.one_line(error) == "bad image; a.png"
    listed = ValueError("Not decoded:\n  a.png: empty\n  b.png: cut off\n- Repair them.")
    assert terminal.one_line(listed) == "Not decoded: a.png: empty; b.png: cut off; Repair them."
    assert terminal.one_line(KeyError()) == "KeyError"
    assert terminal.one_line(KeyError("no 'epoch'")) == "no 'epoch'"


def test_an_error_of_a_worker_on_an_engine_is_what_the_worker_raised():
    error = RuntimeError(
        "Pipeline job-1 failed in state FAILED: java.lang.RuntimeException: Error received from SDK harness for "
        'instruction 3: Traceback (most recent call last):\n  File "apache_beam/runners/common.py", line 1501, in p\n'
        '    return self.do_fn(x)\n  File "shards.py", line 3, in process\n    raise DataError(text)\n'
        "models.data.dataset_info.DataError: Not decoded:\n  a.png: empty\nRepair them. [while running 'Write']\n"
    )
    assert terminal.one_line(error) == "Not decoded: a.png: empty; Repair them."
    compiled = RuntimeError('Traceback:\n  File "beam/common.pyx", line 7, in run\nOSError: disk is gone\n')
    assert terminal.one_line(compiled) == "OSError: disk is gone"
    java = RuntimeError("failed: Exception: no slot\n\tat org.Task$1.<init>(Task.java:7)\n\tat java.base/Thread.run()")
    assert terminal.one_line(java) == "failed: Exception: no slot"
    assert terminal.one_line(RuntimeError("failed: java.io.IOException: gone")) == "failed: java.io.IOException: gone"


def test_a_full_disk_says_what_to_do():
    error = OSError(errno.ENOSPC, "No space left on device", "runs/trial.json")
    assert "'runs/trial.json'. Make room there" in terminal.one_line(error)


def test_the_home_directory_is_put_for_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = digits.get_config()
    config.data.image_folder, config.data.data_dir = "~/images", "~"
    config.derive.latency_table = "~/table.json"
    command_line.expand_home(config)
    assert config.derive.latency_table == "/home/me/table.json"
    assert (config.data.image_folder, config.data.data_dir) == ("/home/me/images", "/home/me")
    assert config.architecture == ""


def test_a_root_without_its_metadata_is_refused_before_a_decision_is_written_there(tmp_path):
    (tmp_path / "artifacts" / "Trainer" / "model" / "9").mkdir(parents=True)
    done = _run("--config=pipeline/configs/digits.py", f"--root={tmp_path}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"ERROR: {tmp_path}/metadata.sqlite is missing, but there are artifacts beside it.")
    assert sorted(os.listdir(tmp_path)) == [".lock", "artifacts", "pipeline.log"]


def test_the_root_of_a_sweep_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    done = _run("--config=pipeline/configs/digits.py", f"--root={tmp_path}")
    assert (done.returncode, done.stderr) == (
        1,
        f"ERROR: --root={tmp_path} is the root of a sweep. Choose another --root, or give the command of the sweep "
        "(python -m pipeline.sweep).\n",
    )
    assert sorted(os.listdir(tmp_path)) == [".lock", "sweep.json"]


def test_a_run_that_is_terminated_says_how_to_resume(tmp_path):
    script = (
        "import os, signal\nfrom pipeline import launch\n"
        "launch.memory_plan.fit = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\nlaunch.main(object)"
    )
    flags = ["--config=pipeline/configs/digits.py", f"--root={tmp_path}"]
    done = subprocess.run([sys.executable, "-c", script, *flags], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (
        130,
        "Interrupted. The same command resumes from the last checkpoint.\n",
    )
