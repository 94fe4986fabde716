"""Parameters, multiply-adds and file size of the final networks of a space, as sums over the choices.

Every operation is built once at each shape that it can have, and one whole network gives the fixed part. Parameters and
multiply-adds are exact: the sum equals `models.networks.profiling.profile` of the network. They are exact in the cell
space for derived genotypes alone, whose nodes have two edges: node 2 then uses both inputs of its cell, so the layers
that prepare the inputs always exist.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import keras
import numpy as np

from models.costs.additive import AdditiveCost
from models.costs.sites import Site, reference_network, sites
from models.networks import profiling
from models.search_spaces.base import SearchSpace
from models.settings import Train

# Bytes of an exported SavedModel: for the signatures, for each layer, variable and number of a variable, as
# benchmarks/speed/file_size.py fits them. (A number of 4 bytes is there twice: Keras exports each variable twice.)
_SIGNATURE_BYTES, _LAYER_BYTES, _VARIABLE_BYTES, _NUMBER_BYTES = 414_616.0, 445.0, 6_947.0, 8.03

# The costs of a layer: parameters, multiply-adds, bytes in the exported file.
_Costs = np.ndarray


def network_costs(
    space: SearchSpace, train: Train, image_shape: tuple[int, int, int], classes: int
) -> tuple[AdditiveCost, ...]:
    """Returns the costs `params`, `macs` and `file_mb` of the networks of a space.

    Args:
        space: One of `models.costs.sites.SPACES`.
        train: `config.train`, which sizes the final network.
        image_shape: (height, width, channels) of an image.
        classes: Number of classes.

    Raises:
        ValueError: The costs of the space's networks are not known, or a setting does not fit the space.
    """
    reference, network = reference_network(space, train, image_shape, classes)
    built = functools.cache(lambda site: _costs(site.built()))

    def total(places: tuple[Site, ...]) -> _Costs:
        return sum(map(built, places))

    parts = {
        choice: {operation: total(places) for operation, places in found.items()}
        for choice, found in sites(space, network).items()
    }
    profile = profiling.profile(network)
    whole = np.array([profile.params, profile.macs, _SIGNATURE_BYTES + _file_bytes(network)])
    fixed = whole - sum(parts[choice].get(operation, 0) for choice, operation in reference.items())
    return (
        _cost("params", "", 0, int, fixed, parts),
        _cost("macs", "", 1, int, fixed, parts),
        _cost("file_mb", "MB", 2, _megabytes, fixed, parts),
    )


def _cost(
    name: str,
    unit: str,
    index: int,
    number: Callable[[float], float],
    fixed: _Costs,
    parts: Mapping[str, Mapping[str, _Costs]],
) -> AdditiveCost:
    return AdditiveCost(
        name,
        unit,
        number(fixed[index]),
        {
            choice: {operation: number(costs[index]) for operation, costs in found.items()}
            for choice, found in parts.items()
        },
    )


def _megabytes(size: float) -> float:
    return float(size) / 10**6


def _costs(layer: keras.layers.Layer) -> _Costs:
    return np.array([profiling.parameters(layer), profiling.multiply_adds(layer), _file_bytes(layer)])


def _file_bytes(layer: keras.layers.Layer) -> float:
    """Returns the bytes of a layer in an exported file, without the signatures."""
    numbers = sum(math.prod(weight.shape) for weight in layer.weights)
    layers_inside = len(list(layer._flatten_layers()))
    return _NUMBER_BYTES * numbers + _VARIABLE_BYTES * len(layer.weights) + _LAYER_BYTES * layers_inside
