"""Parameters, multiply-adds and file size of the final networks of a space, as sums over the choices.

Every operation is built once at each shape that it can have, and one whole network gives the fixed part. Parameters and
multiply-adds are exact: the sum equals `models.networks.profiling.profile` of the network. They are exact in the cell
space for derived genotypes alone, whose nodes have two edges: node 2 then uses both inputs of its cell, so the layers
that prepare the inputs always exist.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping

import keras
import numpy as np

from models.architectures.cell import INPUTS, NONE
from models.architectures.mobile import parse
from models.costs.additive import AdditiveCost
from models.networks import layers, nasbench201, operations, profiling
from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import network_options
from models.settings import Train

SPACES = ("cell", "mobile", "nasbench201")
"""The spaces whose networks have known costs."""

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
        space: One of `SPACES`.
        train: `config.train`, which sizes the final network.
        image_shape: (height, width, channels) of an image.
        classes: Number of classes.

    Raises:
        ValueError: The costs of the space's networks are not known, or a setting does not fit the space.
    """
    if space.name not in SPACES:
        raise ValueError(f"The costs of the {space.name} space are not known; expected one of {', '.join(SPACES)}.")
    reference = space.derive({choice.name: [1.0] * len(choice.operations) for choice in space.choices})
    network = space.network(reference, image_shape, classes, **network_options(space, train))
    parts = {"cell": _cell, "mobile": _mobile, "nasbench201": _nasbench201}[space.name](space, network)
    profile = profiling.profile(network)
    whole = np.array([profile.params, profile.macs, _SIGNATURE_BYTES + _file_bytes(network)])
    fixed = whole - sum(parts[choice].get(operation, 0) for choice, operation in space.path(reference).items())
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


def _built(make: Callable[[], keras.layers.Layer], shape: tuple) -> _Costs:
    layer = make()
    layer.build(shape)
    return _costs(layer)


def _cell(space, network) -> dict[str, dict[str, _Costs]]:
    """Sums an operation over all cells of its kind; it has stride 2 on edges from the inputs of a reduction cell."""

    @functools.cache
    def built(name, channels, strides, sides):
        return _built(lambda: operations.resolve(name)(channels, strides, layers.BatchNorm), (None, *sides, channels))

    def total(choice, name):
        kind, _, source = choice.split("_")
        halved = kind == "reduce" and int(source) < INPUTS
        return sum(
            built(name, cell.channels, 2 if halved else 1, sides if halved else cell.sides)
            for cell, sides in _with_input_sides(network)
            if cell.reduction == (kind == "reduce")
        )

    return {
        choice.name: {name: total(choice.name, name) for name in choice.operations if name != NONE}
        for choice in space.choices
    }


def _with_input_sides(network) -> Iterator[tuple[keras.layers.Layer, tuple[int, int]]]:
    """Yields each cell of a network with height and width of its input 1; the first cell is not a reduction."""
    sides = network.cells[0].sides
    for cell in network.cells:
        yield cell, sides
        sides = cell.sides


def _mobile(space, network) -> dict[str, dict[str, _Costs]]:
    built = functools.cache(
        lambda channels, block, strides, shape: _built(
            lambda: operations.InvertedResidual(channels, *block, strides, layers.BatchNorm), shape
        )
    )
    found = {}
    shape = profiling.output_shape(network.stem)
    for choice, (channels, strides) in zip(space.choices, space.backbone.blocks, strict=True):
        blocks = {name: parse(name) for name in choice.operations}
        found[choice.name] = {
            name: built(channels, block, strides, shape) for name, block in blocks.items() if block is not None
        }
        shape = (None, *(-(-side // strides) for side in shape[1:3]), channels)
    return found


def _nasbench201(space, network) -> dict[str, dict[str, _Costs]]:
    """Sums an operation over all cells: also operations that are cut off from the output have their weights."""
    shapes = [
        profiling.output_shape(layer) for layer in network.skeleton if isinstance(layer, nasbench201.NasBench201Cell)
    ]
    built = functools.cache(
        lambda name, shape: _built(lambda: nasbench201.OPERATIONS[name](shape[-1], layers.BatchNorm), shape)
    )
    return {
        choice.name: {name: sum(built(name, shape) for shape in shapes) for name in choice.operations if name != NONE}
        for choice in space.choices
    }
