"""pipeline/root_records.py and recovery.py: several roots in one store, each with its own records."""

import json
import os
import shutil

import pytest
from absl import logging
from ml_metadata.proto import metadata_store_pb2

from pipeline import recovery, root_records
from pipeline.ingested import Ingested
from pipeline.metadata_store import Sqlite, of_root
from pipeline.root_records import Identity, Records
from pipeline.roots import UsageError

Artifact, Execution = metadata_store_pb2.Artifact, metadata_store_pb2.Execution


@pytest.fixture
def store(tmp_path):
    return Sqlite(str(tmp_path / "shared.sqlite"), shared=True)


@pytest.fixture
def warnings(monkeypatch):
    told = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: told.append(message % values))
    return told


def make_root(root, store, state=Execution.COMPLETE, uses=()) -> str:
    """Writes a root as a run leaves it in a shared store: one execution in a state, which made one artifact.

    Args:
        root: The folder to make.
        store: The store.
        state: The state of the execution.
        uses: Artifacts of other roots that the pipeline imported.
    """
    root.mkdir()
    identity = Identity.of(str(root), store)
    opened = store.open()
    context = metadata_store_pb2.Context(
        type_id=opened.put_context_type(metadata_store_pb2.ContextType(name="pipeline"), can_add_fields=True),
        name=identity.pipeline_name("digits"),
    )
    (context.id,) = opened.put_contexts([context])
    execution = Execution(
        type_id=opened.put_execution_type(metadata_store_pb2.ExecutionType(name="Any")), last_known_state=state
    )
    number, *_ = opened.put_execution(execution, [], [context])
    folder = root / "artifacts" / "Trainer" / "model" / str(number)
    folder.mkdir(parents=True)
    (folder / "file").write_text("")
    artifact = Artifact(
        type_id=opened.put_artifact_type(metadata_store_pb2.ArtifactType(name="model")),
        uri=str(folder),
        state=Artifact.LIVE,
    )
    (artifact.id,) = opened.put_artifacts([artifact])
    for one in (artifact, *uses):
        attribution = metadata_store_pb2.Attribution(artifact_id=one.id, context_id=context.id)
        opened.put_attributions_and_associations([attribution], [])
    recovery.record_files(Records(opened, identity), str(root))
    return str(root)


def found(root, store) -> Records:
    return Records(store.open(), Identity.read(str(root)))


def begin(root, store) -> None:
    """Lets the next run in a root begin."""
    recovery.require_metadata(str(root), store)
    recovery.recover(str(root), store)


def test_a_run_closes_what_its_own_root_left_running_and_nothing_else(tmp_path, store):
    one, other = (make_root(tmp_path / name, store, Execution.RUNNING) for name in ("one", "other"))
    begin(one, store)
    assert [execution.last_known_state for execution in found(one, store).executions()] == [Execution.FAILED]
    assert [execution.last_known_state for execution in found(other, store).executions()] == [Execution.RUNNING]
    (tmp_path / "new").mkdir()
    begin(tmp_path / "new", store)
    assert found(tmp_path / "new", store).executions() == []


def test_artifacts_of_another_root_are_neither_moved_nor_forgotten(tmp_path, store, warnings):
    other = make_root(tmp_path / "other", store)
    (theirs,) = found(other, store).artifacts()
    root = make_root(tmp_path / "root", store, uses=[theirs])
    shutil.rmtree(os.path.join(other, "artifacts"))  # as on another machine
    moved = str(tmp_path / "elsewhere")
    os.rename(root, moved)
    begin(moved, store)
    uris = {artifact.uri: artifact.state for artifact in found(moved, store).artifacts()}
    assert uris == {theirs.uri: Artifact.LIVE, f"{moved}/artifacts/Trainer/model/2": Artifact.LIVE}
    assert len(warnings) == 1 and f"moved or copied from {root}. " in warnings[0]
    begin(moved, store)
    assert len(warnings) == 1  # said once
    assert Identity.read(moved).root == moved


