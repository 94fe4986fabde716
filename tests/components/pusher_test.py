"""components/pusher: versions are whole, are not pushed twice, and leave what is beside them alone."""

import json
import os
import time

import pytest
from tfx.types import standard_artifacts

from components.pusher import executor


@pytest.fixture
def model(tmp_path):
    saved_model = tmp_path / "model" / "Format-Serving"
    (saved_model / "variables").mkdir(parents=True)
    (saved_model / "saved_model.pb").write_bytes(b"graph")
    (saved_model / "variables" / "variables.index").write_bytes(b"weights")
    return saved_model


def _listing(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _versions(serving_dir):
    return sorted(name for name in os.listdir(serving_dir) if not name.startswith("."))


def _push(model, serving_dir, blessed=1):
    """Runs the executor; returns its output."""
    trained, blessing, pushed = (
        standard_artifacts.Model(),
        standard_artifacts.ModelBlessing(),
        standard_artifacts.PushedModel(),
    )
    trained.uri = str(model.parent)
    blessing.uri, pushed.uri = str(model.parent.parent / "blessing"), str(model.parent.parent / "pushed")
    blessing.set_int_custom_property("blessed", blessed)
    destination = {"filesystem": {"base_directory": str(serving_dir)}}
    executor.Executor().Do(
        {"model": [trained], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {"push_destination": json.dumps(destination)},
    )
    return pushed


def test_a_blessed_model_becomes_a_version_that_the_artifact_names(model, tmp_path):
    began = int(time.time())
    pushed = _push(model, tmp_path / "served")
    (version,) = _versions(tmp_path / "served")
    assert began <= int(version) <= time.time()
    assert _listing(tmp_path / "served" / version) == _listing(model)
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == version
    assert pushed.get_string_custom_property("pushed_destination") == str(tmp_path / "served" / version)


def test_a_model_that_is_not_blessed_is_not_pushed(model, tmp_path):
    assert _push(model, tmp_path / "served", blessed=0).get_int_custom_property("pushed") == 0
    assert not (tmp_path / "served").exists()


def test_the_model_that_was_pushed_last_is_not_pushed_again(model, tmp_path):
    first = _push(model, tmp_path / "served")
    again = _push(model, tmp_path / "served")
    assert len(_versions(tmp_path / "served")) == 1
    for name in ("pushed_destination", "pushed_version"):
        assert again.get_string_custom_property(name) == first.get_string_custom_property(name)


@pytest.mark.parametrize("change", ["content", "another file", "a file less", "version gone", "a newer one between"])
def test_any_other_model_is_pushed(model, tmp_path, change):
    served = tmp_path / "served"
    _push(model, served)
    (version,) = _versions(served)
    if change == "content":
        (model / "variables" / "variables.index").write_bytes(b"WEIGHTS")
    elif change == "another file":
        (model / "fingerprint.pb").write_bytes(b"")
    elif change == "a file less":
        (model / "variables" / "variables.index").unlink()
    elif change == "version gone":
        (served / version).rename(tmp_path / "gone")
    else:  # back to a model that was pushed before the last
        (model / "saved_model.pb").write_bytes(b"GRAPH")
        _push(model, served)
        (model / "saved_model.pb").write_bytes(b"graph")
    before = len(_versions(served))
    pushed = _push(model, served)
    assert len(_versions(served)) == before + 1
    assert pushed.get_string_custom_property("pushed_version") == _versions(served)[-1]
    assert _listing(served / _versions(served)[-1]) == _listing(model)


def _put(served):
    """Puts things of a person into the folder, one with the very next number."""
    now = int(time.time())
    (served / "1").mkdir(parents=True)
    (served / "1" / "saved_model.pb").write_bytes(b"a person's")
    (served / str(now + 50)).write_bytes(b"a file")
    (served / str(now + 100)).mkdir()
    (served / "2").symlink_to(served / "1")
    (served / "3").symlink_to(served / "nowhere")
    for name in ("notes", ".hidden", "99999999999999999999", "²"):
        (served / name).mkdir()
    return now + 101


@pytest.mark.parametrize("fails", [False, True], ids=["push", "failed push"])
def test_what_a_person_put_there_survives_and_a_new_version_is_above_it(model, tmp_path, monkeypatch, fails):
    served = tmp_path / "served"
    above = _put(served)
    before = sorted(os.listdir(served))
    if fails:
        monkeypatch.setattr(os, "rename", _full)
        with pytest.raises(OSError, match="No space left"):
            _push(model, served)
        assert sorted(os.listdir(served)) == before
    else:
        _push(model, served)
        assert sorted(os.listdir(served)) == sorted([*before, ".pushed", str(above)])
    assert (served / "1" / "saved_model.pb").read_bytes() == b"a person's"


def _full(*_):
    raise OSError("No space left on device")


def test_a_version_cannot_be_seen_before_it_is_whole(model, tmp_path, monkeypatch):
    seen = []
    copy = executor.io_utils.copy_dir
    monkeypatch.setattr(
        executor.io_utils,
        "copy_dir",
        lambda *arguments, **options: (copy(*arguments, **options), seen.append(_versions(tmp_path / "served"))),
    )
    _push(model, tmp_path / "served")
    assert seen[0] == []


def test_what_a_killed_push_left_is_removed_and_nothing_else(model, tmp_path):
    served = tmp_path / "served"
    _push(model, served)
    _put(served)
    before = sorted(os.listdir(served))
    (served / ".pushing-5" / "variables").mkdir(parents=True)
    executor.remove_unfinished(str(served))
    assert sorted(os.listdir(served)) == before
    executor.remove_unfinished(str(tmp_path / "nowhere"))


def test_an_object_store_gets_what_makes_a_version_last(model, monkeypatch):
    order = []
    copy = executor.io_utils.copy_file
    monkeypatch.setattr(
        executor.io_utils,
        "copy_file",
        lambda source, target, *rest: (
            order.append(executor.tf.io.gfile.exists(f"{os.path.dirname(target)}/variables/variables.index")),
            copy(source, target, *rest),
        ),
    )
    version = executor.push(str(model), "ram://pusher_test/served")
    assert order == [True]
    assert executor.last_pushed("ram://pusher_test/served") == version
    assert executor._same_files(str(model), f"ram://pusher_test/served/{version}")
