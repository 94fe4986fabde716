"""ArchitectureDeriver: what it writes of what a search learned, or did not learn."""

import json
import os

import pytest
from absl import logging
from tfx.types import standard_artifacts

from components import artifacts
from components.architecture_deriver.executor import Executor
from models.oracle.multinomial import Multinomial
from tests.support.spaces import make_space

SPACE = {"name": "tests.support.tiny_space"}


def derive(directory, observations, of=SPACE, **options):
    """Runs the executor on a distribution that observed accuracies of paths; returns its genotype and derivation."""
    space = make_space(of)
    multinomial = Multinomial([(choice.name, choice.operations) for choice in space.choices])
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
    Executor().Do({"distribution": [distribution]}, outputs, settings)
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
