"""A run as ML Metadata recorded it."""

from collections.abc import Iterable
from typing import Any

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

_PRODUCED = metadata_store_pb2.Event.OUTPUT
_CONSUMED = metadata_store_pb2.Event.INPUT
_SUCCEEDED = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)


class Run:
    """One run of a pipeline, as ML Metadata recorded it.

    Args:
        store: The store.
        pipeline_name: The pipeline's name in the store. The newest run of this pipeline is read.

    Raises:
        LookupError: The store knows no run of this pipeline.
    """

    def __init__(self, store: MetadataStore, pipeline_name: str):
        self._store = store
        context = store.get_context_by_type_and_name("pipeline", pipeline_name)
        executions = store.get_executions_by_context(context.id) if context else []
        if not executions:
            raise LookupError(f"ML Metadata has no run of the pipeline {pipeline_name!r}.")
        newest = _context(store, max(executions, key=lambda execution: execution.id), "pipeline_run")
        self.executions: dict[str, metadata_store_pb2.Execution] = {}
        for execution in sorted(store.get_executions_by_context(newest.id), key=lambda execution: execution.id):
            if execution.last_known_state in _SUCCEEDED:
                node = _context(store, execution, "node").name.removeprefix(f"{pipeline_name}.")
                self.executions[node] = execution

    def outputs(self, node: str) -> dict[str, metadata_store_pb2.Artifact]:
        """Returns the outputs of a component by name; an empty dict if the component did not succeed."""
        execution = self.executions.get(node)
        if execution is None:
            return {}
        events = [event for event in self._store.get_events_by_execution_ids([execution.id]) if event.type == _PRODUCED]
        artifacts = {artifact.id: artifact for artifact in self._artifacts(event.artifact_id for event in events)}
        return {event.path.steps[0].key: artifacts[event.artifact_id] for event in events}

    def seconds(self) -> dict[str, float]:
        """Returns the seconds that each component took; nearly 0 for a cached component."""
        return {node: _seconds(execution) for node, execution in self.executions.items()}

    def seconds_of_work(self, node: str) -> float:
        """Returns the seconds that a component took; for a cached one those of the execution that made its outputs.

        The result is 0 if the component did not succeed.
        """
        if node not in self.executions:
            return 0.0
        ids = [artifact.id for artifact in self.outputs(node).values()]
        made = {event.execution_id for event in self._store.get_events_by_artifact_ids(ids) if event.type == _PRODUCED}
        executions = self._store.get_executions_by_id(sorted(made)) or [self.executions[node]]
        return max(_seconds(execution) for execution in executions)

    def cached(self) -> list[str]:
        """Returns the components whose outputs were taken from an earlier run."""
        state = metadata_store_pb2.Execution.CACHED
        return [node for node, execution in self.executions.items() if execution.last_known_state == state]

    def ancestors(self, artifact: metadata_store_pb2.Artifact) -> dict[str, list[metadata_store_pb2.Artifact]]:
        """Returns the lineage of an artifact: artifact type -> the artifacts from which this one was made."""
        found = {artifact.id}
        frontier = {artifact.id}
        while frontier:
            producers = {
                event.execution_id
                for event in self._store.get_events_by_artifact_ids(list(frontier))
                if event.type == _PRODUCED
            }
            events = self._store.get_events_by_execution_ids(list(producers)) if producers else []
            # Outputs of one execution belong together: both outputs of ArchitectureDeriver hold the same architecture.
            frontier = {event.artifact_id for event in events if event.type in (_CONSUMED, _PRODUCED)} - found
            found |= frontier
        by_type: dict[str, list[metadata_store_pb2.Artifact]] = {}
        for ancestor in self._artifacts(found - {artifact.id}):
            by_type.setdefault(ancestor.type, []).append(ancestor)
        return by_type

    def _artifacts(self, ids: Iterable[int]) -> list[metadata_store_pb2.Artifact]:
        return self._store.get_artifacts_by_id(list(ids))


def _seconds(execution: metadata_store_pb2.Execution) -> float:
    return round((execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000, 1)


def _context(
    store: MetadataStore, execution: metadata_store_pb2.Execution, type_name: str
) -> metadata_store_pb2.Context:
    (context,) = (c for c in store.get_contexts_by_execution(execution.id) if c.type == type_name)
    return context


def custom_property(node: Any, name: str) -> Any:
    """Returns a custom property of an artifact or an execution; None if there is no property of this name."""
    if name not in node.custom_properties:
        return None
    value = node.custom_properties[name]
    return getattr(value, value.WhichOneof("value"))
