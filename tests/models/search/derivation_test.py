"""models/search/derivation.py: which architecture is taken from what a search learned."""

import dataclasses

import numpy as np
import pytest

from models.oracle.distribution import Distribution
from models.search import derivation
from models.settings import ConfigError, Derive
from tests.support.spaces import make_space


def _distribution(space, best_path=None, seed=0):
    rng = np.random.default_rng(seed)
    probabilities = {choice.name: rng.dirichlet(np.ones(len(choice.operations))) for choice in space.choices}
    return Distribution(
        operations={choice.name: choice.operations for choice in space.choices},
        probabilities=probabilities,
        argmax={choice.name: choice.operations[probabilities[choice.name].argmax()] for choice in space.choices},
        best=best_path,
        best_score=best_path and 0.9,
        best_trial=best_path and "0",
        direction="max",
        rule="paper",
        history=(),
    )


@pytest.fixture
def space():
    return make_space({"name": "cell"})


def _path(space, seed):
    rng = np.random.default_rng(seed)
    return {choice.name: str(rng.choice(choice.operations)) for choice in space.choices}


def test_argmax_takes_the_most_probable_operations(space):
    distribution = _distribution(space)
    derived = derivation.derive(space, distribution, "argmax")
    assert derived.origin == "argmax" and derived.genotype == space.derive(distribution.probabilities)


def test_argmax_follows_a_rule_that_recommends_something_else_than_the_most_probable(space):
    recommended = {choice.name: "sep_conv_3x3" for choice in space.choices}
    distribution = dataclasses.replace(_distribution(space), argmax=recommended)
    derived = derivation.derive(space, distribution, "argmax")
    assert set(space.path(derived.genotype).values()) == {"sep_conv_3x3", "none"}


def test_best_keeps_to_the_operations_of_the_best_evaluated_path(space):
    path = _path(space, seed=3)
    derived = derivation.derive(space, _distribution(space, path), "best")
    kept = {name: operation for name, operation in space.path(derived.genotype).items() if operation != "none"}
    assert len(kept) == 16  # two edges for each of the four nodes of both cells
    # An edge whose operation is "none" in the path is taken only where a node has fewer than two others.
    for cell in ("normal", "reduce"):
        for node in range(2, 6):
            edges = [f"{cell}_{node}_{source}" for source in range(node)]
            usable = [edge for edge in edges if path[edge] != "none"]
            taken = [edge for edge in edges if edge in kept]
            assert set(taken) <= set(usable) or len(usable) < 2
            assert all(kept[edge] == path[edge] for edge in taken if edge in usable)


@pytest.mark.parametrize("source", ["argmax", "best"])
def test_a_path_with_the_shape_of_a_genotype_is_taken_exactly(space, source):
    path = space.repair(_path(space, seed=3), np.random.default_rng(0))
    probabilities = {}
    for choice in space.choices:
        values = dict.fromkeys(choice.operations, 0.1)
        values[path[choice.name]] = 0.3
        if path[choice.name] == "none":  # the rivals here are more probable than the operations of the other edges
            values = dict.fromkeys(choice.operations, 0.0) | {"none": 0.55, "sep_conv_3x3": 0.45}
        probabilities[choice.name] = np.array(list(values.values()))
    distribution = dataclasses.replace(_distribution(space, path), probabilities=probabilities, argmax=path)
    assert space.path(space.derive(probabilities)) != path
    derived = derivation.derive(space, distribution, source)
    assert space.path(derived.genotype) == path
    assert derived.origin == source and derived.undecided == ()


def test_most_probable_operations_of_another_shape_follow_the_probabilities(space):
    path = space.repair(_path(space, seed=3), np.random.default_rng(0))
    path["normal_5_0"] = path["normal_5_1"] = path["normal_5_2"] = "sep_conv_3x3"  # three edges or more
    probabilities = {
        choice.name: np.array([0.3 if operation == path[choice.name] else 0.1 for operation in choice.operations])
        for choice in space.choices
    }
    distribution = dataclasses.replace(_distribution(space), probabilities=probabilities, argmax=path)
    assert derivation.derive(space, distribution, "argmax").genotype == space.derive(probabilities)


