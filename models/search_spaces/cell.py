"""The paper's cell search space (section 3.1): two cells, 14 edges each, one operation an edge."""

from collections.abc import Mapping, Sequence

import keras

from models import cell as cells_
from models import genotype as genotypes
from models import network as networks
from models import operations as operations_
from models.genotype import CELL_OPERATIONS, INPUTS, NODES, NONE, CellGenotype, GenotypeError
from models.search_spaces import Choice, require_probabilities
from models.supernet import Path, Supernet, search_norm

KINDS = ("normal", "reduce")
CONCAT = tuple(range(INPUTS, INPUTS + NODES))
EDGES_PER_NODE = 2  # of a derived genotype


def create(operations: Sequence[str] = CELL_OPERATIONS) -> "CellSpace":
    """The cell search space.

    Args:
        operations: the candidates of every edge, by name or by dotted path (`models.operations`).
            Default: the paper's eight.

    Raises:
        ValueError: if there is no operation besides `none`, if one repeats, or if one is unknown.
    """
    return CellSpace(operations)


class CellSpace:
    """See `create`."""

    name = "cell"

    def __init__(self, operations: Sequence[str]):
        self.operations = tuple(operations)
        if len(set(self.operations)) != len(self.operations):
            raise ValueError(f"space.operations: {', '.join(self.operations)}: one repeats")
        real = [name for name in self.operations if name != NONE]
        if not real:
            raise ValueError(
                "space.operations: expected at least one operation besides none, such as "
                f"{', '.join(CELL_OPERATIONS[:-1])}"
            )
        for name in real:
            operations_.resolve(name)
        self.choices = tuple(
            Choice(_choice(kind, node, source), self.operations)
            for kind in KINDS
            for node, source in cells_.all_edges()
        )

    def supernet(self, input_shape, classes: int, *, channels: int = 16, cells: int = 6) -> "CellSupernet":
        """The supernet of the search.

        Args:
            input_shape: (height, width, channels) of an image; 4x4 pixels or more.
            classes: number of classes, 2 or more.
            channels: channels of a node of the first cell. Default 16 (the paper's).
            cells: number of cells, 3 or more. Default 6 (the paper's).

        Raises:
            ValueError: if an argument is not as said above.
        """
        return CellSupernet(self.operations, input_shape, classes, channels, cells)

    def network(self, genotype: CellGenotype, input_shape, classes: int, *, network="cifar", **options) -> keras.Model:
        """The network of a genotype.

        Args:
            genotype: what `derive`, `genotype` or a preset gives.
            input_shape: (height, width, channels) of an image.
            classes: number of classes, 2 or more.
            network: "cifar" or "imagenet". Default "cifar".
            options: of `models.network.cifar_network` or `imagenet_network`.

        Raises:
            ValueError: if an argument is not as said above; GenotypeError for the genotype.
        """
        makers = {"cifar": networks.cifar_network, "imagenet": networks.imagenet_network}
        if network not in makers:
            raise ValueError(f"network: found {network!r}; expected 'cifar' or 'imagenet' with the cell space")
        return makers[network](genotype, input_shape, classes, **options)

    def genotype(self, path: Path) -> CellGenotype:
        """The genotype with all 14 edges of each cell, `none` among them."""
        return path_genotype(path)

    def derive(self, probabilities: Mapping[str, Sequence[float]]) -> CellGenotype:
        """For each edge the most probable operation but `none`, for each node the two best edges.

        Of equals the first operation and the first source win. (The paper says top k; its authors'
        code, and DARTS, take two.)
        """
        best = {}
        for choice in self.choices:
            require_probabilities(choice, probabilities)
            candidates = zip(choice.operations, probabilities[choice.name], strict=True)
            best[choice.name] = max((pair for pair in candidates if pair[0] != NONE), key=lambda pair: pair[1])

        def node(kind, number):
            edges = [(*best[_choice(kind, number, source)], source) for source in range(number)]
            strongest = sorted(edges, key=lambda edge: -edge[1])[:EDGES_PER_NODE]
            return tuple((name, source) for name, _, source in sorted(strongest, key=lambda edge: edge[2]))

        return _genotype({kind: tuple(node(kind, n) for n in CONCAT) for kind in KINDS})

    def path(self, genotype: CellGenotype) -> dict[str, str]:
        """The operation of every edge, `none` where the genotype has no edge."""
        networks.require_genotype(genotype, CellGenotype)
        path = {choice.name: NONE for choice in self.choices}
        for kind in KINDS:
            concat = getattr(genotype, f"{kind}_concat")
            if set(concat) != set(CONCAT):
                raise GenotypeError(
                    f"{kind}_concat: found {list(concat)}; a path of the cell space concatenates all of {list(CONCAT)}"
                )
            for number, node in enumerate(getattr(genotype, kind), INPUTS):
                for name, source in node:
                    if name not in (*self.operations, NONE):
                        raise GenotypeError(
                            f"{kind}, node {number}: {name} is not in this space; expected one of "
                            f"{', '.join(self.operations)}"
                        )
                    path[_choice(kind, number, source)] = name
        return path


