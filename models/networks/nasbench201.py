"""What networks and supernets of NAS-Bench-201 are composed of (Dong and Yang 2020, arXiv 2001.00326)."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from keras import ops

from models.architectures.nasbench201 import EDGES, NODES, NONE, reached
from models.networks import layers, operations

STAGES = 3  # channels double, and the sides halve, from one to the next


def _nor_conv(channels: int, norm: operations.Norm, kernel_size: int) -> operations.Chain:
    return operations.Chain([ops.relu, layers.Conv2D(channels, kernel_size), norm()])


OPERATIONS: dict[str, Callable[[int, operations.Norm], keras.layers.Layer]] = {
    "skip_connect": lambda channels, norm: operations.Identity(),
    "nor_conv_1x1": lambda channels, norm: _nor_conv(channels, norm, 1),
    "nor_conv_3x3": lambda channels, norm: _nor_conv(channels, norm, 3),
    "avg_pool_3x3": lambda channels, norm: layers.AvgPool(3),  # without batch norm, unlike that of the cell space
}
"""Makes each operation from the channels and what makes a batch norm layer. An edge that is `none` adds nothing."""


class NasBench201Cell(keras.layers.Layer):
    """A cell with one or more candidate operations on each edge; it keeps the shape of its input.

    Args:
        candidates: for each of `EDGES` the operations to create.
        channels: channels of each node.
        norm: makes a batch norm layer.
    """

    def __init__(self, candidates: Sequence[Sequence[str]], channels: int, norm: operations.Norm, **kwargs):
        super().__init__(**kwargs)
        self.edges = {
            self._key(edge, name): OPERATIONS[name](channels, norm)
            for edge, names in zip(EDGES, candidates, strict=True)
            for name in names
            if name != NONE
        }

    @staticmethod
    def _key(edge, name):
        node, source = edge
        return f"{node}_{source}_{name}"

    def has(self, edge: tuple[int, int], name: str) -> bool:
        """Returns whether a candidate operation of an edge (node, source) exists."""
        return self._key(edge, name) in self.edges

    def build(self, input_shape):
        for layer in self.edges.values():
            layer.build(input_shape)

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, images, operations: tuple[str, ...]):
        """Computes the cell of these operations; a node without operations is zero.

        Args:
            images: float (batch, height, width, channels).
            operations: one for each of `EDGES`.

        Returns:
            float (batch, height, width, channels).
        """
        states = {0: images}
        live = self._live(operations)
        for node in sorted(reached(operations) - {0}):
            incoming = [layer(states[source]) for (target, source), layer in live if target == node]
            # One pass; the gradient of + looks at the shapes first.
            states[node] = tf.add_n(incoming) if incoming else ops.zeros_like(images)
        return states[NODES - 1]

    def positions(self) -> dict[str, keras.layers.Layer]:
        """Returns the layers by their place (models/networks/inheritance.py)."""
        return {f"{self.name}/{key}": layer for key, layer in self.edges.items()}

    def path_layers(self, operations: tuple[str, ...]) -> list[keras.layers.Layer]:
        """Returns the layers that a call with `operations` uses, in a fixed order."""
        return [layer for _, layer in self._live(operations)]

    def _live(self, operations):
        """The edges that the output is computed from, and their layers."""
        nodes = reached(operations)
        return [
            (edge, self.edges[self._key(edge, name)])
            for edge, name in zip(EDGES, operations, strict=True)
            if name != NONE and edge[0] in nodes
        ]


class ResidualBlock(keras.layers.Layer):
    """Halves the sides between two stages; an odd side is rounded up.

    The sum of ReLU, 3x3 convolution of stride 2, batch norm, ReLU, 3x3 convolution, batch norm, and of a shortcut: 2x2
    average pool of stride 2, 1x1 convolution.

    Args:
        channels: channels of the output.
        norm: makes a batch norm layer.
    """

    def __init__(self, channels: int, norm: operations.Norm, **kwargs):
        super().__init__(**kwargs)
        self.body = operations.Chain(
            [ops.relu, layers.Conv2D(channels, 3, 2), norm(), ops.relu, layers.Conv2D(channels, 3), norm()]
        )
        # "same" makes of an odd side's last pixel a window of its own; benchmark images have even sides.
        pool = keras.layers.AveragePooling2D(2, padding="same", data_format="channels_last")
        self.shortcut = operations.Chain([pool, layers.Conv2D(channels)])

    def build(self, input_shape):
        self.body.build(input_shape)
        self.shortcut.build(input_shape)

    def call(self, images):
        return self.shortcut(images) + self.body(images)

    def compute_output_shape(self, input_shape):
        return self.body.compute_output_shape(input_shape)


def skeleton(
    candidates: Sequence[Sequence[str]],
    input_shape: tuple[int, int, int],
    channels: int,
    cells: int,
    norm: operations.Norm,
) -> list[keras.layers.Layer]:
    """Returns all layers in front of the head, built: stem, stages of cells with residual blocks between, last norm.

    Args:
        candidates: for each of `EDGES` the operations to create.
        input_shape: (height, width, channels) of an image.
        channels: channels of the first stage, 1 or more.
        cells: cells of each stage, 1 or more.
        norm: makes a batch norm layer.

    Raises:
        ValueError: if `cells` or `channels` is too small.
    """
    if cells < 1:
        raise ValueError(f"cells: found {cells}; expected 1 or more in each stage")
    if channels < 1:
        raise ValueError(f"channels: found {channels}; expected 1 or more")
    made: list[keras.layers.Layer] = [operations.Chain([layers.Conv2D(channels, 3), norm()], name="stem")]
    for stage in range(STAGES):
        width = channels * 2**stage
        if stage:
            made.append(ResidualBlock(width, norm, name=f"residual_block_{stage}"))
        made += [NasBench201Cell(candidates, width, norm, name=f"stage_{stage}_cell_{cell}") for cell in range(cells)]
    made.append(operations.Chain([norm(), ops.relu], name="last_norm"))
    shape = (None, *input_shape)
    for layer in made:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
    return made


def positions(made: Sequence[keras.layers.Layer], head: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """Returns the layers of a `skeleton` and the head by their place (models/networks/inheritance.py)."""
    found = {}
    for layer in (*made, head):
        found |= layer.positions() if isinstance(layer, NasBench201Cell) else {layer.name: layer}
    return found


def features(made: Sequence[keras.layers.Layer], images, operations: tuple[str, ...]):
    """Computes layers of a `skeleton` one after the other, with the same operations in each cell.

    Args:
        made: the layers.
        images: float (batch, height, width, channels).
        operations: one for each of `EDGES`.

    Returns:
        Tensors (batch, height, width, channels): the end of each stage, the last one after the last norm and ReLU.
    """
    ends = []
    for layer in made:
        if isinstance(layer, ResidualBlock):
            ends.append(images)
        images = layer(images, operations=operations) if isinstance(layer, NasBench201Cell) else layer(images)
    return [*ends, images]
