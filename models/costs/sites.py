"""The operations of the final networks of a space, at every place and shape at which they can be built."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import keras

from models.architectures import nasbench201 as nasbench201_genotype
from models.architectures.cell import INPUTS, NONE
from models.architectures.choices import Path
from models.architectures.mobile import SKIP, parse
from models.networks import layers, nasbench201, operations, profiling
from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import network_options
from models.settings import Train

SPACES = ("cell", "mobile", "nasbench201")
"""The spaces whose networks have known operations."""


@dataclasses.dataclass(frozen=True)
class Site:
    """An operation at a shape.

    Attributes:
        space: The name of the space.
        operation: The name of the operation.
        shape: (height, width, channels) of its input.
        channels: The channels of its output.
        strides: 1, or 2 to halve the sides.
    """

    space: str
    operation: str
    shape: tuple[int, int, int]
    channels: int
    strides: int

    @property
    def kind(self) -> str:
        """The operation and its stride, in words."""
        return self.operation if self.strides == 1 else f"{self.operation} of stride {self.strides}"

    def __str__(self) -> str:
        return f"{self.kind}, {'x'.join(map(str, self.shape))} to {self.channels} channels"

    def built(self) -> keras.layers.Layer:
        """Returns a new layer of the operation, built for the shape."""
        if self.space == "cell":
            layer = operations.resolve(self.operation)(self.channels, self.strides, layers.BatchNorm)
        elif self.space == "mobile":
            layer = operations.InvertedResidual(self.channels, *parse(self.operation), self.strides, layers.BatchNorm)
        else:
            layer = nasbench201.OPERATIONS[self.operation](self.channels, layers.BatchNorm)
        layer.build((None, *self.shape))
        return layer


Sites = Mapping[str, Mapping[str, tuple[Site, ...]]]
"""Choice name -> operation of `built` -> everywhere that it is built."""


def reference_network(
    space: SearchSpace, train: Train, image_shape: tuple[int, int, int], classes: int
) -> tuple[Path, keras.Model]:
    """Returns an architecture of a space and its network.

    Args:
        space: One of `SPACES`.
        train: `config.train`, which sizes the final network.
        image_shape: (height, width, channels) of an image.
        classes: Number of classes.

    Raises:
        ValueError: The operations of the space's networks are not known, or a setting does not fit the space.
    """
    if space.name not in SPACES:
        raise ValueError(f"The costs of the {space.name} space are not known; expected one of {', '.join(SPACES)}.")
    genotype = space.derive({choice.name: [1.0] * len(choice.operations) for choice in space.choices})
    return space.path(genotype), space.network(genotype, image_shape, classes, **network_options(space, train))


def built(space: SearchSpace) -> dict[str, tuple[str, ...]]:
    """Returns the operations of each choice that are built: all but `none` and `skip`, which add nothing.

    Args:
        space: One of `SPACES`.
    """
    return {
        choice.name: tuple(name for name in choice.operations if name not in (NONE, SKIP)) for choice in space.choices
    }


def sites(space: SearchSpace, network: keras.Model) -> Sites:
    """Returns where each operation of each choice is built.

    Args:
        space: One of `SPACES`.
        network: The network of any architecture of the space.
    """
    return {"cell": _cell, "mobile": _mobile, "nasbench201": _nasbench201}[space.name](space, network)


def computed(space: SearchSpace, path: Path, constants: bool) -> dict[str, str]:
    """Returns the operations that a network computes: those of a path that are not cut off from its output.

    Args:
        space: One of `SPACES`.
        path: The operation of each choice.
        constants: Whether operations that are cut off from the image are computed, too: what they return is constant.
    """
    if space.name != "nasbench201":
        return dict(path)
    operations = tuple(path[choice.name] for choice in space.choices)
    if constants:
        nodes = nasbench201_genotype.reached(operations)
        live = [node in nodes for node, _ in nasbench201_genotype.EDGES]
    else:
        live = [name != NONE for name in nasbench201_genotype.connected(operations)]
    return {choice.name: path[choice.name] for choice, used in zip(space.choices, live, strict=True) if used}


def _cell(space, network) -> Sites:
    """An operation is in all cells of its kind; it has stride 2 on edges from the inputs of a reduction cell."""

    def found(choice, name):
        kind, _, source = choice.split("_")
        halved = kind == "reduce" and int(source) < INPUTS
        return tuple(
            Site("cell", name, (*(sides if halved else cell.sides), cell.channels), cell.channels, 2 if halved else 1)
            for cell, sides in _with_input_sides(network)
            if cell.reduction == (kind == "reduce")
        )

    return {choice: {name: found(choice, name) for name in names} for choice, names in built(space).items()}


def _with_input_sides(network) -> Iterator[tuple[keras.layers.Layer, tuple[int, int]]]:
    """Yields each cell of a network with height and width of its input 1; the first cell is not a reduction."""
    sides = network.cells[0].sides
    for cell in network.cells:
        yield cell, sides
        sides = cell.sides


def _mobile(space, network) -> Sites:
    found = {}
    shape = profiling.output_shape(network.stem)[1:]
    for (choice, names), (channels, strides) in zip(built(space).items(), space.backbone.blocks, strict=True):
        found[choice] = {name: (Site("mobile", name, shape, channels, strides),) for name in names}
        shape = (*(-(-side // strides) for side in shape[:2]), channels)
    return found


def _nasbench201(space, network) -> Sites:
    """An operation is in all cells."""
    shapes = [
        profiling.output_shape(layer)[1:]
        for layer in network.skeleton
        if isinstance(layer, nasbench201.NasBench201Cell)
    ]
    return {
        choice: {name: tuple(Site("nasbench201", name, shape, shape[-1], 1) for shape in shapes) for name in names}
        for choice, names in built(space).items()
    }
