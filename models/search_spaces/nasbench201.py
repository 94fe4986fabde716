"""NAS-Bench-201's search space (Dong and Yang 2020, arXiv 2001.00326): one cell, six edges, five operations an edge.

The accuracies of all its 15,625 architectures, trained alone, are published.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from models.architectures.checks import GenotypeError, require_genotype
from models.architectures.choices import Choice, Path, require_probabilities
from models.architectures.nasbench201 import (
    EDGES,
    NONE,
    OPERATIONS,
    ROUTES,
    NasBench201Genotype,
    choice_name,
    path_genotype,
)

if TYPE_CHECKING:
    import keras
    import numpy as np

    from models.networks.nasbench201_supernet import NasBench201Supernet


def create(operations: Sequence[str] = OPERATIONS) -> "NasBench201Space":
    """Returns NAS-Bench-201's search space.

    Args:
        operations: the candidates of every edge, out of `models.architectures.nasbench201.OPERATIONS`. Default: all
            five.

    Raises:
        ValueError: if there is no operation besides `none`, if one repeats, or if one is unknown.
    """
    return NasBench201Space(operations)


class NasBench201Space:
    """See `create`."""

    name = "nasbench201"

    def __init__(self, names: Sequence[str]):
        self.operations = tuple(names)
        if len(set(self.operations)) != len(self.operations):
            raise ValueError(f"space.operations: {', '.join(self.operations)}: one repeats")
        for name in self.operations:
            if name not in OPERATIONS:
                raise ValueError(
                    f"space.operations: unknown operation {name!r}; expected one of {', '.join(OPERATIONS)}"
                )
        if set(self.operations) <= {NONE}:
            raise ValueError(
                f"space.operations: expected at least one operation besides none, such as {', '.join(OPERATIONS[1:])}"
            )
        self.choices = tuple(Choice(choice_name(*edge), self.operations) for edge in EDGES)

    def supernet(self, input_shape, classes: int, *, channels: int = 16, cells: int = 5) -> "NasBench201Supernet":
        """Returns the supernet of the search.

        Args:
            input_shape: (height, width, channels) of an image; 4x4 pixels or more.
            classes: number of classes, 2 or more.
            channels: channels of the first stage; they double from stage to stage. Default 16 (the benchmark's).
            cells: cells of each of the three stages, 1 or more. Default 5 (the benchmark's).

        Raises:
            ValueError: if an argument is not as said above.
        """
        from models.networks.nasbench201_supernet import NasBench201Supernet

        return NasBench201Supernet(self.operations, input_shape, classes, channels, cells)

    def network(
        self,
        genotype: NasBench201Genotype,
        input_shape,
        classes: int,
        *,
        network: str = "nasbench201",
        channels: int = 16,
        cells: int = 5,
    ) -> "keras.Model":
        """Returns the network of a genotype.

        Args:
            genotype: what `derive` or `genotype` gives.
            input_shape: (height, width, channels) of an image; 4x4 pixels or more.
            classes: number of classes, 2 or more.
            network: "nasbench201", the only kind.
            channels, cells: of `models.networks.nasbench201_network.nasbench201_network`.

        Raises:
            ValueError: if an argument is not as said above; GenotypeError for the genotype.
        """
        from models.networks.nasbench201_network import nasbench201_network

        if network != "nasbench201":
            raise ValueError(f"network: found {network!r}; expected 'nasbench201' with the nasbench201 space")
        return nasbench201_network(genotype, input_shape, classes, channels=channels, cells=cells)

    def genotype(self, path: Path) -> NasBench201Genotype:
        """Returns the genotype with all six edges, `none` among them."""
        return path_genotype(path)

    def derive(self, probabilities: Mapping[str, Sequence[float]]) -> NasBench201Genotype:
        """Returns the most probable genotype whose output depends on its input.

        These are the most probable operations of all edges, `none` among them. Only where `none` would cut the output
        off from the input, the edges of one way between them take their most probable operation but `none`: of the way
        that makes the product of all probabilities largest. Of equals the first operation and the shortest way win.
        """
        for choice in self.choices:
            require_probabilities(choice, probabilities)

        def best(route):
            """For each edge its most probable operation, and how probable that is; on the route none is no choice."""
            for edge, choice in enumerate(self.choices):
                candidates = zip(choice.operations, probabilities[choice.name], strict=True)
                allowed = (pair for pair in candidates if edge not in route or pair[0] != NONE)
                yield max(allowed, key=lambda pair: pair[1])

        routes = (tuple(best(route)) for route in ROUTES)
        likeliest = max(routes, key=lambda edges: math.prod(float(probability) for _, probability in edges))
        return NasBench201Genotype(tuple(name for name, _ in likeliest))

    def repair(self, path: Path, generator: "np.random.Generator") -> dict[str, str]:
        """Returns the path as it is: every path is that of a genotype."""
        return dict(path)

    def path(self, genotype: NasBench201Genotype) -> dict[str, str]:
        """Returns the operation of every edge."""
        require_genotype(genotype, NasBench201Genotype)
        path = {}
        for choice, name in zip(self.choices, genotype.operations, strict=True):
            if name not in (*self.operations, NONE):
                raise GenotypeError(
                    f"{choice.name}: {name} is not in this space; expected one of {', '.join(self.operations)}"
                )
            path[choice.name] = name
        return path
