"""models/networks/inheritance.py: a network starts with the weights of a supernet where they fit."""

import numpy as np
import pytest

from models.networks import inheritance
from models.search_spaces.registry import create_space
from models.settings import Settings

SHAPE, CLASSES = (8, 8, 3), 4
CASES = {
    "cell": (
        {"name": "cell", "operations": ("skip_connect", "sep_conv_3x3", "max_pool_3x3", "none")},
        {"cells": 3, "channels": 4},
    ),
    "nasbench201": ({"name": "nasbench201"}, {"cells": 1, "channels": 4}),
    "mobile": (
        {
            "name": "mobile",
            "operations": ("k3_e3", "k5_e3", "skip"),
            "backbone": {"stem": 8, "stem_stride": 1, "blocks": [[8, 1], [12, 2], [12, 1]], "head": 16},
        },
        {},
    ),
}


def _path(space, number):
    """The path that takes operation `number` of each choice."""
    return {choice.name: choice.operations[number % len(choice.operations)] for choice in space.choices}


def _outputs(network, images):
    """What the network computes with batch norm as in the search: from the statistics of the batch."""
    for layer in network._flatten_layers():
        if hasattr(layer, "moving"):
            layer.momentum = 0.0
    network(images, training=True)
    return network(images, training=True)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("number", [0, 1])
def test_a_network_of_the_supernets_size_computes_what_its_path_computes(name, number):
    space_settings, options = CASES[name]
    space = create_space(Settings.parse({"space": space_settings}).space)
    supernet = space.supernet(SHAPE, CLASSES, **options)
    path = _path(space, number)
    network = space.network(space.genotype(path), SHAPE, CLASSES, **options)
    images = np.random.default_rng(0).normal(size=(16, *SHAPE)).astype(np.float32)
    kernels = [weight for weight in network.trainable_variables if weight.name not in ("gamma", "beta")]
    taken, total = inheritance.take(network, inheritance.give(supernet))
    # All edges of the genotype are in the supernet, so only batch norm is fresh.
    assert taken == sum(int(np.prod(weight.shape)) for weight in kernels)
    assert total == sum(int(np.prod(weight.shape)) for weight in network.trainable_variables)
    np.testing.assert_allclose(_outputs(network, images), supernet(images, path=path), rtol=2e-3, atol=2e-3)


def test_what_does_not_fit_stays_fresh():
    space_settings, _ = CASES["cell"]
    space = create_space(Settings.parse({"space": space_settings}).space)
    given = inheritance.give(space.supernet(SHAPE, CLASSES, cells=3, channels=4))
    genotype = space.genotype(_path(space, 1))
    deeper = space.network(genotype, SHAPE, CLASSES, cells=6, channels=4)
    before = {place: [np.array(v) for v in layer.variables] for place, layer in deeper.positions().items()}
    taken, total = inheritance.take(deeper, given)
    assert 0 < taken < total
    changed = {
        place
        for place, layer in deeper.positions().items()
        if any(not np.array_equal(old, new) for old, new in zip(before[place], layer.variables, strict=True))
    }
    # Of six cells the reductions are cells 2 and 4, of three cells they are 1 and 2.
    assert {place.split("/")[0] for place in changed} <= {"stem", "cell_0", "cell_2", "head"}
    assert "cell_0/normal/input_0" in changed and not any(place.startswith("cell_1/") for place in changed)

    wider = space.network(genotype, SHAPE, CLASSES, cells=3, channels=6)
    weights = [np.array(variable) for variable in wider.variables]
    assert inheritance.take(wider, given)[0] == 0
    assert all(np.array_equal(old, new) for old, new in zip(weights, wider.variables, strict=True))
