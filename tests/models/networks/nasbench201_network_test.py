"""Tests of the network of NAS-Bench-201 (models/networks/nasbench201_network.py): its layers and its counts."""

import pytest

from models.architectures.nasbench201 import NasBench201Genotype
from models.networks import profiling
from models.networks.nasbench201_network import nasbench201_network


def everywhere(name):
    return NasBench201Genotype((name,) * 6)


@pytest.mark.parametrize(("name", "params"), [("nor_conv_3x3", 1_531_546), ("none", 73_306), ("skip_connect", 73_306)])
def test_parameters_are_those_of_the_benchmark(name, params):
    network = nasbench201_network(everywhere(name), (32, 32, 3), 10)
    assert profiling.profile(network).params == params
