"""`config.deploy` and `config.baselines`: what they add to the pipeline."""

import json
import re

import pytest
from ml_metadata.proto import metadata_store_pb2

from models.costs.latency_table import LatencyTable
from models.settings import Settings
from pipeline import pipeline, validation
from pipeline.configs import digits
from tests.support.latency_tables import measured
from tests.support.spaces import make_space


def nodes(**deploy):
    config = digits.get_config()
    config.deploy.update(deploy)
    validation.validate(config)
    created = pipeline.create_pipeline(config, pipeline_root="/x/a", serving_dir="/x/s", checkpoint_dir="/x/c")
    return {node.id: node for node in created.components}


def test_by_default_nothing_is_added():
    assert not {"InfraValidator", "BulkInferrer", "SearchPlanner", "TrainingPlanner"} & set(nodes())


@pytest.mark.parametrize("architecture", ["", "darts_v2"])
def test_a_budget_is_planned_before_the_search_and_corrected_before_the_training(architecture):
    config = digits.get_config()
    config.budget.minutes, config.architecture = 5.0, architecture
    created = pipeline.create_pipeline(config, pipeline_root="/x/a", serving_dir="/x/s", checkpoint_dir="/x/c")
    found = {node.id: node for node in created.components}
    upstream = {name: {node.id for node in node.upstream_nodes} for name, node in found.items()}
    assert upstream["SearchPlanner"] == {"TfdsExampleGen", "ImageValidator"}
    source = "ArchitectureImporter" if architecture else "ArchitectureDeriver"
    assert {"SearchPlanner", source} <= upstream["TrainingPlanner"]
    assert ("SupernetSearch" in upstream["TrainingPlanner"]) == (not architecture)
    assert upstream["Trainer"] == {"TfdsExampleGen", "TrainingPlanner"}
    assert architecture or "SearchPlanner" in upstream["SupernetSearch"]


@pytest.mark.parametrize("minutes", [0.0, 5.0])
def test_a_teacher_comes_before_the_plan_and_its_labels_go_to_training_and_baselines(minutes):
    config = digits.get_config()
    config.train.teacher, config.baselines.pretrained, config.budget.minutes = True, "net.keras", minutes
    created = pipeline.create_pipeline(config, pipeline_root="/x/a", serving_dir="/x/s", checkpoint_dir="/x/c")
    order = [node.id for node in created.components]
    found = {node.id: node for node in created.components}
    upstream = {name: {node.id for node in node.upstream_nodes} for name, node in found.items()}
    assert upstream["Teacher"] == {"TfdsExampleGen", "ImageValidator"}
    assert order.index("Teacher") < order.index("SupernetSearch")
    assert all("Teacher" in upstream[name] for name in ("Trainer", "Baselines"))
    assert not minutes or "Teacher" in upstream["SearchPlanner"]
    assert "Teacher" not in nodes()


def test_the_supernets_weights_go_to_the_training_if_asked_for():
    def inputs(from_supernet):
        config = digits.get_config()
        config.search.objective, config.train.from_supernet = "val_accuracy", from_supernet
        created = pipeline.create_pipeline(config, pipeline_root="/x/a", serving_dir="/x/s", checkpoint_dir="/x/c")
        return next(node.inputs for node in created.components if node.id == "Trainer")

    assert "supernet" in inputs(True) and "supernet" not in inputs(False)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"search.objective": "spectrum"}, "the objective 'spectrum' (config.search.objective) trains no supernet"),
        ({"architecture": "darts_v2"}, "there is no search (config.architecture)"),
        ({"space.name": "tests.support.tiny_space"}, "the custom space 'tests.support.tiny_space'"),
    ],
)
def test_weights_that_no_search_trains_are_refused(changes, reason):
    config = digits.get_config()
    config.search.objective, config.train.from_supernet = "val_accuracy", True
    config.update_from_flattened_dict(changes)
    told = f"config.train.from_supernet: found True; expected False, the default: {reason}"
    with pytest.raises(validation.ConfigError, match=re.escape(told)):
        validation.validate(config)


@pytest.mark.parametrize("where, platform", [("docker", "local_docker"), ("kubernetes", "kubernetes")])
def test_infra_validation_stands_between_the_model_and_the_push(where, platform):
    found = nodes(infra_validation=where)
    spec = json.loads(found["InfraValidator"].exec_properties["serving_spec"])
    assert platform in spec
    assert spec["tensorflow_serving"]["tags"] == ["2.16.1"]
    request = json.loads(found["InfraValidator"].exec_properties["request_spec"])
    assert request["tensorflow_serving"]["signature_names"] == ["serve_examples"]
    assert found["InfraValidator"] in found["Pusher"].upstream_nodes


