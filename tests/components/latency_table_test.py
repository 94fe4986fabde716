"""LatencyTable: a table that is measured, or was measured elsewhere, and what it refuses before a search."""

import json
import os

import pytest
from tfx.types import channel, standard_artifacts

from components import artifacts
from components.latency_table import executor
from components.latency_table.component import LatencyTable as Component
from models.costs import table_process
from models.costs.latency_table import LatencyTable
from models.costs.networks import network_costs
from models.data.dataset_info import DatasetInfo
from models.runtime import artifact_files
from models.search.budgeted import BudgetError, cheapest
from models.search.shape import Shape
from models.settings import Settings
from tests.support.latency_tables import measured
from tests.support.spaces import make_space

TRAIN = {"network": "nasbench201", "cells": 1, "channels": 4}
SHAPE, CLASSES = (8, 8, 1), ("cat", "dog", "emu")


def settings_of(**derive):
    return Settings.parse({"space": {"name": "nasbench201"}, "train": TRAIN, "seed": 3, "derive": derive})


def run(folder, settings, given=None):
    """Runs the executor; returns its artifact."""
    examples = standard_artifacts.Examples()
    examples.uri = os.path.join(folder, "examples")
    info = DatasetInfo("pets", "", CLASSES, {}, (8, 8), (8, 8), (1, 1), {}, seed=0, val_fraction=0.5)
    info.save(examples.uri)
    parameters = Component(
        channel.Channel(type=standard_artifacts.Examples),
        channel.Channel(type=artifacts.ImageReport),
        space=settings.space,
        derive=settings.derive,
        training=json.dumps(settings.model_dump(mode="json", include={"train", "data", "seed"})),
        given=given,
        device=None,
        checkpoint_dir=os.path.join(folder, "checkpoints"),
    ).exec_properties
    output = artifacts.LatencyTable()
    output.uri = os.path.join(folder, "table")
    inputs = {"examples": [examples], "image_report": [artifacts.ImageReport()]}
    executor.Executor().Do(inputs, {"latency_table": [output]}, parameters)
    return output


def table_of(path, settings):
    return measured(path, make_space({"name": "nasbench201"}), settings.train, SHAPE, len(CLASSES))


def test_a_table_of_another_device_becomes_an_artifact_if_it_is_for_these_networks(tmp_path):
    settings = settings_of(latency_table="t.json", front=3)
    table = table_of(tmp_path / "t.json", settings)
    output = run(str(tmp_path), settings, table.model_dump_json())
    assert artifact_files.LATENCY_TABLE.load(output.uri, LatencyTable.model_validate) == table
    assert output.get_float_custom_property("median_error") < 0.05
    other = Settings.parse(settings.model_dump() | {"train": {**TRAIN, "channels": 8}})
    with pytest.raises(ValueError, match="for other networks: config.train.channels 4 instead of 8"):
        run(str(tmp_path), other, table.model_dump_json())


def test_a_latency_that_no_network_reaches_stops_the_run_before_the_search(tmp_path):
    settings = settings_of(latency_table="t.json", budget={"latency_ms": 1e-6})
    table = table_of(tmp_path / "t.json", settings)
    with pytest.raises(BudgetError, match=r"config\.derive\.budget\.latency_ms: found 1e-06 ms; the cheapest arch"):
        run(str(tmp_path), settings, table.model_dump_json())


def test_limits_that_no_network_meets_together_stop_the_run_before_the_search(tmp_path):
    """The fast operations are those with parameters and multiply-adds."""
    settings = settings_of(latency_table="t.json", front=3)
    table = table_of(tmp_path / "t.json", settings)
    operations = {
        key: found.model_copy(update={"ms": 0.01 if "conv" in key else 1.0}) for key, found in table.operations.items()
    }
    whole = [
        network.model_copy(
            update={
                "ms": 0.5
                + sum(
                    operations[key].ms
                    for choice, name in network.path.items()
                    for key in table.places[choice].get(name, ())
                )
            }
        )
        for network in table.whole
    ]
    table = table.model_copy(update={"operations": operations, "whole": tuple(whole)})
    space = make_space({"name": "nasbench201"})
    costs = (*network_costs(space, settings.train, SHAPE, len(CLASSES)), table.cost())
    least = {cost.name: cheapest(Shape.of(space), cost) for cost in costs}
    fast = {"latency_ms": least["latency_ms"] * 1.01}
    run(str(tmp_path), settings_of(latency_table="t.json", budget=fast), table.model_dump_json())
    for second in ({"params": least["params"]}, {"macs": least["macs"]}):
        both = settings_of(latency_table="t.json", budget={**fast, **second})
        with pytest.raises(BudgetError, match="each limit can be met, but no architecture meets all of them together"):
            run(str(tmp_path), both, table.model_dump_json())


def test_a_table_is_measured_once_whatever_else_of_the_training_changes(tmp_path, monkeypatch):
    paths = []

    def measure(path, space, train, image_shape, classes, **options):
        paths.append(path)
        assert options == {"backend": "tensorflow", "threads": 2, "seed": 3}
        measured(path, make_space({"name": space.name}), train, image_shape, classes)

    monkeypatch.setattr(table_process, "measure_elsewhere", measure)
    settings = settings_of(latency_table="measure", latency_backend="tensorflow", latency_threads=2, front=3)
    output = run(str(tmp_path), settings)
    table = artifact_files.LATENCY_TABLE.load(output.uri, LatencyTable.model_validate)
    assert table.networks.image_shape == SHAPE and table.networks.classes == 3 and not table.missing
    run(str(tmp_path), settings.model_copy(update={"train": settings.train.model_copy(update={"epochs": 5})}))
    run(str(tmp_path), settings.model_copy(update={"train": settings.train.model_copy(update={"channels": 8})}))
    assert paths[0] == paths[1] != paths[2]


def test_the_process_measures_what_is_missing_and_tells_of_its_end(tmp_path):
    settings, path = settings_of(latency_table="measure", front=3), str(tmp_path / "t.json")
    options = {"backend": "litert", "threads": 1, "seed": 3}
    whole = table_of(path, settings).model_copy(update={"wanted": 10, "rounds": 3})
    rest = whole.whole * 5
    whole.model_copy(update={"whole": rest[:29]}).save(path)
    table_process.measure_elsewhere(path, settings.space, settings.train, SHAPE, 3, **options)
    table = LatencyTable.load(path, "--table")
    assert table.operations == whole.operations and table.whole[:29] == rest[:29] and len(table.whole) == 30
    with pytest.raises(RuntimeError, match="ended with status 1"):
        table_process.measure_elsewhere(path, settings.space, settings.train, SHAPE, 5, **options)
