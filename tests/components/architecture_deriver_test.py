"""ArchitectureDeriver: what it writes of what a search learned, or did not learn."""

import json
import os

import pytest
from absl import logging
from tfx.types import standard_artifacts

from components import artifacts
from components.architecture_deriver.executor import Executor
from models.architectures.genotype import load_genotype
from models.data.dataset_info import DatasetInfo
from models.networks import profiling
from models.oracle.multinomial import Multinomial
from models.runtime import artifact_files
from models.search.budgeted import BudgetError
from models.settings import Settings
from tests.support.latency_tables import measured
from tests.support.spaces import make_space

SPACE = {"name": "tests.support.tiny_space"}


def derive(directory, observations, of=SPACE, train=None, rule="paper", **options):
    """Runs the executor on a distribution that observed accuracies of paths; returns its genotype and derivation.

    With `train`, settings of the final training, the executor also gets examples and can compute costs.
    """
    space = make_space(of)
    multinomial = Multinomial([(choice.name, choice.operations) for choice in space.choices], rule)
    for path, accuracy in observations:
        multinomial.observe(dict(zip((choice.name for choice in space.choices), path, strict=True)), accuracy)
    outputs = {"genotype": [artifacts.Genotype()], "hyperparameters": [standard_artifacts.HyperParameters()]}
    distribution = artifacts.Distribution()
    for name, (artifact,) in {**outputs, "distribution": [distribution]}.items():
        artifact.uri = os.path.join(directory, name)
    os.makedirs(distribution.uri)
    with open(os.path.join(distribution.uri, "distribution.json"), "w") as file:
        json.dump(multinomial.document(), file)
    settings = {"space": json.dumps(of), "derive": json.dumps({"source": "argmax", **options})}
    found = {"distribution": [distribution]}
    if train is not None:
        examples = standard_artifacts.Examples()
        examples.uri = os.path.join(directory, "examples")
        DatasetInfo(
            name="pets",
            version="",
            class_names=("cat", "dog", "emu"),
            counts={},
            height=(8, 8),
            width=(8, 8),
            channels=(1, 1),
            normalization={},
            seed=0,
            val_fraction=0.5,
        ).save(examples.uri)
        found["examples"] = [examples]
        training = Settings.parse({"train": train, "seed": 3}).model_dump(
            mode="json", include={"train", "data", "seed"}
        )
        settings["training"] = json.dumps(training)
    if "latency_table" in options:
        table = artifacts.LatencyTable()
        table.uri = os.path.join(directory, "table")
        with open(options["latency_table"]) as file:
            artifact_files.LATENCY_TABLE.save(table.uri, json.load(file))
        found["latency_table"] = [table]
    Executor().Do(found, outputs, settings)
    with open(os.path.join(outputs["genotype"][0].uri, "derivation.json")) as file:
        return outputs["genotype"][0], json.load(file)


@pytest.fixture
def warned(monkeypatch):
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *arguments: lines.append(text % arguments))
    return lines


def test_a_uniform_distribution_is_not_called_a_search(tmp_path, warned):
    genotype, derivation = derive(tmp_path, [])
    assert genotype.get_string_custom_property("origin") == "a uniform distribution, not a search"
    assert derivation["source"] is None and derivation["warnings"] == warned
    assert "the search has learned nothing" in warned[0]


def test_choices_without_a_leading_operation_are_counted(tmp_path, warned):
    paths = [("conv_1x1", "skip", "skip"), ("conv_1x1", "conv_3x3", "skip"), ("conv_3x3", "skip", "skip")]
    _, derivation = derive(tmp_path, list(zip(paths, (0.2, 0.5, 0.9), strict=True)))
    assert derivation["origin"] == "search, argmax" and derivation["source"] == "argmax"
    assert derivation["warnings"] == warned
    assert "choices the distribution prefers no operation" in warned[0]


def test_many_skip_connections_are_warned_of_and_limited(tmp_path, warned):
    space = {"name": "nasbench201"}
    path = ("skip_connect",) * 4 + ("nor_conv_1x1",) * 2
    _, derivation = derive(tmp_path / "free", [(path, 0.5)], space, source="best")
    assert derivation["warnings"] == warned
    assert "More than half of the 6 edges are skip connections: 4." in warned[-1]
    genotype, derivation = derive(tmp_path / "limited", [(path, 0.5)], space, source="best", max_skip_connections=1)
    assert genotype.get_string_custom_property("genotype").count("skip_connect") == 1
    (warning,) = (text for text in derivation["warnings"] if "max_skip_connections" in text)
    assert "another operation replaced the skip connection of edge_1_0, edge_2_0, edge_2_1." in warning


