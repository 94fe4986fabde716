"""pipeline/launch.py: mistakes are answered with one line, at once, and the root is held by one run at a time."""

import errno
import json
import os
import subprocess
import sys
import time

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from pipeline import launch
from pipeline.configs import digits

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
        (("--root=ROOT", DIGITS, "--config.search.epoch=3"), 'Did you mean "epochs" instead of "epoch"?'),
        (("--root=ROOT", DIGITS, "--config.search.epochs=many"), "--config.search.epochs=many"),
        (("--root=ROOT", DIGITS, "--config.search.epochs=0"), "config.search.epochs is 0; allowed is 1 or more."),
        (("--root=ROOT", "--config=missing.py"), "missing.py"),
        (("--root=/proc/mdenas", DIGITS), "--root=/proc/mdenas cannot be written"),
        (
            ("--root=ROOT", DIGITS, "config.seed=1"),
            "ERROR: Found 'config.seed=1', which is no flag: settings are given",
        ),
    ],
    ids=[
        "no root",
        "no config",
        "mistyped key",
        "wrong type",
        "impossible value",
        "no such config",
        "unwritable root",
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
    assert done.stderr == f"ERROR: Start it in the project's folder, {project}, not in {tmp_path}.\n"
    assert not (tmp_path / "root").exists()


def test_a_root_in_use_says_who_holds_it(tmp_path):
    with (
        launch._locked(str(tmp_path)),
        pytest.raises(launch.UsageError, match=r"is in use by process \d+ on .*Wait for it"),
        launch._locked(str(tmp_path)),
    ):
        pass
    with launch._locked(str(tmp_path)):  # free again
        pass


def test_an_error_is_one_line_without_beams_notes():
    error = ValueError("bad image\n  a.png [while running 'Map(x)/Decode']")
    assert launch.one_line(error) == "bad image a.png"
    assert launch.one_line(KeyError()) == "KeyError"
    assert launch.one_line(KeyError("no 'epoch'")) == "no 'epoch'"


def test_a_full_disk_says_what_to_do():
    error = OSError(errno.ENOSPC, "No space left on device", "runs/trial.json")
    assert "'runs/trial.json'. Make room there" in launch.one_line(error)


class _FailingPush:
    """A runner that ends as a full disk ends the Pusher: a version half copied, an error raised."""

    def run(self, pipeline):
        (pusher,) = (component for component in pipeline.components if component.id == "Pusher")
        base = json.loads(pusher.exec_properties["push_destination"])["filesystem"]["base_directory"]
        os.makedirs(os.path.join(base, str(int(time.time())), "variables"))
        raise OSError("No space left on device")


def test_a_push_that_fails_leaves_no_version_for_tf_serving_to_find(tmp_path):
    (tmp_path / "serving_model" / "1").mkdir(parents=True)
    with pytest.raises(OSError, match="No space left"):
        launch.run(digits.get_config(), str(tmp_path), _FailingPush(), [])
    assert os.listdir(tmp_path / "serving_model") == ["1"]


def _store(root):
    return MetadataStore(metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite")))


def test_what_a_killed_push_left_is_removed_by_the_next_run(tmp_path):
    store = _store(tmp_path)
    pusher = metadata_store_pb2.ExecutionType(name="Pusher")
    execution = metadata_store_pb2.Execution(
        type_id=store.put_execution_type(pusher), last_known_state=metadata_store_pb2.Execution.RUNNING
    )
    store.put_executions([execution])
    half = tmp_path / "serving_model" / str(int(time.time()) + 1)
    for version in (half, tmp_path / "serving_model" / "1"):
        version.mkdir(parents=True)
    with pytest.raises(OSError, match="No space left"):
        launch.run(digits.get_config(), str(tmp_path), _FailingPush(), [])
    assert os.listdir(tmp_path / "serving_model") == ["1"]
    assert [e.last_known_state for e in store.get_executions()] == [metadata_store_pb2.Execution.FAILED]


def test_a_pushed_version_that_is_gone_is_pushed_again(tmp_path):
    store = _store(tmp_path)
    type_id = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="PushedModel"))
    for version in ("1", "2"):
        record = tmp_path / "artifacts" / version
        record.mkdir(parents=True)
        artifact = metadata_store_pb2.Artifact(type_id=type_id, uri=str(record))
        artifact.custom_properties["pushed_destination"].string_value = str(tmp_path / "serving_model" / version)
        store.put_artifacts([artifact])
    (tmp_path / "serving_model" / "2").mkdir(parents=True)
    launch._forget_lost_pushes(store)
    # TFX takes no outputs from its cache that are not there.
    assert os.listdir(tmp_path / "artifacts") == ["2"]
