"""The whole pipeline, run for real on the embedded digits."""

import json
import os
import re

import numpy as np
import pytest
import tensorflow as tf
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from components.report_gen import commands
from models.architectures.genotype import genotype_from_dict, load_genotype
from models.search.front import Point
from pipeline.summary import _front, _infra_failures, _point
from tests.support import pipeline_runs
from tests.support.html_page import Page


def _store(root) -> MetadataStore:
    return MetadataStore(metadata.sqlite_metadata_connection_config(os.path.join(root, "metadata.sqlite")))


def test_a_run_ends_with_a_blessed_model_that_is_pushed(digits_run):
    summary = digits_run.summary
    assert summary["blessed"] is True
    assert summary["search_epochs"] == 18
    assert 0.3 <= summary["test_accuracy"] <= 1.0
    assert len(summary["class_accuracy"]) == 10
    assert summary["params"] > 1000
    assert summary["seconds"]["total"] > summary["seconds"]["SupernetSearch"] > 0
    assert genotype_from_dict(summary["genotype"]).text() == summary["genotype_text"]
    assert os.path.isfile(os.path.join(summary["serving_model"], "saved_model.pb"))
    for shown in ("genotype", "test accuracy", "blessed", "docker run", summary["serving_model"]):
        assert shown in digits_run.stdout
    compared = summary["comparison"]
    assert (compared["threshold"], compared["chance"], compared["baseline_accuracy"]) == (0.3, 0.1, None)
    assert f"{compared['majority_share']:.4f} by always guessing {compared['majority_class']!r}" in digits_run.stdout


def test_the_summary_lists_a_front_and_a_run_without_one_has_none(digits_run):
    assert digits_run.summary["front"] == [] and "\nfront " not in digits_run.stdout
    costs = {"params": 10, "macs": 2000, "latency_ms": None, "file_mb": 0.5}
    points = [_point(Point(f"/a/front/0{number}.json", costs, number / 2)) for number in range(2)]
    expected = {"params": 10, "macs": 2000, "latency_ms": None, "predicted": 0.5}
    assert points[1] == {"genotype": "/a/front/01.json", **expected}
    (line,) = _front(points)
    assert line == "front           2 architectures, 2,000 to 2,000 multiply-adds: see the report"


def test_the_run_says_whether_the_network_is_better_than_the_baselines(digits_run):
    summary = digits_run.summary
    assert list(summary["baselines"]) == ["majority", "cnn"]
    assert summary["baselines"]["majority"]["test_accuracy"] == pytest.approx(summary["comparison"]["majority_share"])
    assert summary["baselines"]["cnn"]["params"] > 90_000
    for name, found in summary["baselines"].items():
        assert f"{found['test_accuracy']:.4f} {name}: the network is {found['verdict']}\n" in digits_run.stdout
    assert " ".join(digits_run.stdout.split()).count(summary["verdict"]) == 1
    assert any(line.startswith("cnn 1/1 ") for line in digits_run.stderr.splitlines())
    assert _order(digits_run.stderr, "Pusher", "Baselines", "ReportGen")
    with open(summary["report"]) as file:
        shown = Page(file.read()).text["baselines"]
    assert summary["verdict"] in shown and f"{summary['baselines']['cnn']['macs']:,}" in shown
    # The same images with the same answers: what the Evaluator counts, the comparison counts.
    (artifact,) = _store(digits_run.root).get_artifacts_by_type("components.Baselines")
    with open(os.path.join(artifact.uri, "baselines.json")) as file:
        document = json.load(file)
    assert document["network"]["accuracy"] == pytest.approx(summary["test_accuracy"], abs=1e-6)
    searched, trained = (summary["seconds"][name] for name in ("SupernetSearch", "Trainer"))
    assert 0.3 * (searched + trained) < document["network"]["cost"]["seconds"] <= searched + trained + 1


def _order(log, *components):
    places = [log.index(f"] {component} ...") for component in components]
    return places == sorted(places)


