"""The supernet of NAS-Bench-201's space: all operations on all edges of all cells."""

import keras
from keras import ops

from models.architectures import limits
from models.architectures.choices import Path
from models.architectures.nasbench201 import EDGES, NONE, choice_name, connected, path_genotype
from models.networks.heads import CIFAR_EPSILON, Head, require_input
from models.networks.nasbench201 import STAGES, NasBench201Cell, features, positions, skeleton
from models.networks.supernet import Supernet, search_norm


class NasBench201Supernet(Supernet):
    """All operations on all edges of all cells. Make one by `NasBench201Space.supernet`.

    Operations that are on no way from a cell's input to its output are not computed: without scale and shift, batch
    norm makes zeros of zeros, so they add nothing.
    """

    def __init__(self, operations, input_shape, classes, channels, cells, **kwargs):
        input_shape = require_input(input_shape, classes, limits.HALVINGS["nasbench201"])
        super().__init__(input_shape, **kwargs)
        candidates = [operations] * len(EDGES)
        self.skeleton = skeleton(candidates, input_shape, channels, cells, search_norm(CIFAR_EPSILON))
        self.width = channels * 2 ** (STAGES - 1)
        self.head = Head(classes)
        self.head.build((None, None, None, self.width))
        self.built = True

    def call(self, images, path: Path, training: bool = False):
        return self.head(self.stages(images, path)[-1])

    def stages(self, images, path: Path) -> list:
        operations = self._operations(path)
        if all(name == NONE for name in operations):
            return [ops.zeros((ops.shape(images)[0], 1, 1, self.width))] * STAGES
        return features(self.skeleton, images, operations)

    def path_layers(self, path: Path) -> list[keras.layers.Layer]:
        operations = self._operations(path)
        if all(name == NONE for name in operations):
            return [self.head]  # the last cell gives zeros, whatever comes before it
        used = []
        for layer in self.skeleton:
            used += layer.path_layers(operations) if isinstance(layer, NasBench201Cell) else [layer]
        return [*used, self.head]

    def positions(self) -> dict[str, keras.layers.Layer]:
        return positions(self.skeleton, self.head)

    def _operations(self, path):
        """For each edge the operation that is computed."""
        operations = path_genotype(path).operations
        cell = next(layer for layer in self.skeleton if isinstance(layer, NasBench201Cell))
        for edge, name in zip(EDGES, operations, strict=True):
            if name != NONE and not cell.has(edge, name):
                raise ValueError(f"path: this supernet has no operation {name!r} for {choice_name(*edge)}")
        return connected(operations)
