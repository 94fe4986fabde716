"""The executor of the Pusher component. It replaces the executor of TFX's Pusher."""

import os
import re
import shutil
import time
from typing import Any

import tensorflow as tf
from absl import logging
from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact, artifact_utils
from tfx.utils import io_utils, proto_utils

from models.runtime.files import write_atomically

# TF Serving takes a folder as a version if its name is a number, and ignores everything else.
_VERSION = re.compile("[0-9]{1,18}")
_UNFINISHED = ".pushing-"
_LAST = ".pushed"  # this file contains the version that was pushed last


class Executor(executor.Executor):
    """Pushes only complete versions, and does not push the last pushed model again."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see TFX's Pusher for inputs, outputs and parameters.

        Raises:
            OSError: The version cannot be written (disk full, no permission). No part of the version is left.
        """
        pushed_model = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed_model)
            return
        model = self.GetModelPath(input_dict)
        destination = proto_utils.json_to_proto(exec_properties["push_destination"], pusher_pb2.PushDestination())
        serving_dir = destination.filesystem.base_directory
        version = last_pushed(serving_dir)
        if version and _same_files(model, os.path.join(serving_dir, version)):
            logging.info("Version %s is the same model; it is not pushed again.", version)
        else:
            version = push(model, serving_dir)
        io_utils.copy_dir(model, pushed_model.uri)
        self._MarkPushed(pushed_model, os.path.join(serving_dir, version), version)


def push(model: str, serving_dir: str) -> str:
    """Copies a model to TF Serving's folder of versions; the new version is complete or absent.

    Args:
        model: The folder of a SavedModel.
        serving_dir: The folder of versions; created if it is missing. Its other content does not change.

    Returns:
        The version: the time in seconds (Unix time), or one above the highest existing version if that is higher.

    Raises:
        OSError: The version cannot be written.
    """
    tf.io.gfile.makedirs(serving_dir)
    names = (name.rstrip("/") for name in tf.io.gfile.listdir(serving_dir))
    version = str(max([int(time.time()), *(int(name) + 1 for name in names if _VERSION.fullmatch(name))]))
    destination = os.path.join(serving_dir, version)
    if "://" in serving_dir:
        # An object store cannot rename a folder. TF Serving ignores a folder without saved_model.pb.
        io_utils.copy_dir(model, destination, deny_regex_patterns=[r"saved_model\.pb$"])
        io_utils.copy_file(os.path.join(model, "saved_model.pb"), os.path.join(destination, "saved_model.pb"))
    else:
        unfinished = os.path.join(serving_dir, _UNFINISHED + version)
        try:
            io_utils.copy_dir(model, unfinished)
            os.rename(unfinished, destination)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    record = os.path.join(serving_dir, _LAST)
    write_atomically(record, version)
    return version


def last_pushed(serving_dir: str) -> str | None:
    """Returns the version that `push` wrote last, or None if there is no such version any more."""
    record = os.path.join(serving_dir, _LAST)
    if not tf.io.gfile.exists(record):
        return None
    with tf.io.gfile.GFile(record) as file:
        version = file.read()
    there = _VERSION.fullmatch(version) and tf.io.gfile.isdir(os.path.join(serving_dir, version))
    return version if there else None


def remove_unfinished(serving_dir: str) -> None:
    """Removes the remains of killed pushes from a local folder. No push may be running at the same time."""
    for name in os.listdir(serving_dir) if os.path.isdir(serving_dir) else ():
        if name.startswith(_UNFINISHED):
            shutil.rmtree(os.path.join(serving_dir, name), ignore_errors=True)


def _same_files(one: str, other: str) -> bool:
    """Returns whether the files of two folders have the same names and contents."""
    files = [
        {
            os.path.relpath(os.path.join(folder, name), root)
            for folder, _, names in tf.io.gfile.walk(root)
            for name in names
        }
        for root in (one, other)
    ]
    return files[0] == files[1] and all(
        _content(os.path.join(one, name)) == _content(os.path.join(other, name)) for name in files[0]
    )


def _content(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()