def test_the_pushed_model_classifies_the_digits_it_was_tested_on(digits_run):
    model = tf.saved_model.load(digits_run.summary["serving_model"])
    (pattern,) = (os.path.join(uri, "Split-test", "*") for uri in digits_run.summary["lineage"]["examples"])
    records = list(tf.data.TFRecordDataset(tf.io.gfile.glob(pattern), compression_type="GZIP").as_numpy_iterator())
    labels = [tf.train.Example.FromString(record).features.feature["label"].int64_list.value[0] for record in records]
    answers = model.signatures["serve_examples"](tf.constant(records))["probabilities"].numpy()
    # TFMA counts in float32.
    assert np.mean(answers.argmax(axis=1) == labels) == pytest.approx(digits_run.summary["test_accuracy"], abs=1e-6)


def test_the_search_shows_its_progress_and_learns(digits_run):
    lines = [line for line in digits_run.stderr.splitlines() if line.startswith("search ")]
    assert len(lines) == 18
    for shown in ("spectrum", "best", "entropy", "left"):
        assert shown in lines[-1]


def test_the_derivation_says_where_the_architecture_comes_from(digits_run):
    (genotype_uri,) = digits_run.summary["lineage"]["genotype"]
    with open(os.path.join(genotype_uri, "derivation.json")) as file:
        derivation = json.load(file)
    assert derivation["source"] == "best"
    assert derivation["origin"] == digits_run.summary["genotype_origin"] == "search, best"


def test_metadata_tells_which_examples_distribution_and_genotype_a_pushed_model_came_from(digits_run):
    """Walks the events of ML Metadata from the pushed model upwards, with its own API alone."""
    store = _store(digits_run.root)
    (pushed,) = store.get_artifacts_by_type("PushedModel")
    frontier, ancestors = [pushed.id], {}
    while frontier:
        produced = [
            event.execution_id
            for event in store.get_events_by_artifact_ids(frontier)
            if event.type == metadata_store_pb2.Event.OUTPUT
        ]
        consumed = {
            event.artifact_id
            for event in (store.get_events_by_execution_ids(produced) if produced else [])
            if event.type == metadata_store_pb2.Event.INPUT
        }
        frontier = [artifact for artifact in consumed if artifact not in ancestors]
        ancestors.update(
            {artifact.id: artifact for artifact in store.get_artifacts_by_id(frontier)} if frontier else {}
        )
    by_type = {artifact.type: artifact for artifact in ancestors.values()}
    assert {"Examples", "components.Distribution", "HyperParameters", "Model", "ModelBlessing"} <= set(by_type)
    with open(os.path.join(by_type["components.Distribution"].uri, "distribution.json")) as file:
        distribution = json.load(file)
    assert len(distribution["choices"]) == 28
    # The genotype is what the deriver wrote beside the hyperparameters that the model was trained with.
    (event,) = (
        event
        for event in store.get_events_by_artifact_ids([by_type["HyperParameters"].id])
        if event.type == metadata_store_pb2.Event.OUTPUT
    )
    outputs = {
        event.artifact_id
        for event in store.get_events_by_execution_ids([event.execution_id])
        if event.type == metadata_store_pb2.Event.OUTPUT
    }
    (architecture,) = (
        artifact for artifact in store.get_artifacts_by_id(list(outputs)) if artifact.type == "components.Genotype"
    )
    assert load_genotype(os.path.join(architecture.uri, "genotype.json")).to_dict() == digits_run.summary["genotype"]
    lineage = digits_run.summary["lineage"]
    assert lineage["genotype"] == [architecture.uri]
    assert lineage["distribution"] == [by_type["components.Distribution"].uri]
    assert lineage["examples"] == [by_type["Examples"].uri]


