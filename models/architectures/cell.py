"""The cell genotype: a normal and a reduction cell (section 3.1 of the paper)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.architectures.checks import GenotypeError, is_int, is_list
from models.architectures.choices import Path

NODES = 4  # intermediate nodes of a cell
INPUTS = 2  # inputs of a cell: the outputs of the two cells before
NONE = "none"
KINDS = ("normal", "reduce")
CONCAT = tuple(range(INPUTS, INPUTS + NODES))  # all intermediate nodes
CELL_OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    NONE,
)
"""The cell operations of the paper, in its authors' order: what the cell space offers by default."""
OPERATION_SETS = {
    "paper": CELL_OPERATIONS,
    "fast": ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "conv_1x1", "conv_3x3", "group_conv_3x3", NONE),
}
"""Operations by the name of their set. `fast` has no depthwise convolutions, which a CPU computes slowly."""
KNOWN_OPERATIONS = tuple(dict.fromkeys(name for names in OPERATION_SETS.values() for name in names))
"""The operations of all sets. Others are named by dotted path."""


Edge = tuple[str, int]
Node = tuple[Edge, ...]


@dataclass(frozen=True)
class CellGenotype:
    """A normal and a reduction cell (section 3.1 of the paper).

    A cell is a directed acyclic graph of nodes 0 and 1 (its inputs), 2 to 5 (intermediate: the sum
    of their incoming edges) and an output that concatenates the nodes named in `*_concat`.

    Args:
        normal: the four intermediate nodes of the normal cell; a node is one or more edges
            `(operation, source node)` from different earlier nodes. An operation is one of
            `KNOWN_OPERATIONS` or the dotted path of your own (see `models.networks.operations`).
        normal_concat: the intermediate nodes that the normal cell's output concatenates.
        reduce: as `normal`, for the reduction cell.
        reduce_concat: as `normal_concat`, for the reduction cell.

    Raises:
        GenotypeError: if a value is not as said above.
    """

    normal: tuple[Node, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Node, ...]
    reduce_concat: tuple[int, ...]

    def __post_init__(self):
        for cell in ("normal", "reduce"):
            object.__setattr__(self, cell, _cell(cell, getattr(self, cell)))
            concat = f"{cell}_concat"
            object.__setattr__(self, concat, _concat(concat, getattr(self, concat)))

    def to_dict(self) -> dict[str, Any]:
        """Returns the genotype as JSON-compatible data; `models.architectures.genotype.genotype_from_dict` reads it."""

        def nodes(cell: tuple[Node, ...]) -> list[Any]:
            return [[[operation, source] for operation, source in node] for node in cell]

        return {
            "space": "cell",
            "normal": nodes(self.normal),
            "normal_concat": list(self.normal_concat),
            "reduce": nodes(self.reduce),
            "reduce_concat": list(self.reduce_concat),
        }

    def text(self) -> str:
        """Returns the genotype in one line: edges as `operation(source)`, nodes divided by `|`."""

        def cell(nodes: tuple[Node, ...], concat: tuple[int, ...]) -> str:
            edges = " | ".join(" ".join(f"{name}({source})" for name, source in n) for n in nodes)
            return f"{edges} -> {','.join(map(str, concat))}"

        return f"normal: {cell(self.normal, self.normal_concat)}; reduce: {cell(self.reduce, self.reduce_concat)}"


def reached(nodes: tuple[Node, ...], concat: tuple[int, ...]) -> frozenset[int]:
    """Returns the nodes, inputs included, that a cell's output depends on; edges that are `none` do not count.

    Args:
        nodes: a cell's intermediate nodes.
        concat: the nodes that its output concatenates.
    """
    live = set(concat)
    for number in reversed(range(INPUTS, INPUTS + len(nodes))):
        if number in live:
            live.update(source for name, source in nodes[number - INPUTS] if name != NONE)
    return frozenset(live)


def _cell(field: str, nodes: Any) -> tuple[Node, ...]:
    if not is_list(nodes) or len(nodes) != NODES:
        found = f"{len(nodes)} nodes" if is_list(nodes) else repr(nodes)
        raise GenotypeError(f"{field}: found {found}; expected {NODES}, one list of edges each")
    return tuple(_node(field, INPUTS + i, node) for i, node in enumerate(nodes))


def _node(cell: str, number: int, edges: Any) -> Node:
    field = f"{cell}, node {number}"
    if not is_list(edges) or not edges:
        raise GenotypeError(f"{field}: found {edges!r}; expected at least one edge [operation, source]")
    for i, edge in enumerate(edges):
        if not is_list(edge) or len(edge) != 2:
            raise GenotypeError(f"{field}, edge {i}: found {edge!r}; expected [operation, source]")
        operation, source = edge
        if not is_operation(operation):
            raise GenotypeError(
                f"{field}, edge {i}: unknown operation {operation!r}; expected one of "
                f"{', '.join(KNOWN_OPERATIONS)}, or the dotted path of your own"
            )
        if not is_int(source) or not 0 <= source < number:
            raise GenotypeError(
                f"{field}, edge {i}: source {source!r} is not an earlier node; expected 0 to {number - 1}"
            )
    sources = [source for _, source in edges]
    if len(set(sources)) != len(sources):
        raise GenotypeError(f"{field}: sources {sources} repeat; expected at most one edge from each earlier node")
    return tuple((operation, source) for operation, source in edges)


def _concat(field: str, nodes: Any) -> tuple[int, ...]:
    allowed = range(INPUTS, INPUTS + NODES)
    if (
        not is_list(nodes)
        or not nodes
        or not all(is_int(node) and node in allowed for node in nodes)
        or len(set(nodes)) != len(nodes)
    ):
        raise GenotypeError(
            f"{field}: found {nodes!r}; expected different intermediate nodes, {allowed[0]} to {allowed[-1]}"
        )
    return tuple(nodes)


def is_operation(name: Any) -> bool:
    """Returns whether a name can be a cell operation's: one of `KNOWN_OPERATIONS`, or a dotted path."""
    if not isinstance(name, str):
        return False
    parts = name.split(".")
    return name in KNOWN_OPERATIONS or (len(parts) > 1 and all(p.isidentifier() for p in parts))


def operations_of(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the operations that names stand for: a set's name for its operations, any other name for itself.

    An operation that several names stand for is taken once, at its first place.

    Args:
        names: Names of `OPERATION_SETS`, of operations, or dotted paths.
    """
    return tuple(dict.fromkeys(operation for name in names for operation in OPERATION_SETS.get(name, (name,))))


def path_genotype(path: Path) -> CellGenotype:
    """Returns the genotype with all edges that a path names.

    Raises:
        ValueError: if the path lacks an edge or has one that is none.
    """
    expected = {choice_name(kind, node, source) for kind in KINDS for node in CONCAT for source in range(node)}
    if set(path) != expected:
        raise ValueError(f"path: missing {sorted(expected - set(path))}, unknown {sorted(set(path) - expected)}")
    normal, reduce = (
        tuple(tuple((path[choice_name(kind, node, source)], source) for source in range(node)) for node in CONCAT)
        for kind in KINDS
    )
    return CellGenotype(normal, CONCAT, reduce, CONCAT)


def choice_name(kind: str, node: int, source: int) -> str:
    """Returns the name of an edge's choice, such as normal_2_0."""
    return f"{kind}_{node}_{source}"
