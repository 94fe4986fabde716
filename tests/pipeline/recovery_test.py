"""pipeline/recovery.py: what a run finds of earlier ones in its root, killed, moved, copied or tidied up."""

import os
import shutil

import pytest
from absl import logging
from ml_metadata.proto import metadata_store_pb2

from pipeline import metadata_store, recovery, roots
from pipeline.root_records import Records

Artifact, Execution = metadata_store_pb2.Artifact, metadata_store_pb2.Execution
OUTPUTS = (("TfdsExampleGen", "examples"), ("Trainer", "model"), ("Pusher", "pushed_model"))


@pytest.fixture
def warnings(monkeypatch):
    told = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: told.append(message % values))
    return told


def make_root(root) -> str:
    """Writes a root as a run leaves it: three artifacts of two files each, one of them of a pushed model."""
    root.mkdir()
    store = metadata_store.of_root(str(root)).open()
    execution_type = store.put_execution_type(metadata_store_pb2.ExecutionType(name="Any"))
    for number, (node, output) in enumerate(OUTPUTS, 1):
        store.put_executions([Execution(type_id=execution_type, last_known_state=Execution.COMPLETE)])
        folder = root / "artifacts" / node / output / str(number)
        (folder / "inner").mkdir(parents=True)
        (folder / "file").write_text("")
        (folder / "inner" / "file").write_text("")
        artifact_type = store.put_artifact_type(metadata_store_pb2.ArtifactType(name=output))
        artifact = Artifact(type_id=artifact_type, uri=str(folder), state=Artifact.LIVE)
        if node == "Pusher":
            (root / "serving_model" / "5").mkdir(parents=True)
            artifact.custom_properties["pushed_destination"].string_value = str(root / "serving_model" / "5")
            artifact.custom_properties["note"].string_value = "/elsewhere"
        store.put_artifacts([artifact])
    recovery.record_files(Records(store), str(root))
    return str(root)


def recover(root) -> dict[str, Artifact]:
    """Lets the next run begin; returns the artifacts it finds by their output's name."""
    store = metadata_store.of_root(str(root))
    recovery.require_metadata(str(root), store)
    recovery.recover(str(root), store)
    return {artifact.type: artifact for artifact in store.open().get_artifacts()}


def lost(artifacts) -> set[str]:
    return {name for name, artifact in artifacts.items() if artifact.state == Artifact.DELETED}


def test_a_root_that_nobody_touched_is_left_as_it_is(tmp_path, warnings):
    root = make_root(tmp_path / "root")
    before = {artifact.type: artifact for artifact in metadata_store.of_root(root).open().get_artifacts()}
    # Not a field of them may change, the time of the last change among them, or TFX takes nothing from its cache.
    assert recover(root) == before
    assert warnings == []


def test_what_a_killed_run_left_running_has_failed(tmp_path):
    root = make_root(tmp_path / "root")
    store = metadata_store.of_root(root).open()
    (running, *_) = store.get_executions()
    running.last_known_state = Execution.RUNNING
    store.put_executions([running])
    (tmp_path / "root" / "serving_model" / ".pushing-7").mkdir()
    (tmp_path / "root" / "serving_model" / "7").mkdir()  # a person's
    recover(root)
    assert [e.last_known_state for e in store.get_executions()] == [Execution.FAILED, *[Execution.COMPLETE] * 2]
    assert sorted(os.listdir(tmp_path / "root" / "serving_model")) == ["5", "7"]


@pytest.mark.parametrize("how", ["moved", "copied", "copied without files", "moved twice"])
def test_a_root_elsewhere_uses_its_own_files(tmp_path, warnings, how):
    old, new = make_root(tmp_path / "root"), str(tmp_path / "new place")
    if how == "moved":
        os.rename(old, new)
    elif how == "moved twice":
        os.rename(old, tmp_path / "between")
        recover(tmp_path / "between")
        os.rename(tmp_path / "between", new)
        old = str(tmp_path / "between")
        warnings.clear()
    else:
        shutil.copytree(old, new)
    if how == "copied without files":
        shutil.rmtree(os.path.join(new, "artifacts", "Trainer"))
    found = recover(new)
    assert {name: artifact.uri for name, artifact in found.items()} == {
        output: f"{new}/artifacts/{node}/{output}/{number}" for number, (node, output) in enumerate(OUTPUTS, 1)
    }
    properties = found["pushed_model"].custom_properties
    assert properties["pushed_destination"].string_value == f"{new}/serving_model/5"
    assert properties["note"].string_value == "/elsewhere"
    assert lost(found) == ({"model"} if how == "copied without files" else set())
    assert f"moved or copied from {old}. " in warnings[0]
    assert len(warnings) == 1 + len(lost(found))
    warnings.clear()
    recover(new)
    assert warnings == []  # said once


@pytest.mark.parametrize(
    "gone,forgotten",
    [
        ("artifacts", {"examples", "model", "pushed_model"}),
        ("artifacts/Trainer", {"model"}),
        ("artifacts/Trainer/model/2/inner", {"model"}),
        ("artifacts/TfdsExampleGen/examples/1/file", {"examples"}),
        ("serving_model/5", {"pushed_model"}),
        ("serving_model", {"pushed_model"}),
        ("checkpoints", set()),
    ],
)
def test_what_is_gone_is_not_taken_from_the_cache(tmp_path, warnings, gone, forgotten):
    root = make_root(tmp_path / "root")
    (tmp_path / "root" / "checkpoints").mkdir()
    os.rename(os.path.join(root, gone), tmp_path / "gone")
    assert lost(recover(root)) == forgotten
    told = gone.startswith("artifacts")
    assert len(warnings) == told
    if told:
        assert all(output in warnings[0] for output in forgotten)


def test_many_lost_artifacts_are_counted(tmp_path, warnings, monkeypatch):
    monkeypatch.setattr(recovery, "_NAMED", 1)
    root = make_root(tmp_path / "root")
    shutil.rmtree(os.path.join(root, "artifacts"))
    recover(root)
    assert "artifacts: Pusher/pushed_model/3 and 2 more. " in warnings[0]


@pytest.mark.parametrize("database", ["gone", "empty", "older"])
def test_artifacts_that_ml_metadata_does_not_know_are_refused(tmp_path, database):
    root = make_root(tmp_path / "root")
    path = tmp_path / "root" / "metadata.sqlite"
    if database == "gone":
        path.unlink()
    elif database == "empty":
        path.write_bytes(b"")
    else:
        os.makedirs(os.path.join(root, "artifacts", "Trainer", "model", "4"))
    with pytest.raises(roots.UsageError) as error:
        recovery.require_metadata(root, metadata_store.of_root(root))
    said = "is older than the" if database == "older" else "is missing, but there are"
    assert f"{path} {said} artifacts beside it" in str(error.value)
    assert path.exists() == (database != "gone")
    os.rename(os.path.join(root, "artifacts"), tmp_path / "elsewhere")  # as the message says
    recovery.require_metadata(root, metadata_store.of_root(root))


def test_a_file_that_is_no_database_is_told_of(tmp_path):
    (tmp_path / "metadata.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(roots.UsageError, match="metadata.sqlite is not a database that ML Metadata can use"):
        metadata_store.of_root(str(tmp_path)).open()


def test_an_empty_root_needs_nothing(tmp_path):
    recovery.require_metadata(str(tmp_path), metadata_store.of_root(str(tmp_path)))
    assert os.listdir(tmp_path) == []
