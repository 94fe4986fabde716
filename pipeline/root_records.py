"""The records of one root in a store of ML Metadata.

A store that several roots share must tell their records apart: a pipeline has the same name in each of them, and two
machines can have different roots at the same path. So such a root has an identity, a random text in ROOT/metadata.json,
which is part of the pipeline's name in the store. TFX looks up cached results and the latest blessed model by this
name. A root never finds those of another one.
"""

import dataclasses
import json
import os
import secrets
from typing import TYPE_CHECKING

from pipeline.metadata_store import Store
from pipeline.roots import UsageError

if TYPE_CHECKING:
    from ml_metadata import MetadataStore
    from ml_metadata.proto import metadata_store_pb2

FILE_NAME = "metadata.json"  # in a root whose records are in a shared store
_NAME_LENGTH = 50  # TFX allows 63 characters, and the identity needs some of them


@dataclasses.dataclass(frozen=True)
class Identity:
    """Which records of a shared store belong to a root.

    Attributes:
        id: A random text.
        root: The path of the root when the identity was last used.
        store: The address of the store.
    """

    id: str
    root: str
    store: str

    @classmethod
    def read(cls, root: str) -> "Identity | None":
        """Returns the identity of a root; None if the root has no records in a shared store.

        Raises:
            UsageError: The file is damaged.
        """
        path = os.path.join(root, FILE_NAME)
        try:
            with open(path) as file:
                return cls(**json.load(file))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            raise UsageError(
                f"{path} is damaged. It says which records of ML Metadata belong to this root. Restore the file, or "
                "choose another --root."
            ) from None

    @classmethod
    def of(cls, root: str, store: Store) -> "Identity":
        """Returns the identity of a root, whose file is written if it is missing."""
        found = cls.read(root)
        if found is None:
            found = cls(secrets.token_hex(4), root, store.address)
            found._write()
        return found

    def settle(self, root: str, store: Store) -> None:
        """Records where root and store are now, after the records of a moved root have been changed."""
        current = dataclasses.replace(self, root=root, store=store.address)
        if current != self:
            current._write()

    def _write(self) -> None:
        from models.runtime.files import write_atomically

        write_atomically(os.path.join(self.root, FILE_NAME), json.dumps(dataclasses.asdict(self)))

    def pipeline_name(self, name: str) -> str:
        """Returns the name of a pipeline in a shared store.

        Args:
            name: `config.name`.
        """
        return f"{name[:_NAME_LENGTH]}-{self.id}"


class Records:
    """The executions and artifacts of one root.

    Args:
        store: The store.
        identity: Selects the records in a shared store; None if the store belongs to the root alone.
    """

    def __init__(self, store: "MetadataStore", identity: Identity | None = None):
        self.store = store
        self._identity = identity

    def executions(self) -> "list[metadata_store_pb2.Execution]":
        """Returns all executions of the root."""
        if self._identity is None:
            return self.store.get_executions()
        found = (self.store.get_executions_by_context(context.id) for context in self._pipelines())
        return [execution for executions in found for execution in executions]

    def artifacts(self) -> "list[metadata_store_pb2.Artifact]":
        """Returns all artifacts of the root, and those of other roots that it uses."""
        if self._identity is None:
            return self.store.get_artifacts()
        found = (self.store.get_artifacts_by_context(context.id) for context in self._pipelines())
        return [artifact for artifacts in found for artifact in artifacts]

    def _pipelines(self) -> "list[metadata_store_pb2.Context]":
        """Returns the contexts of the root's pipelines: one for each `config.name` that the root has had."""
        contexts = self.store.get_contexts_by_type("pipeline")
        return [context for context in contexts if context.name.endswith(f"-{self._identity.id}")]
