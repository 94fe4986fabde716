"""What docs/reliability.md promises of whole runs."""

import json
import os
import re
import signal
import subprocess
import threading

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.local import local_dag_runner

from benchmarks.faults import chaos
from models.architectures import presets
from pipeline import launch, terminal
from pipeline.configs import digits, image_folder
from tests.support import image_fixtures, pipeline_runs


def test_two_runs_at_once_end_like_one_alone_and_another_seed_does_not(digits_run, tmp_path):
    results = {}

    def start(name, *flags):
        results[name] = pipeline_runs.run(tmp_path / name, *flags)

    threads = [
        threading.Thread(target=start, args=arguments) for arguments in (("same",), ("other seed", "--config.seed=1"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[name].returncode for name in ("same", "other seed")] == [0, 0], results
    equal = chaos.compare(digits_run.root, results["same"].root)
    assert equal == dict.fromkeys(equal, True)
    differs = chaos.compare(digits_run.root, results["other seed"].root)
    assert not differs["distribution history"] and not differs["final weights"]  # a search by scores trains no supernet


def test_a_search_that_is_killed_ends_bit_for_bit_as_if_it_had_not_been(digits_run, tmp_path):
    root = str(tmp_path / "root")
    process = subprocess.Popen(
        pipeline_runs.command(root), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if re.match(r"search +1/18", line):  # the second epoch is on its way
            break
    process.send_signal(signal.SIGKILL)
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL

    again = pipeline_runs.run(root)
    assert again.returncode == 0, again.stderr
    assert re.search(r"search: resumed after epoch \d+ of 18", again.stderr)
    equal = chaos.compare(digits_run.root, root)
    assert equal == dict.fromkeys(equal, True)
    # What the killed process left open is closed.
    states = [execution.last_known_state for execution in _store(root).get_executions()]
    assert metadata_store_pb2.Execution.RUNNING not in states


def _store(root):
    return MetadataStore(metadata.sqlite_metadata_connection_config(os.path.join(root, "metadata.sqlite")))


def _missing_class(root):
    folder = image_fixtures.write_folder(root / "data")
    os.rename(os.path.join(folder, "test", "dog"), os.path.join(folder, "test", "fox"))
    return folder


def _corrupt(root):
    folder = image_fixtures.write_folder(root / "data")
    with open(os.path.join(folder, "train", "cat", "0.png"), "wb") as file:
        file.write(b"no image")
    return folder


def _truncated(root):
    folder = image_fixtures.write_folder(root / "data")
    path = os.path.join(folder, "train", "dog", "1.png")
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
    return folder


def _two_sizes(root):
    folder = image_fixtures.write_folder(root / "data")
    with open(os.path.join(folder, "train", "cat", "0.png"), "wb") as file:
        file.write(image_fixtures.encode(0, size=(12, 8)))
    return folder


def _grey_and_coloured(root):
    folder = image_fixtures.write_folder(root / "data")
    with open(os.path.join(folder, "train", "cat", "0.png"), "wb") as file:
        file.write(image_fixtures.encode(0, mode="L"))
    return folder


# Data, settings, and what is said of them.
BAD_DATA = {
    "no classes": (lambda root: str(root), {}, "expected 2 or more, with the images inside them"),
    "one class": (
        lambda root: image_fixtures.write_folder(root / "data", classes=("cat",)),
        {},
        "expected 2 or more",
    ),
    "classes differ": (_missing_class, {}, "test differ (only in train/: dog; only in test/: fox)"),
    "corrupt image": (_corrupt, {"data.image_size": 0}, "train/cat/0.png"),
    "truncated image": (_truncated, {"data.image_size": 0}, "train/dog/1.png"),
    "sizes differ": (_two_sizes, {"data.image_size": 0}, "config.data.image_size"),
    "channels differ": (_grey_and_coloured, {"data.image_size": 0, "data.channels": 0}, "config.data.channels"),
    "too small": (
        lambda root: image_fixtures.write_folder(root / "data", size=(3, 3)),
        {"data.image_size": 0},
        "16 images have a side of less than 29 pixels, but the auxiliary head of the cifar network",
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_data_that_cannot_be_used_are_refused_with_their_name_and_leave_nothing_half_done(tmp_path, case):
    make, settings, said = BAD_DATA[case]
    config = image_folder.get_config()
    config.data.image_folder = make(tmp_path)
    for key, value in settings.items():
        section, name = key.split(".")
        config[section][name] = value
    root = str(tmp_path / "root")
    os.makedirs(root)
    with pytest.raises(Exception) as error:
        launch.run(config, root, local_dag_runner.LocalDagRunner(), image_fixtures.BEAM_ARGS)
    assert said in terminal.one_line(error.value)
    if os.path.exists(os.path.join(root, "metadata.sqlite")):
        executions = _store(root).get_executions()
        assert metadata_store_pb2.Execution.RUNNING not in [execution.last_known_state for execution in executions]
        failed = [e for e in executions if e.last_known_state == metadata_store_pb2.Execution.FAILED]
        outputs = [
            event.artifact_id
            for event in (_store(root).get_events_by_execution_ids([e.id for e in failed]) if failed else [])
            if event.type == metadata_store_pb2.Event.OUTPUT
        ]
        assert outputs == []
        published = [artifact.uri for artifact in _store(root).get_artifacts()]
        artifacts = os.path.join(root, "artifacts")
        for folder, _, files in os.walk(artifacts):
            ours = ".system" in folder or folder.startswith(tuple(published))
            assert not files or ours or (folder == artifacts and files == [".files.json"]), folder
    assert not os.path.exists(os.path.join(root, "summary.json"))
    assert not os.path.exists(os.path.join(root, "serving_model"))


def test_a_genotype_file_that_is_malformed_is_refused_before_anything_is_written(tmp_path):
    content = presets.PRESETS["mdenas_cifar10"].genotype.to_dict()
    content["normal"][0][0][1] = 5  # a source in the future
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps(content))
    config = digits.get_config()
    config.architecture = str(path)
    with pytest.raises(ValueError, match="normal"):
        launch.run(config, str(tmp_path), local_dag_runner.LocalDagRunner(), image_fixtures.BEAM_ARGS)
    assert sorted(os.listdir(tmp_path)) == ["genotype.json", "metadata.sqlite"]