def test_a_run_without_the_flag_leaves_what_other_roots_recorded_in_its_file(tmp_path, warnings):
    (tmp_path / "root").mkdir()
    own = of_root(str(tmp_path / "root"))
    other = make_root(tmp_path / "other", Sqlite(own.path, shared=True))
    begin(tmp_path / "root", own)
    (artifact,) = own.open().get_artifacts()
    assert (artifact.uri, artifact.state) == (f"{other}/artifacts/Trainer/model/1", Artifact.LIVE)
    assert warnings == []


def test_what_is_gone_from_a_root_is_forgotten(tmp_path, store, warnings):
    one, other = (make_root(tmp_path / name, store) for name in ("one", "other"))
    shutil.rmtree(os.path.join(one, "artifacts", "Trainer"))
    begin(one, store)
    assert [artifact.state for artifact in found(one, store).artifacts()] == [Artifact.DELETED]
    assert [artifact.state for artifact in found(other, store).artifacts()] == [Artifact.LIVE]
    assert len(warnings) == 1


def test_a_copy_of_a_root_is_refused_until_it_gives_up_the_records(tmp_path, store):
    root, copy = make_root(tmp_path / "root", store), str(tmp_path / "copy")
    shutil.copytree(root, copy)
    with pytest.raises(UsageError, match=f"{copy} is a copy of {root}"):
        begin(copy, store)
    os.remove(os.path.join(copy, root_records.FILE_NAME))
    shutil.rmtree(os.path.join(copy, "artifacts"))
    begin(copy, store)
    assert Identity.read(copy).id != Identity.read(root).id


def test_artifacts_that_another_store_records_are_refused(tmp_path, store):
    root = make_root(tmp_path / "root", store)
    with pytest.raises(UsageError, match=f"recorded in {store.path}. Give this store with --metadata"):
        begin(root, of_root(root))
    empty = Sqlite(str(tmp_path / "empty.sqlite"), shared=True)
    with pytest.raises(UsageError, match=f"does not know the newest artifacts in {root}, which {store.path}"):
        begin(root, empty)
    os.remove(os.path.join(root, root_records.FILE_NAME))
    with pytest.raises(UsageError, match=f"{store.path} does not know the artifacts in {root}, which another store"):
        begin(root, store)


@pytest.mark.parametrize("content", ["", "[]", '{"id": "1"}', "{"])
def test_a_damaged_identity_is_named(tmp_path, store, content):
    (tmp_path / root_records.FILE_NAME).write_text(content)
    with pytest.raises(UsageError, match="metadata.json is damaged"):
        begin(tmp_path, store)


def test_the_name_of_a_pipeline_is_one_that_tfx_accepts():
    name = Identity("01234567", "/root", "store").pipeline_name("n" * 200)
    assert len(name) <= 63 and name.endswith("-01234567")


def test_examples_of_a_root_without_them_are_refused(tmp_path, store):
    make_root(tmp_path / "other", store)
    for root, place in (("nothing", store), ("other", store), ("other", of_root(str(tmp_path / "other")))):
        with pytest.raises(UsageError, match="knows no examples that were checked by the ImageValidator"):
            Ingested.find(str(tmp_path / root), place, "another pipeline")


def test_examples_of_other_settings_are_refused_by_the_name_of_the_parameter():
    ingested = Ingested("/other", "examples", "report", {"data": "{}", "data_seed": 0, "artifact_uri": "x"})
    ingested.require({"data": "{}", "data_seed": 0})
    with pytest.raises(UsageError, match="--examples_from=/other: its examples were made with another data_seed. Use"):
        ingested.require({"data": "{}", "data_seed": 1})
    imported = Ingested("/other", "examples", "report", {"artifact_uri": "x"})
    with pytest.raises(UsageError, match="made with another component"):
        imported.require({"data": "{}", "data_seed": 0})


def test_the_identity_is_written_once(tmp_path, store):
    first = Identity.of(str(tmp_path), store)
    assert Identity.of(str(tmp_path), store) == first
    written = json.loads((tmp_path / root_records.FILE_NAME).read_text())
    assert written == {"id": first.id, "root": str(tmp_path), "store": store.path}
