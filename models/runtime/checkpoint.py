"""Checkpoints of a search or a training: whole or absent, verified when read, kept on any file system.

A checkpoint is a folder `checkpoint-<step>` with `arrays.npz`, `state.json` and, written last, `manifest.json` with the
SHA-256 of both. Without a manifest whose sums agree, a checkpoint does not exist: object stores cannot rename a folder
atomically, so what makes a checkpoint valid is the one small file that is written after all else.
"""

import dataclasses
import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

_ARRAYS, _STATE, _MANIFEST = "arrays.npz", "state.json", "manifest.json"
_NAME = re.compile(r"checkpoint-(\d{8})")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        step: How many epochs had been completed when it was written.
        arrays: Name to array.
        state: What JSON can hold.
    """

    step: int
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


def fingerprint(*parts: Any) -> str:
    """Returns 16 hexadecimal digits that name these JSON-able values: same values, same name."""
    text = json.dumps(parts, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns named arrays as the content of an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file's content; nothing in it is ever executed."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def save(directory: str, step: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any], keep: int = 2) -> None:
    """Writes a checkpoint, then removes all but the newest `keep` that were written to their end.

    Those of later steps go too: they were passed over, or there would be none of this step to write.

    Args:
        directory: Where this run's checkpoints are; made when missing. Any path or URI that tf.io.gfile knows.
        step: Completed epochs, from 0 on.
        arrays: Name to array.
        state: JSON-able values.
        keep: How many checkpoints stay; two, so that one survives when the newest turns out corrupt.

    Raises:
        OSError: It cannot be written (disk full, no permission). Earlier checkpoints are as they were.
    """
    folder = os.path.join(directory, f"checkpoint-{step:08d}")
    contents = {_ARRAYS: pack(arrays), _STATE: json.dumps(state).encode()}
    manifest = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    try:
        if tf.io.gfile.exists(folder):  # the remains of a write that was interrupted
            tf.io.gfile.rmtree(folder)
        tf.io.gfile.makedirs(folder)
        for name, content in contents.items():
            _write(os.path.join(folder, name), content)
        _write(os.path.join(folder, _MANIFEST), json.dumps(manifest).encode())
    except (tf.errors.OpError, OSError) as error:
        raise OSError(
            f"checkpoint {folder} cannot be written: {getattr(error, 'message', error)}. Earlier checkpoints are "
            "intact; make room or give permission and run the same command again."
        ) from error
    found = _steps(directory)
    whole = [found_step for found_step in found if found_step <= step and _has_manifest(directory, found_step)]
    for old in set(found) - set(whole[-keep:]):
        tf.io.gfile.rmtree(os.path.join(directory, f"checkpoint-{old:08d}"))


def latest(directory: str) -> Checkpoint | None:
    """Returns the newest checkpoint that is whole, or None; each one passed over is reported in the log."""
    for step in reversed(_steps(directory)):
        folder = os.path.join(directory, f"checkpoint-{step:08d}")
        try:
            contents = {name: _read(os.path.join(folder, name)) for name in (_ARRAYS, _STATE, _MANIFEST)}
            manifest = json.loads(contents[_MANIFEST])
            for name in (_ARRAYS, _STATE):
                if hashlib.sha256(contents[name]).hexdigest() != manifest.get(name):
                    raise ValueError(f"the SHA-256 of {name} is not the one in {_MANIFEST}")
        except (tf.errors.OpError, OSError, ValueError, AttributeError) as error:
            reason = getattr(error, "message", error)
            logging.warning("Checkpoint %s is not whole and is passed over: %s", folder, reason)
            continue
        return Checkpoint(step, unpack(contents[_ARRAYS]), json.loads(contents[_STATE]))
    return None


def _steps(directory: str) -> list[int]:
    if not tf.io.gfile.exists(directory):
        return []
    names = (_NAME.fullmatch(name.rstrip("/")) for name in tf.io.gfile.listdir(directory))
    return sorted(int(name.group(1)) for name in names if name)


def _has_manifest(directory: str, step: int) -> bool:
    return tf.io.gfile.exists(os.path.join(directory, f"checkpoint-{step:08d}", _MANIFEST))


def _write(path: str, content: bytes) -> None:
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)


def _read(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()
