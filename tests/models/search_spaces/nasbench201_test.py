"""Tests of models/search_spaces/nasbench201.py: choices, derivation, paths, settings."""

import itertools
import math

import numpy as np
import pytest

from models.architectures.checks import GenotypeError
from models.architectures.nasbench201 import OPERATIONS, NasBench201Genotype, connected
from models.architectures.presets import PRESETS
from models.search_spaces.registry import network_options, supernet_options, unused
from models.settings import Settings
from tests.support.spaces import make_space

NAMES = ["edge_1_0", "edge_2_0", "edge_2_1", "edge_3_0", "edge_3_1", "edge_3_2"]


def space(**options):
    return make_space({"name": "nasbench201", **options})


def favouring(*names):
    """Probabilities of which each edge's name leads."""
    return {
        choice: [0.6 if operation == name else 0.1 for operation in OPERATIONS]
        for choice, name in zip(NAMES, names, strict=True)
    }


def test_there_are_six_edges_of_five_operations():
    assert [choice.name for choice in space().choices] == NAMES
    assert {choice.operations for choice in space().choices} == {OPERATIONS}
    fewer = space(operations=["skip_connect", "nor_conv_3x3"])
    assert {choice.operations for choice in fewer.choices} == {("skip_connect", "nor_conv_3x3")}


def test_derivation_takes_the_most_probable_operations_none_among_them():
    names = ("none", "nor_conv_1x1", "none", "avg_pool_3x3", "none", "skip_connect")
    assert space().derive(favouring(*names)).operations == names


def test_where_none_would_cut_the_cell_the_most_probable_connected_architecture_is_taken():
    # 0 -> 1 -> 2 would do, but nothing leads to the output; 2 -> 3 costs least.
    probabilities = favouring("skip_connect", "none", "nor_conv_3x3", "none", "none", "none")
    probabilities["edge_3_2"] = [0.4, 0.0, 0.35, 0.25, 0.0]
    assert space().derive(probabilities).operations == (
        *("skip_connect", "none", "nor_conv_3x3", "none", "none", "nor_conv_1x1"),
    )
    # Of equals the shortest way and the first operation.
    uniform = {choice.name: [0.2] * 5 for choice in space().choices}
    assert space().derive(uniform).operations == ("none", "none", "none", "skip_connect", "none", "none")
    certain = {choice.name: [1.0, 0, 0, 0, 0] for choice in space().choices}
    assert space().derive(certain).operations == ("none", "none", "none", "skip_connect", "none", "none")


def test_the_derived_architecture_is_the_most_probable_of_all_that_are_connected():
    operations = ("none", "skip_connect", "nor_conv_3x3")
    searched = space(operations=operations)
    all_connected = [names for names in itertools.product(operations, repeat=6) if set(connected(names)) != {"none"}]
    rng = np.random.default_rng(0)
    for _ in range(20):
        # None leads often.
        probabilities = {name: rng.dirichlet((4, 1, 1)) for name in NAMES}

        def probability(names, probabilities=probabilities):
            return math.prod(
                probabilities[edge][operations.index(name)] for edge, name in zip(NAMES, names, strict=True)
            )

        derived = searched.derive(probabilities).operations
        assert set(connected(derived)) != {"none"}
        assert probability(derived) == pytest.approx(max(map(probability, all_connected)))


def test_path_and_genotype_are_inverses():
    rng = np.random.default_rng(0)
    for _ in range(50):
        path = {choice.name: str(rng.choice(choice.operations)) for choice in space().choices}
        assert space().path(space().genotype(path)) == path


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        (PRESETS["mdenas_gpu"].genotype, "found a MobileGenotype; expected a NasBench201Genotype"),
        (NasBench201Genotype(("nor_conv_3x3",) * 6), "edge_1_0: nor_conv_3x3 is not in this space; .*skip_connect"),
    ],
)
def test_a_genotype_that_is_not_in_the_space_has_no_path(genotype, message):
    with pytest.raises(GenotypeError, match=message):
        space(operations=["skip_connect"]).path(genotype)


def test_none_need_not_be_offered_for_a_genotype_to_have_a_path():
    genotype = NasBench201Genotype(("skip_connect",) * 5 + ("none",))
    assert space(operations=["skip_connect"]).path(genotype)["edge_3_2"] == "none"


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        (["sep_conv_3x3"], "unknown operation 'sep_conv_3x3'; expected one of none, skip_connect,"),
        (["none"], "at least one operation besides none, such as skip_connect"),
        (["none", "none"], "none, none: one repeats"),
    ],
)
def test_operations_that_cannot_be_are_refused(operations, message):
    with pytest.raises(ValueError, match=rf"space\.operations: .*{message}|space\.operations: {message}"):
        space(operations=operations)


def test_it_has_no_options_of_its_own():
    with pytest.raises(ValueError, match=r"config\.space\.nodes: there is no such setting; expected name, operations"):
        space(nodes=5)


def test_probabilities_must_fit_the_choices():
    probabilities = favouring(*("none",) * 6)
    del probabilities["edge_2_1"]
    with pytest.raises(ValueError, match="probabilities of edge_2_1: found None; expected 5, one for each of none,"):
        space().derive(probabilities)


def test_its_settings_are_channels_and_cells_of_a_stage():
    settings = Settings.parse(
        {
            "space": {"name": "nasbench201"},
            "search": {"channels": 8, "cells": 1},
            "train": {"network": "nasbench201", "channels": 16, "cells": 5},
        }
    )
    assert supernet_options(space(), settings.search) == {"channels": 8, "cells": 1}
    assert network_options(space(), settings.train) == {"network": "nasbench201", "channels": 16, "cells": 5}
    without_use = {key for key in unused(settings) if key.startswith(("search.", "train."))}
    assert without_use == {
        *("search.score_images", "train.auxiliary_weight", "train.drop_path", "train.dropout"),
        *("train.teacher_temperature", "train.teacher_weight"),
    }


def test_there_is_one_kind_of_network():
    genotype = NasBench201Genotype(("skip_connect",) * 6)
    with pytest.raises(ValueError, match="network: found 'cifar'; expected 'nasbench201' with the nasbench201 space"):
        space().network(genotype, (8, 8, 3), 10, network="cifar")
