"""What the next run in a root sees to first: that ML Metadata agrees with the files that are there.

Runs are killed, roots are moved and copied, artifacts are deleted to save disk. The root is ours alone when this is
called, and TensorFlow and TFX are imported already.
"""

import glob
import json
import os
import re
from collections.abc import Iterator

from absl import logging
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.pusher.executor import remove_unfinished
from models.runtime.files import write_atomically
from pipeline.roots import UsageError

_NAMED = 5  # lost artifacts that a warning names
_FILES = ".files.json"  # in ROOT/artifacts: the files of each artifact, by the artifact's path there

_Artifact = metadata_store_pb2.Artifact
_Execution = metadata_store_pb2.Execution


def require_metadata(root: str) -> None:
    """Refuses artifacts that ML Metadata knows nothing of: new ones would get their numbers, and mix with their files.

    Raises:
        UsageError: `metadata.sqlite` is gone, or older than the artifacts.
    """
    database = os.path.join(root, "metadata.sqlite")
    newest = max(_numbers(os.path.join(root, "artifacts")), default=0)
    known = 0
    if newest and os.path.isfile(database):
        known = max((execution.id for execution in open_store(root).get_executions()), default=0)
    if newest > known:
        what = "is older than" if known else "is gone, but not"
        raise UsageError(
            f"{database} {what} the artifacts beside it. Only this file says what they are. Put it back; or rename "
            f"{os.path.join(root, 'artifacts')} and start anew (checkpoints and pushed models are still used); or "
            "choose another --root."
        )


def open_store(root: str) -> MetadataStore:
    """Opens a root's `metadata.sqlite`; makes it when missing.

    Raises:
        UsageError: It is not what ML Metadata writes.
    """
    from tfx.orchestration import metadata

    database = os.path.join(root, "metadata.sqlite")
    try:
        return MetadataStore(metadata.sqlite_metadata_connection_config(database))
    except Exception as error:  # ML Metadata has a class of its own for each of the codes
        raise UsageError(
            f"{database} is not a database that ML Metadata can use; pipeline.log says why. Put a copy of it back, or "
            "rename it and the folder artifacts beside it, and start anew."
        ) from error


def recover(store: MetadataStore, root: str) -> None:
    """Brings ML Metadata in line with the files of a root.

    Args:
        store: Of `root/metadata.sqlite`.
        root: Absolute path of the run's folder.
    """
    _close_abandoned_executions(store)
    _move_records(store, root)
    _forget_lost_artifacts(store, root)
    remove_unfinished(os.path.join(root, "serving_model"))


def record_files(store: MetadataStore, root: str) -> None:
    """Writes down which files the artifacts of a root have, so that the next run can tell which are gone."""
    artifacts = os.path.join(root, "artifacts")
    files = {os.path.relpath(artifact.uri, artifacts): sorted(_files(artifact.uri)) for artifact in _live(store, root)}
    if files:
        write_atomically(os.path.join(artifacts, _FILES), json.dumps(files))


def _close_abandoned_executions(store: MetadataStore) -> None:
    """Marks what a killed run left RUNNING as FAILED: as the root is ours, nobody is at work on it."""
    abandoned = [e for e in store.get_executions() if e.last_known_state == _Execution.RUNNING]
    for execution in abandoned:
        execution.last_known_state = _Execution.FAILED
    if abandoned:
        store.put_executions(abandoned)


def _move_records(store: MetadataStore, root: str) -> None:
    """Has the records of a root that was moved or copied name the files that are here, never those of the original."""
    moved, origins = [], set()
    for artifact in store.get_artifacts():
        found = re.fullmatch(r"(.*)/artifacts/[^/]+/[^/]+/\d+", artifact.uri)
        if not found or found.group(1) == root:
            continue
        origin = found.group(1)
        artifact.uri = root + artifact.uri.removeprefix(origin)
        for value in artifact.custom_properties.values():
            if value.string_value.startswith(origin + "/"):
                value.string_value = root + value.string_value.removeprefix(origin)
        moved.append(artifact)
        origins.add(origin)
    if moved:
        store.put_artifacts(moved)
        logging.warning(
            "This root was moved or copied from %s. It goes on with the files here: the examples are taken as they "
            "are, the search and the training go on from their checkpoints.",
            ", ".join(sorted(origins)),
        )


def _forget_lost_artifacts(store: MetadataStore, root: str) -> None:
    """Takes artifacts whose files are gone from TFX's cache: it looks no further than whether their folder is there."""
    artifacts = os.path.join(root, "artifacts")
    recorded = _read_files(artifacts)
    lost, deleted = [], []
    for artifact in _live(store, root):
        path = os.path.relpath(artifact.uri, artifacts)
        whole = os.path.isdir(artifact.uri) and _files(artifact.uri) >= set(recorded.get(path, ()))
        # A look-up in the map itself would make an entry without a value, on which ML Metadata aborts.
        pushed = dict(artifact.custom_properties).get("pushed_destination")
        if whole and (pushed is None or os.path.isdir(pushed.string_value)):
            continue
        if not whole:
            deleted.append(path)
        artifact.state = _Artifact.DELETED
        lost.append(artifact)
    if lost:
        store.put_artifacts(lost)
    if deleted:
        more = f" and {len(deleted) - _NAMED} more" if len(deleted) > _NAMED else ""
        logging.warning(
            "Files are gone from %s: %s%s. What is needed of them is made again; a model that is gone is no baseline "
            "any more.",
            artifacts,
            ", ".join(sorted(deleted)[:_NAMED]),
            more,
        )


def _live(store: MetadataStore, root: str) -> Iterator[metadata_store_pb2.Artifact]:
    """Yields the artifacts below a root that TFX would use."""
    for artifact in store.get_artifacts():
        if artifact.state == _Artifact.LIVE and artifact.uri.startswith(os.path.join(root, "artifacts") + "/"):
            yield artifact


def _numbers(artifacts: str) -> Iterator[int]:
    """Yields the numbers of the executions that made artifacts: TFX's paths are artifacts/<node>/<output>/<number>."""
    for folder in glob.iglob(os.path.join(glob.escape(artifacts), "*", "*", "*")):
        name = os.path.basename(folder)
        if name.isdecimal():
            yield int(name)


def _files(folder: str) -> set[str]:
    return {
        os.path.relpath(os.path.join(parent, name), folder) for parent, _, names in os.walk(folder) for name in names
    }


def _read_files(artifacts: str) -> dict[str, list[str]]:
    try:
        with open(os.path.join(artifacts, _FILES)) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}