def test_bulk_inference_takes_the_split_and_only_a_blessed_model():
    found = nodes(bulk_inference="test")
    assert json.loads(found["BulkInferrer"].exec_properties["data_spec"])["example_splits"] == ["test"]
    assert {node.id for node in found["BulkInferrer"].upstream_nodes} == {"TfdsExampleGen", "Trainer", "Evaluator"}


@pytest.mark.parametrize("deploy", [{"infra_validation": "podman"}, {"bulk_inference": "all"}])
def test_other_values_are_refused(deploy):
    with pytest.raises(validation.ConfigError, match=f"config.deploy.{next(iter(deploy))}"):
        nodes(**deploy)


def test_other_formats_are_made_after_the_push_and_only_if_they_are_asked_for():
    assert "Exporter" not in nodes()
    config = digits.get_config()
    config.export.formats = ("litert", "litert_int8")
    validation.validate(config)
    created = pipeline.create_pipeline(config, pipeline_root="/x/a", serving_dir="/x/s", checkpoint_dir="/x/c")
    found = {node.id: node for node in created.components}
    assert found["Pusher"] in found["Exporter"].upstream_nodes
    assert found["Exporter"] in found["ReportGen"].upstream_nodes


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"export.formats": ("tflite",)}, "config.export.formats"),
        ({"export.formats": ("onnx", "onnx")}, "config.export.formats"),
        ({"export.formats": ("litert",), "train.mixed_precision": "bfloat16"}, "found litert with config.train.mixed"),
        ({"export.formats": ("onnx",), "train.mixed_precision": "float16"}, "found onnx with config.train.mixed_prec"),
        ({"export.calibration_images": 10}, "config.export.formats has no litert_int8"),
        ({"export.threads": 2}, "config.export.formats is empty"),
    ],
)
def test_formats_that_cannot_be_made_are_refused_before_the_search(changes, message):
    config = digits.get_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(validation.ConfigError, match=message):
        validation.validate(config)


def test_the_baselines_are_trained_after_the_push_and_left_out_if_none_is_named():
    found = nodes()
    assert found["Pusher"] in found["Baselines"].upstream_nodes
    assert found["Baselines"] in found["ReportGen"].upstream_nodes
    config = digits.get_config()
    config.baselines.names = ()
    assert validation.validate(config).baselines.compared(teacher=False) == ()
    created = pipeline.create_pipeline(config, pipeline_root="/x/a", serving_dir="/x/s", checkpoint_dir="/x/c")
    assert "Baselines" not in {node.id for node in created.components}


@pytest.mark.parametrize("key, value", [("front", 3), ("budget.macs", 10**9), (None, None)])
def test_the_deriver_knows_the_final_network_only_if_it_needs_costs(key, value):
    config = digits.get_config()
    if key:
        config.update_from_flattened_dict({f"derive.{key}": value})
    created = pipeline.create_pipeline(config, pipeline_root="/x/a", serving_dir="/x/s", checkpoint_dir="/x/c")
    found = {node.id: node for node in created.components}
    deriver = found["ArchitectureDeriver"]
    assert (found["TfdsExampleGen"] in deriver.upstream_nodes) == bool(key)
    # The same text, so that a compiled pipeline has one parameter for both.
    expected = found["Trainer"].exec_properties["custom_config"] if key else None
    assert deriver.exec_properties.get("training") == expected


def test_the_deriver_gets_the_latency_table_of_a_file_or_of_this_device(tmp_path):
    config = digits.get_config()
    settings = Settings.parse(config)
    space = make_space({"name": settings.space.name, "operations": list(settings.space.operations)})
    path = str(tmp_path / "table.json")
    table = measured(path, space, settings.train, (8, 8, 1), 10)
    config.derive.front, config.derive.latency_table = 3, path

    def nodes():
        store = metadata_store_pb2.ConnectionConfig()
        created = pipeline.create_pipeline(
            config, pipeline_root="/x/a", serving_dir="/x", checkpoint_dir="/x", metadata_connection_config=store
        )
        return {node.id: node for node in created.components}

    found = nodes()
    parameters = found["LatencyTable"].exec_properties
    assert LatencyTable.parse(parameters["given"], "") == table and parameters.get("device") is None
    assert found["LatencyTable"] in found["ArchitectureDeriver"].upstream_nodes
    assert found["ArchitectureDeriver"] not in found["LatencyTable"].upstream_nodes
    config.derive.latency_table = "measure"
    config.budget.minutes, config.budget.keep = 5.0, ("train.cells", "train.channels")
    found = nodes()
    parameters = found["LatencyTable"].exec_properties
    assert parameters.get("given") is None and json.loads(parameters["device"])["cores"] >= 1
    assert found["LatencyTable"] in found["SearchPlanner"].upstream_nodes
    config.derive.latency_table = ""
    assert "LatencyTable" not in nodes()
