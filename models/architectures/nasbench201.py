"""The genotype of NAS-Bench-201: one cell of four nodes (Dong and Yang 2020, arXiv 2001.00326)."""

from dataclasses import dataclass
from typing import Any

from models.architectures.checks import GenotypeError, is_list
from models.architectures.choices import Path

NONE = "none"
OPERATIONS = (NONE, "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The operations of an edge, in the benchmark's order."""

NODES = 4  # of a cell: 0 is its input, 3 its output
EDGES = tuple((node, source) for node in range(NODES) for source in range(node))
"""The six edges as (node, source), in the benchmark's order; its tables call them edge_0 to edge_5."""

ROUTES = ((3,), (0, 4), (1, 5), (0, 2, 5))
"""All ways from a cell's input to its output, each as positions in `EDGES`, short ones first."""


@dataclass(frozen=True)
class NasBench201Genotype:
    """A cell of NAS-Bench-201: a node is the sum of what its edges make of all nodes before it.

    Args:
        operations: one of `OPERATIONS` for each of `EDGES`.

    Raises:
        GenotypeError: if a value is not as said above.
    """

    operations: tuple[str, ...]

    def __post_init__(self):
        if not is_list(self.operations) or len(self.operations) != len(EDGES):
            found = len(self.operations) if is_list(self.operations) else repr(self.operations)
            raise GenotypeError(f"operations: found {found}; expected {len(EDGES)}, one for each edge of a cell")
        for (node, source), name in zip(EDGES, self.operations, strict=True):
            if name not in OPERATIONS:
                raise GenotypeError(
                    f"operations, edge from node {source} to node {node}: found {name!r}; expected one of "
                    f"{', '.join(OPERATIONS)}"
                )
        object.__setattr__(self, "operations", tuple(self.operations))

    def to_dict(self) -> dict[str, Any]:
        """Returns the genotype as JSON-compatible data; `models.architectures.genotype.genotype_from_dict` reads it."""
        return {"space": "nasbench201", "operations": list(self.operations)}

    def text(self) -> str:
        """Returns the genotype as NAS-Bench-201 writes it: `|operation~source|` for each edge, nodes divided by `+`."""
        edges = dict(zip(EDGES, self.operations, strict=True))
        nodes = ("".join(f"{edges[node, source]}~{source}|" for source in range(node)) for node in range(1, NODES))
        return "+".join(f"|{node}" for node in nodes)


def reached(operations: tuple[str, ...]) -> frozenset[int]:
    """Returns the nodes that a cell's output is computed from, itself included; edges that are `none` do not count.

    Args:
        operations: one for each of `EDGES`.
    """
    live = {NODES - 1}
    for (node, source), name in reversed(list(zip(EDGES, operations, strict=True))):
        if name != NONE and node in live:
            live.add(source)
    return frozenset(live)


def connected(operations: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the operations with `none` on every edge that is on no way from the cell's input to its output.

    All are `none` if the output does not depend on the input.

    Args:
        operations: one for each of `EDGES`.
    """
    whole = [route for route in ROUTES if all(operations[edge] != NONE for edge in route)]
    live = {edge for route in whole for edge in route}
    return tuple(name if edge in live else NONE for edge, name in enumerate(operations))


def choice_name(node: int, source: int) -> str:
    """Returns the name of an edge's choice, such as edge_3_0: from node 0 to node 3."""
    return f"edge_{node}_{source}"


def path_genotype(path: Path) -> NasBench201Genotype:
    """Returns the genotype of a path.

    Raises:
        ValueError: if the path lacks an edge or has one that is none.
    """
    expected = [choice_name(*edge) for edge in EDGES]
    if set(path) != set(expected):
        raise ValueError(
            f"path: missing {sorted(set(expected) - set(path))}, unknown {sorted(set(path) - set(expected))}"
        )
    return NasBench201Genotype(tuple(path[name] for name in expected))
