"""What a run came to, asked of ML Metadata: for the terminal and for `summary.json`."""

import dataclasses
import os
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.report_gen import commands

FILE_NAME = "summary.json"  # in a run's root
_PRODUCED = metadata_store_pb2.Event.OUTPUT
_CONSUMED = metadata_store_pb2.Event.INPUT
_SUCCEEDED = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)


class Run:
    """One run of a pipeline, as ML Metadata recorded it.

    Args:
        store: The store.
        pipeline_name: `config.name`; its newest run is taken.

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
                self.executions[_context(store, execution, "node").name.split(".", 1)[1]] = execution

    def outputs(self, node: str) -> dict[str, metadata_store_pb2.Artifact]:
        """Returns the outputs of a component by name; none where it did not run to its end."""
        execution = self.executions.get(node)
        if execution is None:
            return {}
        events = [event for event in self._store.get_events_by_execution_ids([execution.id]) if event.type == _PRODUCED]
        artifacts = {artifact.id: artifact for artifact in self._artifacts(event.artifact_id for event in events)}
        return {event.path.steps[0].key: artifacts[event.artifact_id] for event in events}

    def seconds(self) -> dict[str, float]:
        """Returns how long each component took; a cached one takes next to nothing."""
        return {
            node: round((execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000, 1)
            for node, execution in self.executions.items()
        }

    def cached(self) -> list[str]:
        """Returns the components whose outputs were taken from an earlier run."""
        state = metadata_store_pb2.Execution.CACHED
        return [node for node, execution in self.executions.items() if execution.last_known_state == state]

    def ancestors(self, artifact: metadata_store_pb2.Artifact) -> dict[str, list[metadata_store_pb2.Artifact]]:
        """Returns all that an artifact came from, by artifact type: the lineage."""
        found = {artifact.id}
        frontier = {artifact.id}
        while frontier:
            producers = {
                event.execution_id
                for event in self._store.get_events_by_artifact_ids(list(frontier))
                if event.type == _PRODUCED
            }
            events = self._store.get_events_by_execution_ids(list(producers)) if producers else []
            # A deriver's two outputs are one architecture: what was produced together belongs together.
            frontier = {event.artifact_id for event in events if event.type in (_CONSUMED, _PRODUCED)} - found
            found |= frontier
        by_type: dict[str, list[metadata_store_pb2.Artifact]] = {}
        for ancestor in self._artifacts(found - {artifact.id}):
            by_type.setdefault(ancestor.type, []).append(ancestor)
        return by_type

    def _artifacts(self, ids: Iterable[int]) -> list[metadata_store_pb2.Artifact]:
        return self._store.get_artifacts_by_id(list(ids))


def summarise(run: Run) -> dict[str, Any]:
    """Returns the run in figures; JSON-able.

    Returns:
        `genotype` (its JSON), `genotype_text`, `genotype_origin`, `params`, `macs`, `test_accuracy` (0 to 1),
        `comparison` (what that is to be compared with: components/comparison.py), `class_accuracy` (by class
        name), `blessed`, `failures` (why it was not blessed, not pushed or hardly ought to be, a sentence each),
        `serving_model` (the pushed version's folder, or None), `trained_model` (where it was pushed from),
        `search_epochs` (0 without a search), `report` (the HTML file), `seconds` by component, `cached` components, and
        `lineage`: where the examples, the distribution and the genotype lie that the model came from.
    """
    from tfx.utils import path_utils

    from components import comparison
    from components.report_gen.inputs import read_evaluation
    from models.data import dataset_info
    from models.oracle.distribution import Distribution
    from models.runtime import artifact_files

    source = "ArchitectureDeriver" if "ArchitectureDeriver" in run.executions else "ArchitectureImporter"
    genotype = run.outputs(source)["genotype"]
    training = artifact_files.TRAINING.load(run.outputs("Trainer")["model_run"].uri, dict)
    evaluator = run.outputs("Evaluator")
    names = dataset_info.load(run.outputs("TfdsExampleGen")["examples"].uri).class_names
    evaluation = read_evaluation(evaluator["evaluation"].uri, names)
    compared = comparison.read(evaluator["evaluation"].uri)
    unclear = compared.failure(evaluation.accuracy)
    pushed = run.outputs("Pusher").get("pushed_model")
    history = []
    if "SupernetSearch" in run.executions:
        uri = run.outputs("SupernetSearch")["distribution"].uri
        history = artifact_files.DISTRIBUTION.load(uri, Distribution.from_document).history
    ancestors = run.ancestors(run.outputs("Trainer")["model"])
    return {
        "genotype": artifact_files.GENOTYPE.load(genotype.uri, dict),
        "genotype_text": _value(genotype, "genotype"),
        "genotype_origin": _value(genotype, "origin"),
        "params": training["params"],
        "macs": training["macs"],
        "test_accuracy": evaluation.accuracy,
        "comparison": dataclasses.asdict(compared),
        "class_accuracy": dict(sorted((result.name, result.accuracy) for result in evaluation.classes)),
        "blessed": bool(_value(evaluator["blessing"], "blessed")),
        "failures": [
            *evaluation.failures,
            *([unclear] if unclear else []),
            *_infra_failures(run.outputs("InfraValidator")),
        ],
        "trained_model": path_utils.serving_model_path(run.outputs("Trainer")["model"].uri),
        "serving_model": _value(pushed, "pushed_destination") if pushed and _value(pushed, "pushed") else None,
        "search_epochs": len(history),
        "report": artifact_files.REPORT.path(run.outputs("ReportGen")["report"].uri),
        "seconds": run.seconds(),
        "cached": run.cached(),
        "lineage": {
            name: [artifact.uri for artifact in ancestors.get(type_name, ())]
            for name, type_name in (
                ("examples", "Examples"),
                ("distribution", "components.Distribution"),
                ("genotype", "components.Genotype"),
            )
        },
    }


def text(summary: dict[str, Any], root: str) -> str:
    """Returns the end of a run as the terminal shows it."""
    served = summary["serving_model"]
    lines = [
        f"genotype        {summary['genotype_text']}",
        f"                from {summary['genotype_origin']}",
        f"parameters      {summary['params']:,}",
        f"multiply-adds   {summary['macs']:,}",
        f"test accuracy   {summary['test_accuracy']:.4f}",
        *(f"                {line}" for line in _compared(summary["comparison"])),
        f"blessed         {'yes' if summary['blessed'] else 'no'}",
        *(f"                {failure}" for failure in summary["failures"]),
        f"SavedModel      {served or 'not pushed'}",
        *([] if served else [f"                the trained one: {summary['trained_model']}"]),
        f"search epochs   {summary['search_epochs']}",
        f"seconds         {summary['seconds']['total']}",
        f"summary         {os.path.join(root, FILE_NAME)}",
        f"report          {summary['report']}",
    ]
    if served:
        lines += ["", "Serve it with TF Serving:", textwrap.indent(commands.serve(served), "  ")]
    return "\n".join(lines)


def _compared(comparison: dict[str, Any]) -> Iterator[str]:
    yield f"{comparison['chance']:.4f} by chance"
    yield f"{comparison['majority_share']:.4f} by always guessing {comparison['majority_class']!r}"
    if comparison["baseline_accuracy"] is not None:
        yield f"{comparison['baseline_accuracy']:.4f} by the latest blessed model"
    if comparison["baseline_not_compared"]:
        yield f"not compared with the latest blessed model: {comparison['baseline_not_compared']}"


def _infra_failures(outputs: dict[str, metadata_store_pb2.Artifact]) -> Iterator[str]:
    if outputs and not _value(outputs["blessing"], "blessed"):
        yield "The InfraValidator could not have TF Serving answer with the model; pipeline.log says why."


def _context(
    store: MetadataStore, execution: metadata_store_pb2.Execution, type_name: str
) -> metadata_store_pb2.Context:
    (context,) = (c for c in store.get_contexts_by_execution(execution.id) if c.type == type_name)
    return context


def _value(node: Any, name: str) -> Any:
    if name not in node.custom_properties:
        return None
    value = node.custom_properties[name]
    return getattr(value, value.WhichOneof("value"))
