"""Tests of models/architectures/nasbench201.py."""

import itertools
import json

import pytest

from models.architectures.checks import GenotypeError
from models.architectures.genotype import genotype_from_dict
from models.architectures.nasbench201 import (
    EDGES,
    OPERATIONS,
    NasBench201Genotype,
    connected,
    path_genotype,
    reached,
)

MIXED = ("nor_conv_3x3", "none", "avg_pool_3x3", "skip_connect", "nor_conv_1x1", "none")


def test_edges_are_in_the_order_of_the_benchmarks_tables():
    assert EDGES == ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (node, source)
    assert OPERATIONS == ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def test_text_is_the_benchmarks_own():
    assert NasBench201Genotype(MIXED).text() == (
        "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
    )


def test_json_round_trip():
    genotype = NasBench201Genotype(list(MIXED))
    data = json.loads(json.dumps(genotype.to_dict()))
    assert data == {"space": "nasbench201", "operations": list(MIXED)}
    assert genotype_from_dict(data) == genotype
    assert len({genotype, genotype_from_dict(data)}) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "genotype: missing 'operations'; expected the fields operations"),
        ({"operations": MIXED, "cells": 5}, "genotype: unknown 'cells'"),
        ({"operations": "none"}, "operations: found 'none'; expected 6, one for each edge"),
        ({"operations": MIXED[1:]}, "operations: found 5; expected 6"),
        (
            {"operations": [*MIXED[:5], "sep_conv_3x3"]},
            "operations, edge from node 2 to node 3: found 'sep_conv_3x3'; expected one of none, skip_connect, ",
        ),
        ({"operations": [*MIXED[:5], ["none"]]}, r"edge from node 2 to node 3: found \['none'\]"),
    ],
)
def test_malformed_data_is_refused_with_the_place_and_what_is_allowed(data, message):
    with pytest.raises(GenotypeError, match=message):
        genotype_from_dict({"space": "nasbench201", **data})


def test_a_path_must_name_every_edge_and_no_other():
    path = {"edge_1_0": "none", "edge_2_0": "none", "edge_2_1": "none", "edge_3_0": "none", "edge_3_1": "none"}
    with pytest.raises(ValueError, match=r"path: missing \['edge_3_2'\], unknown \['edge_0_1'\]"):
        path_genotype({**path, "edge_0_1": "none"})
    assert path_genotype({**path, "edge_3_2": "skip_connect"}).operations[5] == "skip_connect"


def reachable(edges, start):
    """The nodes that the edges (from, to) lead to, by brute force."""
    found = {start}
    for _ in range(4):
        found |= {to for source, to in edges if source in found}
    return found


def test_reached_and_connected_are_what_a_search_of_the_graph_finds():
    for kept in itertools.product((False, True), repeat=6):
        operations = tuple("nor_conv_1x1" if keep else "none" for keep in kept)
        edges = [edge for edge, keep in zip(EDGES, kept, strict=True) if keep]
        backward = reachable(edges, 3)
        forward = reachable([(source, node) for node, source in edges], 0)
        assert reached(operations) == backward
        live = {(node, source) for node, source in edges if node in backward and source in forward}
        expected = tuple("nor_conv_1x1" if edge in live else "none" for edge in EDGES)
        assert connected(operations) == expected
        assert (3 in forward) == any(name != "none" for name in expected)