NASBENCH201 = {"name": "nasbench201"}
TRAIN = {"network": "nasbench201", "cells": 1, "channels": 4}
# The dearest operation is the best one everywhere.
DEAR = [(("nor_conv_3x3",) * 6, 0.9), (("nor_conv_1x1",) * 6, 0.5), (("none",) * 6, 0.1)]


def profile(genotype):
    return profiling.profile(make_space(NASBENCH201).network(genotype, (8, 8, 1), 3, cells=1, channels=4))


def test_the_derived_network_is_within_the_budget(tmp_path):
    free, derivation = derive(tmp_path / "free", DEAR, NASBENCH201, TRAIN, "main_effects")
    assert "budget" not in derivation and free.get_string_custom_property("genotype").count("nor_conv_3x3") == 6
    limit = profile(load_genotype(os.path.join(free.uri, "genotype.json"))).params - 1
    genotype, derivation = derive(
        tmp_path / "small", DEAR, NASBENCH201, TRAIN, "main_effects", budget={"params": limit}
    )
    derived = load_genotype(os.path.join(genotype.uri, "genotype.json"))
    found = profile(derived)
    assert found.params <= limit
    assert derivation["budget"]["limits"] == {"params": limit} and derivation["budget"]["params"] == found.params
    assert derivation["budget"]["macs"] == found.macs and derivation["budget"]["latency_ms"] is None
    assert genotype.get_string_custom_property("origin") == derivation["origin"] == "search, argmax within the budget"
    assert not os.path.exists(os.path.join(genotype.uri, "front.json"))


def test_the_derived_network_is_within_a_budget_of_latency(tmp_path):
    space, train = make_space(NASBENCH201), Settings.parse({"train": TRAIN}).train
    path = str(tmp_path / "table.json")
    cost = measured(path, space, train, (8, 8, 1), 3).cost()
    free = cost.of({choice.name: "nor_conv_3x3" for choice in space.choices})
    limit = (cost.fixed + free) / 2
    genotype, derivation = derive(
        tmp_path, DEAR, NASBENCH201, TRAIN, "main_effects", latency_table=path, budget={"latency_ms": limit}, front=4
    )
    derived = load_genotype(os.path.join(genotype.uri, "genotype.json"))
    assert derivation["budget"]["latency_ms"] == cost.of(space.path(derived)) <= limit
    with open(os.path.join(genotype.uri, "front.json")) as file:
        front = json.load(file)
    found = [point["latency_ms"] for point in front["points"]]
    assert front["cost"] == "latency_ms" and found == sorted(found) and found[-1] == pytest.approx(free)


def test_a_front_lies_beside_the_genotype_which_it_leaves_as_it_is(tmp_path):
    free, _ = derive(tmp_path / "free", DEAR, NASBENCH201, None, "main_effects")
    genotype, derivation = derive(tmp_path / "front", DEAR, NASBENCH201, TRAIN, "main_effects", front=5)
    assert genotype.get_string_custom_property("genotype") == free.get_string_custom_property("genotype")
    assert derivation["budget"]["limits"] == {}
    with open(os.path.join(genotype.uri, "front.json")) as file:
        front = json.load(file)
    assert front["cost"] == "macs" and 2 <= len(front["points"]) <= 5
    assert front["chosen"]["macs"] == derivation["budget"]["macs"]
    for number, point in enumerate(front["points"]):
        assert point["genotype"] == f"front/{number:02d}.json"
        found = profile(load_genotype(os.path.join(genotype.uri, point["genotype"])))
        assert (point["params"], point["macs"]) == (found.params, found.macs)
    macs, predicted = ([point[name] for point in front["points"]] for name in ("macs", "predicted"))
    assert macs == sorted(set(macs)) and predicted == sorted(set(predicted))


def test_a_budget_that_no_architecture_meets_stops_the_derivation(tmp_path):
    with pytest.raises(BudgetError, match=r"config\.derive\.budget\.macs: found 5; the cheapest architecture"):
        derive(tmp_path, DEAR, NASBENCH201, TRAIN, budget={"macs": 5})


def test_a_uniform_distribution_within_a_budget_is_not_called_a_search(tmp_path, warned):
    genotype, derivation = derive(tmp_path, [], NASBENCH201, TRAIN, budget={"macs": 10**9})
    assert genotype.get_string_custom_property("origin") == "a uniform distribution, not a search"
    assert derivation["source"] is None and "the search has learned nothing" in warned[0]
