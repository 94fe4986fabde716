"""models/runtime/files.py and artifact_files.py: whole or absent, and told by name where it is not."""

import os

import numpy as np
import pytest

from models.runtime import artifact_files, files


@pytest.mark.parametrize("scheme", ["", "ram://files_test"])
def test_a_file_is_replaced_as_a_whole(scheme, tmp_path):
    uri = scheme or str(tmp_path)
    for content in ("first, and longer", "s\u00e9cond"):
        artifact_files.REPORT.write(uri, content)
        assert artifact_files.REPORT.read(uri).decode() == content


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(call, tmp_path, monkeypatch):
    path = tmp_path / "some.json"
    files.write_atomically(path, "old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["some.json"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    calls = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("replace"), replace(*names)))
    monkeypatch.setattr(os, "fsync", lambda number: (calls.append("fsync"), fsync(number)))
    files.write_atomically(tmp_path / "some", b"\x00")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_relative_path_needs_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_atomically("some", "content")
    assert (tmp_path / "some").read_text() == "content"


def test_documents_and_arrays_come_back_to_the_last_bit(tmp_path):
    document = {"a": [0.1, 1 / 3, 1e-300], "b": None}
    artifact_files.TRAINING.save(str(tmp_path), document)
    assert artifact_files.TRAINING.load(str(tmp_path), dict) == document
    arrays = {"w": np.float32([[0.1, np.nan]]), "step": np.int64(3)}
    artifact_files.SUPERNET.save(str(tmp_path), arrays)
    found = artifact_files.SUPERNET.load(str(tmp_path))
    assert all(found[name].tobytes() == arrays[name].tobytes() for name in arrays)


@pytest.mark.parametrize("file", [artifact_files.TRAINING, artifact_files.SUPERNET])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[1, 2]", b"\x80\xff"])
def test_a_missing_or_malformed_file_is_named_with_what_writes_it(file, content, tmp_path):
    if content is not None:
        (tmp_path / file.name).write_bytes(content)
    load = (lambda uri: file.load(uri, dict)) if isinstance(file, artifact_files.JsonFile) else file.load
    what = "does not exist; run" if content is None else r"is malformed: .*\. Run"
    with pytest.raises(artifact_files.ArtifactError, match=rf"{file.name} {what} {file.written_by} again\."):
        load(str(tmp_path))


def test_each_artifact_file_has_a_name_of_its_own():
    found = [value for value in vars(artifact_files).values() if isinstance(value, artifact_files.ArtifactFile)]
    assert len({file.name for file in found}) == len(found) >= 14