class CellSupernet(Supernet):
    """All operations on all edges of a stack of cells. Make one by `CellSpace.supernet`."""

    def __init__(self, operations, input_shape, classes, channels, cells, **kwargs):
        super().__init__(**kwargs)
        input_shape = networks.require_input(input_shape, classes, halvings=2)
        norm = search_norm(networks.CIFAR_EPSILON)
        shape = (None, *input_shape)
        self.stem = networks.cifar_stem(channels, norm)
        self.stem.build(shape)
        shape = self.stem.compute_output_shape(shape)
        candidates = {edge: operations for edge in cells_.all_edges()}
        self.cells = cells_.stack(
            {kind: candidates for kind in KINDS},
            {kind: CONCAT for kind in KINDS},
            (shape, shape),
            cells=cells,
            channels=channels,
            after_reduction=False,
            norm=norm,
        )
        self.head = networks.Head(classes)
        self.head.build((None, None, None, self.cells[-1].channels * len(CONCAT)))
        self.built = True

    def call(self, images, path: Path, training: bool = False):
        genotype = self._genotype(path)
        state = self.stem(images)
        states = (state, state)
        for cell in self.cells:
            nodes = genotype.reduce if cell.reduction else genotype.normal
            states = (states[1], cell(*states, nodes=nodes))
        return self.head(states[1])

    def path_layers(self, path: Path) -> list[keras.layers.Layer]:
        genotype = self._genotype(path)
        used = []
        needed = {len(self.cells) - 1}  # cells whose output matters; the stem is -1 and -2
        for index in reversed(range(len(self.cells))):
            cell = self.cells[index]
            nodes = genotype.reduce if cell.reduction else genotype.normal
            if index in needed:
                live = genotypes.reached(nodes, CONCAT)
                needed |= {index - INPUTS + source for source in range(INPUTS) if source in live}
                used = cell.path_layers(nodes) + used
        stem = [self.stem] if min(needed) < 0 else []
        return [*stem, *used, self.head]

    def _genotype(self, path):
        genotype = path_genotype(path)
        for kind in KINDS:
            cell = next(cell for cell in self.cells if cell.reduction == (kind == "reduce"))
            for number, node in enumerate(getattr(genotype, kind), INPUTS):
                for name, source in node:
                    if name != NONE and not cell.has(number, source, name):
                        raise ValueError(
                            f"path: this supernet has no operation {name!r} for {_choice(kind, number, source)}"
                        )
        return genotype


def path_genotype(path: Path) -> CellGenotype:
    """The genotype with all edges that a path names.

    Raises:
        ValueError: if the path lacks an edge or has one that is none.
    """
    expected = {_choice(kind, node, source) for kind in KINDS for node, source in cells_.all_edges()}
    if set(path) != expected:
        raise ValueError(f"path: missing {sorted(expected - set(path))}, unknown {sorted(set(path) - expected)}")
    return _genotype(
        {
            kind: tuple(tuple((path[_choice(kind, node, source)], source) for source in range(node)) for node in CONCAT)
            for kind in KINDS
        }
    )


def _genotype(cells):
    return CellGenotype(cells["normal"], CONCAT, cells["reduce"], CONCAT)


def _choice(kind, node, source):
    return f"{kind}_{node}_{source}"