def test_a_second_run_takes_the_search_and_the_training_from_the_first(digits_run):
    again = pipeline_runs.run(digits_run.root)
    assert again.returncode == 0, again.stderr
    cached = set(again.summary["cached"])
    assert {"TfdsExampleGen", "SupernetSearch", "ArchitectureDeriver", "Trainer", "Baselines"} <= cached
    assert again.summary["baselines"] == digits_run.summary["baselines"]
    for node in again.summary["cached"]:
        assert f"{node} cached" in again.stderr
    assert "Evaluator done, " in again.stderr
    assert again.summary["genotype"] == digits_run.summary["genotype"]
    assert again.summary["blessed"] is True
    assert again.summary["failures"] == []
    assert again.summary["comparison"]["baseline_accuracy"] == again.summary["test_accuracy"]
    assert f"{again.summary['test_accuracy']:.4f} by the latest blessed model" in again.stdout
    # The same model is not pushed twice.
    assert again.summary["serving_model"] == digits_run.summary["serving_model"]
    pushed = os.path.dirname(again.summary["serving_model"])
    assert [name for name in os.listdir(pushed) if name.isdigit()] == [os.path.basename(again.summary["serving_model"])]


def test_a_model_below_the_threshold_is_not_pushed_and_the_run_still_ends_well(tmp_path):
    finished = pipeline_runs.run(
        tmp_path,
        "--config.architecture=darts_v2",
        "--config.train.epochs=1",
        "--config.train.channels=4",
        "--config.baselines.names=()",
        "--config.baselines.epochs=0",
        "--config.evaluate.accuracy_threshold=0.999",
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.summary["blessed"] is False
    assert finished.summary["serving_model"] is None
    assert finished.summary["search_epochs"] == 0
    assert (finished.summary["baselines"], finished.summary["verdict"]) == ({}, None)
    assert "Baselines" not in finished.stderr and "verdict" not in finished.stdout
    assert "preset darts_v2" in finished.summary["genotype_origin"]
    assert f"not pushed\n                the trained model: {finished.summary['trained_model']}" in finished.stdout
    assert os.path.exists(os.path.join(finished.summary["trained_model"], "saved_model.pb"))
    failure, *_ = finished.summary["failures"]
    assert "0.999 is required" in failure and failure in finished.stdout
    with open(finished.summary["report"]) as file:
        report = Page(file.read())
    assert "0.999 is required" in report.text["verdict"]
    assert "the architecture was given" in report.text["search"]
    assert "was not pushed" in report.text["serve"]
    assert not os.path.exists(tmp_path / "serving_model")


@pytest.mark.parametrize(("blessed", "failures"), [(None, 0), (1, 0), (0, 1)], ids=["not asked", "passed", "failed"])
def test_the_summary_tells_of_a_model_that_tf_serving_did_not_answer_with(blessed, failures):
    outputs = {}
    if blessed is not None:
        outputs["blessing"] = metadata_store_pb2.Artifact()
        outputs["blessing"].custom_properties["blessed"].int_value = blessed
    found = list(_infra_failures(outputs))
    assert len(found) == failures
    assert all("InfraValidator" in failure and "pipeline.log" in failure for failure in found)


def test_the_report_of_a_run_tells_what_its_summary_tells(digits_run):
    summary = digits_run.summary
    assert f"report          {summary['report']}" in digits_run.stdout
    with open(summary["report"]) as file:
        text = file.read()
    shown = Page(text)
    assert all(source.startswith("data:image/") for source in shown.loaded)
    assert os.listdir(os.path.dirname(summary["report"])) == ["report.html"]
    assert summary["genotype_text"] in shown.text["verdict"]
    assert f"{summary['test_accuracy']:.4f}" in shown.text["verdict"]
    assert f"{summary['params']:,}" in shown.text["verdict"]
    assert "best" in shown.text["verdict"]  # config.derive.source
    assert commands.serve(summary["serving_model"], "2.16.1") in shown.text["serve"]
    for name, accuracy in summary["class_accuracy"].items():
        assert re.search(rf"{name}\s*{accuracy:.4f}", shown.text["test"])
    # Eight images of each of ten classes, every picture, and as many mistakes as the Evaluator found, up to 40.
    mistakes = min(40, round((1 - summary["test_accuracy"]) * 360))
    assert shown.text["test"].count(", taken for") == mistakes
    assert len(shown.loaded) == 80 + 11 + mistakes
    assert "Epochs: 4;" in shown.text["training"]
    assert "config.search.epochs = 18" in shown.text["settings"]
