"""The results of a run, for the terminal and for `summary.json`. ML Metadata gives the artifacts of the run."""

import dataclasses
import os
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ml_metadata.proto import metadata_store_pb2

from components.report_gen import commands
from pipeline import budget
from pipeline.run_record import Run, custom_property

if TYPE_CHECKING:
    from models.baselines.verdict import Figures
    from models.search.front import Point

FILE_NAME = "summary.json"  # in a run's root


def summarise(run: Run, tag: str) -> dict[str, Any]:
    """Returns the results of a run as JSON values.

    Args:
        run: The run.
        tag: The tag of the image tensorflow/serving in the command that serves the model.

    Returns:
        `genotype` (its JSON), `genotype_text`, `genotype_origin`, `params`, `macs`, `test_accuracy` (0 to 1),
        `val_accuracy` (0 to 1; None unless `config.train.hold_out_val`),
        `comparison` (the accuracies with which it is compared: components/comparison.py), `class_accuracy` (by class
        name), `blessed`, `failures` (why the model was not blessed or not pushed, and a warning if its accuracy may be
        chance; one sentence each), `serving_model` (the folder of the pushed version, or None), `serve` (the command
        that serves this version, or None), `trained_model` (the folder of the trained SavedModel), `search_epochs` (0
        without a search), `report` (the HTML file), `seconds` by component, `cached` components, `budget`
        (pipeline/budget.py; None without a budget), `baselines` (by name: `test_accuracy`, `params`, `macs` and
        `seconds`, and `verdict` and `p_value` of the network compared with this baseline), `verdict` (sentences on all
        baselines; None without baselines), `exports` (the SavedModel and the model in other formats: `name`, `file`,
        `bytes`, `accuracy` and so on of models/exports/verified.py; [] without other formats), `front` (the
        architectures of `config.derive.front`, cheapest first: the file `genotype`, `params`, `macs`, `latency_ms` or
        None, and the `predicted` score), and `lineage` (the URIs of the examples, the distribution and the genotype
        from which the model was made).
    """
    from tfx.utils import path_utils

    from components import comparison
    from components.report_gen.evaluation_results import read_evaluation
    from components.report_gen.inputs import read_front
    from models.baselines.verdict import Comparison
    from models.data import dataset_info
    from models.oracle.distribution import Distribution
    from models.runtime import artifact_files

    source = "ArchitectureDeriver" if "ArchitectureDeriver" in run.executions else "ArchitectureImporter"
    genotype = run.outputs(source)["genotype"]
    training = artifact_files.TRAINING.load(run.outputs("Trainer")["model_run"].uri, dict)
    evaluator = run.outputs("Evaluator")
    served = _pushed_to(run.outputs("Pusher").get("pushed_model"))
    names = dataset_info.load(run.outputs("TfdsExampleGen")["examples"].uri).class_names
    evaluation = read_evaluation(evaluator["evaluation"].uri, names)
    compared = comparison.read(evaluator["evaluation"].uri)
    unclear = compared.failure(evaluation.accuracy)
    history = []
    if "SupernetSearch" in run.executions:
        uri = run.outputs("SupernetSearch")["distribution"].uri
        history = artifact_files.DISTRIBUTION.load(uri, Distribution.from_document).history
    compared_with = None
    if "Baselines" in run.executions:
        uri = run.outputs("Baselines")["comparison"].uri
        compared_with = artifact_files.BASELINES.load(uri, Comparison.from_document)
    exports = []
    if "Exporter" in run.executions:
        uri = run.outputs("Exporter")["exports"].uri
        exports = [_export(row, uri) for row in artifact_files.EXPORTS.load(uri, list)]
    front = read_front(genotype.uri)
    ancestors = run.ancestors(run.outputs("Trainer")["model"])
    return {
        "genotype": artifact_files.GENOTYPE.load(genotype.uri, dict),
        "genotype_text": custom_property(genotype, "genotype"),
        "genotype_origin": custom_property(genotype, "origin"),
        "params": training["params"],
        "macs": training["macs"],
        "test_accuracy": evaluation.accuracy,
        "val_accuracy": training["val_accuracy"],
        "comparison": dataclasses.asdict(compared),
        "class_accuracy": dict(sorted((result.name, result.accuracy) for result in evaluation.classes)),
        "blessed": bool(custom_property(evaluator["blessing"], "blessed")),
        "failures": [
            *evaluation.failures,
            *([unclear] if unclear else []),
            *_infra_failures(run.outputs("InfraValidator")),
        ],
        "trained_model": path_utils.serving_model_path(run.outputs("Trainer")["model"].uri),
        "serving_model": served,
        "serve": served and commands.serve(served, tag),
        "search_epochs": len(history),
        "report": artifact_files.REPORT.path(run.outputs("ReportGen")["report"].uri),
        "seconds": run.seconds(),
        "cached": run.cached(),
        "budget": budget.account(run, training),
        "baselines": {found.name: _figures(found) for found in (compared_with.baselines if compared_with else ())},
        "verdict": compared_with.sentence if compared_with else None,
        "exports": exports,
        "front": [_point(point) for point in front.points] if front else [],
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
    """Returns the lines that the terminal shows at the end of a run."""
    served = summary["serving_model"]
    lines = [
        f"genotype        {summary['genotype_text']}",
        f"                from {summary['genotype_origin']}",
        f"parameters      {summary['params']:,}",
        f"multiply-adds   {summary['macs']:,}",
        f"test accuracy   {summary['test_accuracy']:.4f}",
        *(f"                {line}" for line in _compared(summary["comparison"])),
        *_baselines(summary),
        *_front(summary["front"]),
        f"blessed         {'yes' if summary['blessed'] else 'no'}",
        *(f"                {failure}" for failure in summary["failures"]),
        f"SavedModel      {served or 'not pushed'}",
        *([] if served else [f"                the trained model: {summary['trained_model']}"]),
        *_exports(summary),
        f"search epochs   {summary['search_epochs']}",
        f"seconds         {summary['seconds']['total']}",
        *budget.lines(summary["budget"]),
        f"summary         {os.path.join(root, FILE_NAME)}",
        f"report          {summary['report']}",
    ]
    if served:
        lines += ["", "Serve it with TF Serving:", textwrap.indent(summary["serve"], "  ")]
    return "\n".join(lines)


def _pushed_to(pushed: metadata_store_pb2.Artifact | None) -> str | None:
    return custom_property(pushed, "pushed_destination") if pushed and custom_property(pushed, "pushed") else None


def _figures(found: "Figures") -> dict[str, Any]:
    return {
        "test_accuracy": found.accuracy,
        "params": found.cost.params,
        "macs": found.cost.macs,
        "seconds": round(found.cost.seconds, 1),
        "verdict": found.verdict,
        "p_value": found.p_value,
    }


def _export(row: dict[str, Any], uri: str) -> dict[str, Any]:
    from models.runtime import artifact_files

    file = artifact_files.EXPORTED.get(row["name"])
    return {**row, "file": file.path(uri) if file and not row["refused"] else None}


def _exports(summary: dict[str, Any]) -> Iterator[str]:
    label = "formats"
    for row in summary["exports"]:
        if row["refused"]:
            yield f"{label:<16}{row['name']} was not written: {row['refused']}"
        else:
            figures = f"{row['accuracy']:.4f} accuracy, {row['bytes']:,} bytes, {row['latency']['median']:.2f} ms"
            yield f"{label:<16}{row['name']}: {figures}"
        label = ""


def _baselines(summary: dict[str, Any]) -> Iterator[str]:
    label = "baselines"
    for name, found in summary["baselines"].items():
        yield f"{label:<16}{found['test_accuracy']:.4f} {name}: the network is {found['verdict']}"
        label = ""
    if summary["verdict"]:
        yield from textwrap.wrap(summary["verdict"], 104, initial_indent=f"{'verdict':<16}", subsequent_indent=" " * 16)


def _point(point: "Point") -> dict[str, Any]:
    return {
        "genotype": point.genotype,
        **{name: point.costs[name] for name in ("params", "macs", "latency_ms")},
        "predicted": point.predicted,
    }


def _front(points: list[dict[str, Any]]) -> Iterator[str]:
    if points:
        few, many = points[0]["macs"], points[-1]["macs"]
        yield f"front           {len(points)} architectures, {few:,} to {many:,} multiply-adds: see the report"


def _compared(comparison: dict[str, Any]) -> Iterator[str]:
    yield f"{comparison['chance']:.4f} by chance"
    yield f"{comparison['majority_share']:.4f} by always guessing {comparison['majority_class']!r}"
    if comparison["baseline_accuracy"] is not None:
        yield f"{comparison['baseline_accuracy']:.4f} by the latest blessed model"
    if comparison["baseline_not_compared"]:
        yield f"not compared with the latest blessed model: {comparison['baseline_not_compared']}"


def _infra_failures(outputs: dict[str, metadata_store_pb2.Artifact]) -> Iterator[str]:
    if outputs and not custom_property(outputs["blessing"], "blessed"):
        yield "TF Serving did not answer the InfraValidator's requests with this model; pipeline.log gives the reason."
