"""The paper's cell search space (section 3.1): two cells, 14 edges each, one operation an edge."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from models.architectures.cell import (
    CELL_OPERATIONS,
    CONCAT,
    INPUTS,
    KINDS,
    KNOWN_OPERATIONS,
    NONE,
    OPERATION_SETS,
    CellGenotype,
    choice_name,
    is_operation,
    operations_of,
    path_genotype,
)
from models.architectures.checks import GenotypeError, require_genotype
from models.architectures.choices import Choice, Path, require_probabilities

if TYPE_CHECKING:
    import keras
    import numpy as np

    from models.networks.cell_supernet import CellSupernet

EDGES_PER_NODE = 2  # of a derived genotype


def create(operations: Sequence[str] = CELL_OPERATIONS) -> "CellSpace":
    """Returns the cell search space.

    Args:
        operations: the candidates of every edge, by name, by dotted path (`models.networks.operations`), or by the
            name of a set (`models.architectures.cell.OPERATION_SETS`). Default: the paper's eight.

    Raises:
        ValueError: if there is no operation besides `none`, if one repeats, or if one is unknown.
    """
    return CellSpace(operations)


class CellSpace:
    """See `create`."""

    name = "cell"

    def __init__(self, names: Sequence[str]):
        if len(set(names)) != len(names):
            raise ValueError(f"space.operations: {', '.join(names)}: one repeats")
        self.operations = operations_of(names)
        real = [name for name in self.operations if name != NONE]
        if not real:
            raise ValueError(
                "space.operations: expected at least one operation besides none, such as "
                f"{', '.join(CELL_OPERATIONS[:-1])}"
            )
        for name in real:
            require_operation(name)
        self.choices = tuple(
            Choice(choice_name(kind, node, source), self.operations)
            for kind in KINDS
            for node in CONCAT
            for source in range(node)
        )

    def supernet(self, input_shape, classes: int, *, channels: int = 16, cells: int = 6) -> "CellSupernet":
        """Returns the supernet of the search.

        Args:
            input_shape: (height, width, channels) of an image; 4x4 pixels or more.
            classes: number of classes, 2 or more.
            channels: channels of a node of the first cell. Default 16 (the paper's).
            cells: number of cells, 3 or more. Default 6 (the paper's).

        Raises:
            ValueError: if an argument is not as said above.
        """
        from models.networks.cell_supernet import CellSupernet

        return CellSupernet(self.operations, input_shape, classes, channels, cells)

    def network(
        self,
        genotype: CellGenotype,
        input_shape,
        classes: int,
        *,
        network: str = "cifar",
        channels: int = 36,
        cells: int = 20,
        auxiliary: bool = False,
        drop_path: float = 0.0,
        dropout: float = 0.0,
    ) -> "keras.Model":
        """Returns the network of a genotype.

        Args:
            genotype: what `derive`, `genotype` or a preset gives.
            input_shape: (height, width, channels) of an image.
            classes: number of classes, 2 or more.
            network: "cifar" or "imagenet". Default "cifar".
            channels, cells, auxiliary, drop_path, dropout: of `cifar_network` and `imagenet_network`
                (models/networks/cell_network.py).

        Raises:
            ValueError: if an argument is not as said above; GenotypeError for the genotype.
        """
        from models.networks.registry import NETWORKS

        if network not in ("cifar", "imagenet"):
            raise ValueError(f"network: found {network!r}; expected 'cifar' or 'imagenet' with the cell space")
        return NETWORKS[network](
            genotype,
            input_shape,
            classes,
            channels=channels,
            cells=cells,
            auxiliary=auxiliary,
            drop_path=drop_path,
            dropout=dropout,
        )

    def genotype(self, path: Path) -> CellGenotype:
        """Returns the genotype with all 14 edges of each cell, `none` among them."""
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
            edges = [(*best[choice_name(kind, number, source)], source) for source in range(number)]
            strongest = sorted(edges, key=lambda edge: -edge[1])[:EDGES_PER_NODE]
            return tuple((name, source) for name, _, source in sorted(strongest, key=lambda edge: edge[2]))

        normal, reduce = (tuple(node(kind, number) for number in CONCAT) for kind in KINDS)
        return CellGenotype(normal, CONCAT, reduce, CONCAT)

    def repair(self, path: Path, generator: "np.random.Generator") -> dict[str, str]:
        """Returns the path with two edges a node, drawn from those that are not `none`; all others become `none`.

        Where fewer are not `none`, further edges are drawn and get a random operation. In a space without the operation
        `none` the path stays as it is.
        """
        if NONE not in self.operations:
            return dict(path)
        real = [name for name in self.operations if name != NONE]
        repaired = {choice.name: NONE for choice in self.choices}
        for kind in KINDS:
            for node in CONCAT:
                names = [choice_name(kind, node, int(source)) for source in generator.permutation(node)]
                # A stable sort: edges that are `none` come last, the others stay in their random order.
                for name in sorted(names, key=lambda name: path[name] == NONE)[:EDGES_PER_NODE]:
                    found = path[name]
                    repaired[name] = real[generator.integers(len(real))] if found == NONE else found
        return repaired

    def path(self, genotype: CellGenotype) -> dict[str, str]:
        """Returns the operation of every edge, `none` where the genotype has no edge."""
        require_genotype(genotype, CellGenotype)
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
                    path[choice_name(kind, number, source)] = name
        return path


def require_operation(name) -> None:
    """Raises a ValueError if there is no operation of a name; imports those that are named by dotted path."""
    if not is_operation(name):
        raise ValueError(
            f"space.operations: unknown operation {name!r}; expected one of {', '.join(KNOWN_OPERATIONS)}, a set "
            f"({', '.join(OPERATION_SETS)}), or the dotted path of your own"
        )
    if name not in KNOWN_OPERATIONS:
        from models.networks import operations

        operations.resolve(name)
