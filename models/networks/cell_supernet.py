"""The supernet of the cell space: all operations on all edges of a stack of cells."""

import keras

from models.architectures import limits
from models.architectures.cell import CONCAT, INPUTS, KINDS, NONE, choice_name, path_genotype, reached
from models.architectures.choices import Path
from models.networks.cell import all_edges, stack
from models.networks.cell_network import cifar_stem
from models.networks.heads import CIFAR_EPSILON, Head, require_input
from models.networks.supernet import Supernet, search_norm


class CellSupernet(Supernet):
    """All operations on all edges of a stack of cells. Make one by `CellSpace.supernet`."""

    def __init__(self, operations, input_shape, classes, channels, cells, **kwargs):
        input_shape = require_input(input_shape, classes, halvings=limits.HALVINGS["cifar"])
        super().__init__(input_shape, **kwargs)
        norm = search_norm(CIFAR_EPSILON)
        shape = (None, *input_shape)
        self.stem = cifar_stem(channels, norm)
        self.stem.build(shape)
        shape = self.stem.compute_output_shape(shape)
        candidates = {edge: operations for edge in all_edges()}
        self.cells = stack(
            {kind: candidates for kind in KINDS},
            {kind: CONCAT for kind in KINDS},
            (shape, shape),
            cells=cells,
            channels=channels,
            after_reduction=False,
            norm=norm,
        )
        self.head = Head(classes)
        self.head.build((None, None, None, self.cells[-1].channels * len(CONCAT)))
        self.built = True

    def call(self, images, path: Path, training: bool = False):
        return self.head(self.stages(images, path)[-1])

    def stages(self, images, path: Path) -> list:
        genotype = self._genotype(path)
        state = self.stem(images)
        states, ends = (state, state), []
        for cell in self.cells:
            if cell.reduction:
                ends.append(states[1])
            nodes = genotype.reduce if cell.reduction else genotype.normal
            states = (states[1], cell(*states, nodes=nodes))
        return [*ends, states[1]]

    def path_layers(self, path: Path) -> list[keras.layers.Layer]:
        genotype = self._genotype(path)
        used = []
        needed = {len(self.cells) - 1}  # cells whose output matters; the stem is -1 and -2
        for index in reversed(range(len(self.cells))):
            cell = self.cells[index]
            nodes = genotype.reduce if cell.reduction else genotype.normal
            if index in needed:
                live = reached(nodes, CONCAT)
                needed |= {index - INPUTS + source for source in range(INPUTS) if source in live}
                used = cell.path_layers(nodes) + used
        stem = [self.stem] if min(needed) < 0 else []
        return [*stem, *used, self.head]

    def positions(self) -> dict[str, keras.layers.Layer]:
        inside = {place: layer for cell in self.cells for place, layer in cell.positions().items()}
        return {self.stem.name: self.stem, **inside, self.head.name: self.head}

    def _genotype(self, path):
        genotype = path_genotype(path)
        for kind in KINDS:
            cell = next(cell for cell in self.cells if cell.reduction == (kind == "reduce"))
            for number, node in enumerate(getattr(genotype, kind), INPUTS):
                for name, source in node:
                    if name != NONE and not cell.has(number, source, name):
                        raise ValueError(
                            f"path: this supernet has no operation {name!r} for {choice_name(kind, number, source)}"
                        )
        return genotype
