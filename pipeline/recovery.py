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
from ml_metadata.proto import metadata_store_pb2

from components.pusher.executor import remove_unfinished
from models.runtime.files import write_atomically
from pipeline.metadata_store import Store
from pipeline.root_records import FILE_NAME as IDENTITY
from pipeline.root_records import Identity, Records
from pipeline.roots import UsageError

_NAMED = 5  # number of lost artifacts that a warning names
_FILES = ".files.json"  # in ROOT/artifacts: path of an artifact relative to this folder -> its files

_Artifact = metadata_store_pb2.Artifact
_Execution = metadata_store_pb2.Execution


def require_metadata(root: str, store: Store) -> None:
    """Refuses artifacts that ML Metadata does not contain: new artifacts would get their numbers, and files would mix.

    Raises:
        UsageError: The store does not know the newest artifacts, or it cannot be opened.
    """
    newest = max(_numbers(os.path.join(root, "artifacts")), default=0)
    identity = Identity.read(root)
    if store.shared:
        _require_shared(root, store, identity, newest)
    elif newest:
        known = _newest(Records(store.open())) if os.path.isfile(store.address) else 0
        if newest > known and identity:
            raise UsageError(
                f"The artifacts in {root} are recorded in {identity.store}. Give this store with --metadata, or choose "
                "another --root."
            )
        if newest > known:
            what = "is older than the artifacts" if known else "is missing, but there are artifacts"
            raise UsageError(
                f"{store.address} {what} beside it. Only this file records the origin of the artifacts. Restore the "
                f"file; or rename {os.path.join(root, 'artifacts')} and run again (checkpoints and pushed models are "
                "still used); or choose another --root."
            )


def _require_shared(root: str, store: Store, identity: Identity | None, newest: int) -> None:
    opened = store.open()  # even if there is nothing to look up: a run must not begin without its store
    if identity is None:
        if newest:
            raise UsageError(
                f"{store.address} does not know the artifacts in {root}, which another store records. Leave out "
                "--metadata, or choose another --root."
            )
        return
    original = Identity.read(identity.root) if identity.root != root else None
    if original and original.id == identity.id:
        raise UsageError(
            f"{root} is a copy of {identity.root}, and {identity.store} records the artifacts of the original. To use "
            f"the checkpoints alone, remove {os.path.join(root, IDENTITY)} and {os.path.join(root, 'artifacts')}."
        )
    if newest > _newest(Records(opened, identity)):
        raise UsageError(
            f"{store.address} does not know the newest artifacts in {root}, which {identity.store} recorded. Give that "
            f"store with --metadata; or restore its database; or rename {os.path.join(root, 'artifacts')} and run "
            "again (checkpoints and pushed models are still used); or choose another --root."
        )


def _newest(records: Records) -> int:
    return max((execution.id for execution in records.executions()), default=0)


def recover(root: str, store: Store) -> Identity | None:
    """Makes ML Metadata agree with the files of a root.

    Args:
        root: Absolute path of the run's folder.
        store: The store that records the root.

    Returns:
        Which records of a shared store belong to the root; None if the store belongs to the root alone.
    """
    identity = Identity.of(root, store) if store.shared else None
    records = Records(store.open(), identity)
    _close_abandoned_executions(records)
    _move_records(records, root, identity)
    _forget_lost_artifacts(records, root)
    remove_unfinished(os.path.join(root, "serving_model"))
    if identity:
        identity.settle(root, store)
    return identity


def record_files(records: Records, root: str) -> None:
    """Records the files of all artifacts of a root, so that the next run can find missing files."""
    artifacts = os.path.join(root, "artifacts")
    files = {
        os.path.relpath(artifact.uri, artifacts): sorted(_files(artifact.uri)) for artifact in _live(records, root)
    }
    if files:
        write_atomically(os.path.join(artifacts, _FILES), json.dumps(files))


def _close_abandoned_executions(records: Records) -> None:
    """Marks executions that are RUNNING as FAILED. A killed run left them: this run holds the lock of the root."""
    abandoned = [e for e in records.executions() if e.last_known_state == _Execution.RUNNING]
    for execution in abandoned:
        execution.last_known_state = _Execution.FAILED
    if abandoned:
        records.store.put_executions(abandoned)


def _move_records(records: Records, root: str, identity: Identity | None) -> None:
    """Changes the paths in the records of a moved or copied root: they then name files in this root only.

    In a shared store, a root also uses artifacts of other roots; only those of its own former path are changed. Other
    roots may have used the store of this root alone, too: artifacts in a root that has an identity are theirs.
    """
    moved, origins = [], set()
    for artifact in records.artifacts():
        found = re.fullmatch(r"(.*)/artifacts/[^/]+/[^/]+/\d+", artifact.uri)
        if not found or found.group(1) == root or (identity and found.group(1) != identity.root):
            continue
        origin = found.group(1)
        if identity is None and os.path.exists(os.path.join(origin, IDENTITY)):
            continue
        artifact.uri = root + artifact.uri.removeprefix(origin)
        for value in artifact.custom_properties.values():
            if value.string_value.startswith(origin + "/"):
                value.string_value = root + value.string_value.removeprefix(origin)
        moved.append(artifact)
        origins.add(origin)
    if moved:
        records.store.put_artifacts(moved)
        logging.warning(
            "This root was moved or copied from %s. The run uses the files in this root only: it reuses the examples, "
            "and search and training resume from their checkpoints.",
            ", ".join(sorted(origins)),
        )


def _forget_lost_artifacts(records: Records, root: str) -> None:
    """Removes artifacts with missing files from TFX's cache. TFX only checks whether an artifact's folder exists."""
    artifacts = os.path.join(root, "artifacts")
    recorded = _read_files(artifacts)
    lost, deleted = [], []
    for artifact in _live(records, root):
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
        records.store.put_artifacts(lost)
    if deleted:
        more = f" and {len(deleted) - _NAMED} more" if len(deleted) > _NAMED else ""
        logging.warning(
            "Files are missing in %s: %s%s. The run recreates the files that it needs. A missing model is no longer "
            "used as a baseline.",
            artifacts,
            ", ".join(sorted(deleted)[:_NAMED]),
            more,
        )


def _live(records: Records, root: str) -> Iterator[metadata_store_pb2.Artifact]:
    """Yields the artifacts below a root that are LIVE, which means that TFX may use them."""
    for artifact in records.artifacts():
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
