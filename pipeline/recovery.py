"""The first step of a run in an earlier root: makes ML Metadata agree with the files in the root.

The two can differ: runs are killed, roots are moved and copied, artifacts are deleted to save disk space. The caller
must hold the lock of the root. Importing this module also imports TensorFlow and TFX.
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

_NAMED = 5  # number of lost artifacts that a warning names
_FILES = ".files.json"  # in ROOT/artifacts: path of an artifact relative to this folder -> its files

_Artifact = metadata_store_pb2.Artifact
_Execution = metadata_store_pb2.Execution


def require_metadata(root: str) -> None:
    """Refuses artifacts that ML Metadata does not contain: new artifacts would get their numbers, and files would mix.

    Raises:
        UsageError: `metadata.sqlite` is missing, or older than the artifacts.
    """
    database = os.path.join(root, "metadata.sqlite")
    newest = max(_numbers(os.path.join(root, "artifacts")), default=0)
    known = 0
    if newest and os.path.isfile(database):
        known = max((execution.id for execution in open_store(root).get_executions()), default=0)
    if newest > known:
        what = "is older than the artifacts" if known else "is missing, but there are artifacts"
        raise UsageError(
            f"{database} {what} beside it. Only this file records the origin of the artifacts. Restore the file; or "
            f"rename {os.path.join(root, 'artifacts')} and run again (checkpoints and pushed models are still used); "
            "or choose another --root."
        )


def open_store(root: str) -> MetadataStore:
    """Opens a root's `metadata.sqlite`. Creates the file if it is missing.

    Raises:
        UsageError: The file is not a database of ML Metadata.
    """
    from tfx.orchestration import metadata

    database = os.path.join(root, "metadata.sqlite")
    try:
        return MetadataStore(metadata.sqlite_metadata_connection_config(database))
    except Exception as error:  # ML Metadata has one class of exceptions per error code
        raise UsageError(
            f"{database} is not a database that ML Metadata can use; pipeline.log gives the reason. Restore the file "
            "from a copy; or rename both the file and the folder artifacts beside it, and run again."
        ) from error


def recover(store: MetadataStore, root: str) -> None:
    """Makes ML Metadata agree with the files of a root.

    Args:
        store: The store of `root/metadata.sqlite`.
        root: Absolute path of the run's folder.
    """
    _close_abandoned_executions(store)
    _move_records(store, root)
    _forget_lost_artifacts(store, root)
    remove_unfinished(os.path.join(root, "serving_model"))


def record_files(store: MetadataStore, root: str) -> None:
    """Records the files of all artifacts of a root, so that the next run can find missing files."""
    artifacts = os.path.join(root, "artifacts")
    files = {os.path.relpath(artifact.uri, artifacts): sorted(_files(artifact.uri)) for artifact in _live(store, root)}
    if files:
        write_atomically(os.path.join(artifacts, _FILES), json.dumps(files))


def _close_abandoned_executions(store: MetadataStore) -> None:
    """Marks executions that are RUNNING as FAILED. A killed run left them: this run holds the lock of the root."""
    abandoned = [e for e in store.get_executions() if e.last_known_state == _Execution.RUNNING]
    for execution in abandoned:
        execution.last_known_state = _Execution.FAILED
    if abandoned:
        store.put_executions(abandoned)


def _move_records(store: MetadataStore, root: str) -> None:
    """Changes the paths in the records of a moved or copied root: they then name files in this root only."""
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
            "This root was moved or copied from %s. The run uses the files in this root only: it reuses the examples, "
            "and search and training resume from their checkpoints.",
            ", ".join(sorted(origins)),
        )


def _forget_lost_artifacts(store: MetadataStore, root: str) -> None:
    """Removes artifacts with missing files from TFX's cache. TFX only checks whether an artifact's folder exists."""
    artifacts = os.path.join(root, "artifacts")
    recorded = _read_files(artifacts)
    lost, deleted = [], []
    for artifact in _live(store, root):
        path = os.path.relpath(artifact.uri, artifacts)
        whole = os.path.isdir(artifact.uri) and _files(artifact.uri) >= set(recorded.get(path, ()))
        # A copy: a look-up in the map itself would add an entry without a value, on which ML Metadata aborts.
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
            "Files are missing in %s: %s%s. The run recreates the files that it needs. A missing model is no longer "
            "used as a baseline.",
            artifacts,
            ", ".join(sorted(deleted)[:_NAMED]),
            more,
        )


def _live(store: MetadataStore, root: str) -> Iterator[metadata_store_pb2.Artifact]:
    """Yields the artifacts below a root that are LIVE, which means that TFX may use them."""
    for artifact in store.get_artifacts():
        if artifact.state == _Artifact.LIVE and artifact.uri.startswith(os.path.join(root, "artifacts") + "/"):
            yield artifact


def _numbers(artifacts: str) -> Iterator[int]:
    """Yields the numbers of the executions that wrote artifacts, from the paths artifacts/<node>/<output>/<number>."""
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
