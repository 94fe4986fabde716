"""Cells and stacks of cells, for networks of one genotype and for supernets alike."""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf
from keras import ops

from models.architectures.cell import INPUTS, NODES, NONE, Node, reached
from models.networks import operations

Candidates = Mapping[tuple[int, int], Sequence[str]]
"""Which operations exist on the edge from a source to a node: `{(node, source): operations}`."""


class Cell(keras.layers.Layer):
    """A cell with one or more candidate operations on each edge.

    What is computed is said in each call, by nodes as in a `CellGenotype`; candidates that the call
    does not name stay untouched.

    Args:
        candidates: the operations to create. An input that no edge starts at is not preprocessed.
        concat: the nodes that the output concatenates.
        channels: channels of each node.
        reduction: whether edges from the inputs have stride 2.
        after_reduction: whether the cell before was a reduction, so that input 0 is twice as large
            as input 1.
        norm: makes a batch norm layer.
    """

    def __init__(
        self,
        candidates: Candidates,
        concat: Sequence[int],
        channels: int,
        reduction: bool,
        after_reduction: bool,
        norm: operations.Norm,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.concat = tuple(concat)
        self.channels = channels
        self.reduction = reduction
        sources = {source for _, source in candidates}
        self.preprocess = {}
        if 0 in sources:
            halve = operations.factorized_reduction
            prepare = halve if after_reduction else operations.relu_conv_norm
            self.preprocess["0"] = prepare(channels, norm)
        if 1 in sources:
            self.preprocess["1"] = operations.relu_conv_norm(channels, norm)
        self.edges = {
            self._key(node, source, name): operations.resolve(name)(channels, self._strides(source), norm)
            for (node, source), names in candidates.items()
            for name in names
            if name != NONE
        }

    @staticmethod
    def _key(node, source, name):
        return f"{node}_{source}_{name}"

    def _strides(self, source):
        return 2 if self.reduction and source < INPUTS else 1

    def edge(self, node: int, source: int, name: str) -> keras.layers.Layer:
        """Returns the layer of a candidate operation."""
        return self.edges[self._key(node, source, name)]

    def has(self, node: int, source: int, name: str) -> bool:
        """Returns whether a candidate operation exists."""
        return self._key(node, source, name) in self.edges

    def build(self, shape0, shape1):
        """Creates all weights.

        Args:
            shape0: shape of input 0, (batch, height, width, channels).
            shape1: shape of input 1, which is what all nodes but those of a reduction keep.
        """
        for source, shape in (("0", shape0), ("1", shape1)):
            if source in self.preprocess:
                self.preprocess[source].build(shape)
        whole = (None, *shape1[1:3], self.channels)
        sides = self.compute_output_shape(shape0, shape1)[1:3]
        for key, layer in self.edges.items():
            _, source, _ = key.split("_", 2)
            layer.build(whole if int(source) < INPUTS else (None, *sides, self.channels))
        self.sides = sides

    def compute_output_shape(self, shape0, shape1):
        halve = 2 if self.reduction else 1
        return (None, *(-(-side // halve) for side in shape1[1:3]), self.channels * len(self.concat))

    def call(self, input0, input1, nodes: Sequence[Node], masks=None):
        """Computes the cell that `nodes` describes.

        Args:
            input0, input1: float (batch, height, width, channels) outputs of the two cells before.
            nodes: the edges of each intermediate node.
            masks: None, or float (batch, edges) factors of drop path, one column for each of the
                `droppable(nodes)` edges.

        Returns:
            float (batch, height, width, channels * concatenated nodes).
        """
        states = {
            source: self.preprocess[str(source)](state)
            for source, state in enumerate((input0, input1))
            if source in reached(nodes, self.concat)
        }
        activated = {}  # the ReLU that most operations start with, computed once for each source
        masks = iter(ops.unstack(masks, axis=1)) if masks is not None else None
        for number, edges in self._live_edges(nodes):
            outputs = []
            for layer, source in edges:
                if getattr(layer, "starts_with_relu", False):
                    if source not in activated:
                        activated[source] = ops.relu(states[source])
                    output = layer(states[source], activated=activated[source])
                else:
                    output = layer(states[source])
                if masks is not None and not isinstance(layer, operations.Identity):
                    output = output * ops.reshape(next(masks), (-1, 1, 1, 1))
                outputs.append(output)
            if outputs:
                states[number] = tf.add_n(outputs)  # one pass; the gradient of + looks at the shapes first
            else:
                states[number] = ops.zeros((ops.shape(input1)[0], *self.sides, self.channels), self.compute_dtype)
        return ops.concatenate([states[number] for number in self.concat], axis=-1)

    def path_layers(self, nodes: Sequence[Node]) -> list[keras.layers.Layer]:
        """Returns the layers that a call with `nodes` uses, in a fixed order."""
        live = reached(nodes, self.concat)
        prepare = [self.preprocess[str(source)] for source in range(INPUTS) if source in live]
        return prepare + self._edge_layers(nodes)

    def positions(self) -> dict[str, keras.layers.Layer]:
        """Returns the layers by their place (models/networks/inheritance.py)."""
        kind = "reduce" if self.reduction else "normal"
        inside = {**{f"input_{source}": layer for source, layer in self.preprocess.items()}, **self.edges}
        return {f"{self.name}/{kind}/{key}": layer for key, layer in inside.items()}

    def droppable(self, nodes: Sequence[Node]) -> int:
        """Returns how many edges drop path can drop: all but identities (as DARTS does)."""
        return sum(not isinstance(layer, operations.Identity) for layer in self._edge_layers(nodes))

    def _live_edges(self, nodes):
        """For each node that the output depends on, its number and its (layer, source) pairs."""
        live = reached(nodes, self.concat)
        return [
            (
                number,
                [(self.edge(number, source, name), source) for name, source in node if name != NONE],
            )
            for number, node in enumerate(nodes, INPUTS)
            if number in live
        ]

    def _edge_layers(self, nodes):
        return [layer for _, edges in self._live_edges(nodes) for layer, _ in edges]


def reductions(cells: int) -> tuple[int, int]:
    """Returns the indices of the two reduction cells in a stack: a third and two thirds down."""
    return cells // 3, 2 * cells // 3


def stack(
    candidates: Mapping[str, Candidates],
    concat: Mapping[str, Sequence[int]],
    shapes: tuple[tuple, tuple],
    *,
    cells: int,
    channels: int,
    after_reduction: bool,
    norm: operations.Norm,
) -> list[Cell]:
    """Returns a built stack of cells, channels doubling at each reduction.

    Args:
        candidates: for "normal" and "reduce" the operations to create.
        concat: for "normal" and "reduce" the nodes that a cell's output concatenates.
        shapes: shapes of the two inputs of the first cell, (batch, height, width, channels).
        cells: number of cells, 3 or more.
        channels: channels of a node of the first cell.
        after_reduction: whether input 0 of the first cell is twice as large as input 1.
        norm: makes a batch norm layer.

    Raises:
        ValueError: if `cells` or `channels` is too small.
    """
    if cells < 3:
        raise ValueError(f"cells: found {cells}; expected 3 or more, one normal cell and the two reductions")
    if channels < 1:
        raise ValueError(f"channels: found {channels}; expected 1 or more")
    result = []
    shape0, shape1 = shapes
    for index in range(cells):
        reduction = index in reductions(cells)
        channels *= 2 if reduction else 1
        kind = "reduce" if reduction else "normal"
        cell = Cell(candidates[kind], concat[kind], channels, reduction, after_reduction, norm, name=f"cell_{index}")
        cell.build(shape0, shape1)
        shape0, shape1 = shape1, cell.compute_output_shape(shape0, shape1)
        after_reduction = reduction
        result.append(cell)
    return result


def all_edges() -> list[tuple[int, int]]:
    """Returns all (node, source) pairs of a cell, 14 of them."""
    return [(node, source) for node in range(INPUTS, INPUTS + NODES) for source in range(node)]