def test_a_distribution_of_another_space_is_refused(space):
    fewer = make_space({"name": "cell", "operations": ["skip_connect", "sep_conv_3x3"]})
    with pytest.raises(ValueError, match=r"choice 'normal_2_0'.*config\.space\.operations"):
        derivation.derive(space, _distribution(fewer), "argmax")


def test_an_unknown_source_is_refused():
    with pytest.raises(ConfigError, match=r"config\.derive\.source: found 'worst'; expected one of 'argmax', 'best'"):
        Derive.parse({"source": "worst"}, "derive")


def test_best_of_a_search_without_a_completed_trial_is_refused(space):
    with pytest.raises(ValueError, match="completed no trial"):
        derivation.derive(space, _distribution(space), "best")


def test_an_operation_that_does_not_lead_is_told(space):
    distribution = _distribution(space)
    assert derivation.derive(space, distribution, "argmax").undecided == ()
    uniform = {choice.name: np.full(len(choice.operations), 1 / len(choice.operations)) for choice in space.choices}
    first = {choice.name: choice.operations[0] for choice in space.choices}
    uniform = dataclasses.replace(distribution, probabilities=uniform, argmax=first)
    derived = derivation.derive(space, uniform, "argmax")
    assert derived.undecided == tuple(choice.name for choice in space.choices)


def test_a_recommendation_that_does_not_follow_the_probabilities_is_decided(space):
    distribution = _distribution(space)
    count = len(space.choices[0].operations)
    probabilities = {**distribution.probabilities, "normal_2_0": np.full(count, 1 / count)}
    argmax = {choice.name: "sep_conv_3x3" for choice in space.choices}
    recommended = dataclasses.replace(distribution, probabilities=probabilities, argmax=argmax)
    derived = derivation.derive(space, recommended, "argmax")
    assert derived.undecided == ()


def _skipping(space, operations):
    """A distribution whose most probable operations are the given ones, the first edges the least sure."""
    probabilities = {}
    for number, choice in enumerate(space.choices):
        leading = operations[number]
        values = dict.fromkeys(choice.operations, 0.1)
        values[leading] = 0.3 + 0.01 * number
        probabilities[choice.name] = np.array(list(values.values()))
    return dataclasses.replace(
        _distribution(space),
        probabilities=probabilities,
        argmax={choice.name: name for choice, name in zip(space.choices, operations, strict=True)},
    )


def test_skip_connections_beyond_the_limit_are_replaced_the_least_probable_first():
    space = make_space({"name": "nasbench201"})
    distribution = _skipping(space, ["skip_connect"] * 5 + ["none"])
    free = derivation.derive(space, distribution, "argmax")
    assert len(free.skips) == 5 and free.replaced == ()
    derived = derivation.derive(space, distribution, "argmax", max_skip_connections=2)
    assert derived.skips == ("edge_3_0", "edge_3_1")
    assert derived.replaced == ("edge_1_0", "edge_2_0", "edge_2_1")
    path = space.path(derived.genotype)
    assert all(path[name] not in ("skip_connect", "none") for name in derived.replaced)
    assert path["edge_3_2"] == "none"  # only skip connections are replaced


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_the_limit_holds_in_the_cell_space(space, limit):
    distribution = _skipping(space, ["skip_connect"] * len(space.choices))
    derived = derivation.derive(space, distribution, "argmax", max_skip_connections=limit)
    assert len(derived.skips) == limit


def test_a_limit_without_another_operation_is_refused():
    space = make_space({"name": "cell", "operations": ["skip_connect", "none"]})
    with pytest.raises(ValueError, match=r"config\.derive\.max_skip_connections: found 1; expected None"):
        derivation.derive(space, _distribution(space), "argmax", max_skip_connections=1)
