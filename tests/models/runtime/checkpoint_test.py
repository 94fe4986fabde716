"""models/runtime/checkpoint.py: whole or absent."""

import os

import numpy as np
import pytest

from models.runtime import checkpoint


def _save(directory, step):
    checkpoint.save(directory, step, {"w": np.full(3, step, np.float32)}, {"epoch": step})


def test_the_newest_checkpoint_comes_back_bit_for_bit(tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    checkpoint.save(str(tmp_path), 1, {"a/b": values}, {"rng": [1, 2**70], "name": "x"})
    read = checkpoint.latest(str(tmp_path))
    assert read.step == 1
    np.testing.assert_array_equal(read.arrays["a/b"], values)
    assert read.state == {"rng": [1, 2**70], "name": "x"}


def test_nothing_saved_is_none(tmp_path):
    assert checkpoint.latest(str(tmp_path / "missing")) is None


def test_only_the_newest_are_kept(tmp_path):
    for step in range(5):
        _save(str(tmp_path), step)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-00000003", "checkpoint-00000004"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no manifest", "empty manifest", "manifest not json"])
def test_a_damaged_checkpoint_is_reported_and_passed_over(tmp_path, damage, caplog):
    for step in (1, 2):
        _save(str(tmp_path), step)
    folder = tmp_path / "checkpoint-00000002"
    arrays, manifest = folder / "arrays.npz", folder / "manifest.json"
    if damage == "truncated":
        arrays.write_bytes(arrays.read_bytes()[:-20])
    elif damage == "flipped":
        content = bytearray(arrays.read_bytes())
        content[len(content) // 2] ^= 1
        arrays.write_bytes(content)
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "empty manifest":
        manifest.write_text("")
    else:
        manifest.write_text("[]")
    with caplog.at_level("WARNING"):
        assert checkpoint.latest(str(tmp_path)).step == 1
    assert "checkpoint-00000002 is not whole and is passed over" in caplog.text


def test_damaged_checkpoints_do_not_push_the_whole_ones_out(tmp_path):
    directory = str(tmp_path)
    for step, torn in ((10, 20), (12, 18), (15, None)):
        _save(directory, step)
        assert checkpoint.latest(directory).step == step
        if torn:
            _save(directory, torn)
            (tmp_path / f"checkpoint-{torn:08d}" / "manifest.json").unlink()
    assert sorted(os.listdir(directory)) == ["checkpoint-00000012", "checkpoint-00000015"]


def test_what_cannot_be_written_says_so(tmp_path):
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="checkpoint-00000002 cannot be written.*run the same command again"):
        _save(str(tmp_path / "taken"), 2)


def test_fingerprints_depend_on_values_alone():
    assert checkpoint.fingerprint({"a": 1, "b": (2,)}) == checkpoint.fingerprint({"b": [2], "a": 1})
    assert checkpoint.fingerprint({"a": 1}) != checkpoint.fingerprint({"a": 2})
