"""Genotypes: descriptions of derived architectures, small immutable values that check themselves.

A `CellGenotype` describes the two cells (normal and reduction) that a network stacks, a
`MobileGenotype` the blocks of an inverted-residual chain. Neither knows how networks are built:
this module needs nothing but the standard library.

The JSON of a genotype names its space:

    {"space": "cell", "normal": [[["sep_conv_5x5", 1], ["sep_conv_3x3", 0]], ... 4 nodes],
     "normal_concat": [2, 3, 4, 5], "reduce": [...], "reduce_concat": [2, 3, 4, 5]}
    {"space": "mobile", "backbone": "mdenas_gpu", "blocks": [[7, 6], [5, 6], ..., null, ...]}

where `null` is a block left out. A backbone that is not one of `BACKBONES` is written out in full.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

NODES = 4  # intermediate nodes of a cell
INPUTS = 2  # inputs of a cell: the outputs of the two cells before
NONE = "none"
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
"""The cell operations of the paper, in its authors' order. Others are named by dotted path."""


class GenotypeError(ValueError):
    """A genotype is malformed. The message names the field, what was found and what is allowed."""


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
            `CELL_OPERATIONS` or the dotted path of your own (see `models.operations`).
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

    def to_dict(self) -> dict:
        """The genotype as JSON-compatible data; `from_dict` reads it."""

        def nodes(cell):
            return [[[operation, source] for operation, source in node] for node in cell]

        return {
            "space": "cell",
            "normal": nodes(self.normal),
            "normal_concat": list(self.normal_concat),
            "reduce": nodes(self.reduce),
            "reduce_concat": list(self.reduce_concat),
        }

    def text(self) -> str:
        """The genotype in one line: edges as `operation(source)`, nodes divided by `|`."""

        def cell(nodes, concat):
            edges = " | ".join(" ".join(f"{name}({source})" for name, source in n) for n in nodes)
            return f"{edges} -> {','.join(map(str, concat))}"

        return f"normal: {cell(self.normal, self.normal_concat)}; reduce: {cell(self.reduce, self.reduce_concat)}"


@dataclass(frozen=True)
class Backbone:
    """What a mobile network keeps fixed while its blocks are searched.

    Args:
        stem: channels of the first 3x3 convolution.
        blocks: `(channels, stride)` of each inverted-residual block; strides are 1 or 2.
        head: channels of the last 1x1 convolution.
        stem_stride: stride of the first convolution, 1 or 2.

    Raises:
        GenotypeError: if a value is not as said above.
    """

    stem: int
    blocks: tuple[tuple[int, int], ...]
    head: int
    stem_stride: int = 2

    def __post_init__(self):
        _require_count("backbone.stem", self.stem)
        _require_count("backbone.head", self.head)
        _require_stride("backbone.stem_stride", self.stem_stride)
        if not _is_list(self.blocks) or not self.blocks:
            raise GenotypeError(f"backbone.blocks: found {self.blocks!r}; expected a list of [channels, stride]")
        for i, block in enumerate(self.blocks):
            if not _is_list(block) or len(block) != 2:
                raise GenotypeError(f"backbone.blocks[{i}]: found {block!r}; expected [channels, stride]")
            _require_count(f"backbone.blocks[{i}], channels", block[0])
            _require_stride(f"backbone.blocks[{i}], stride", block[1])
        object.__setattr__(self, "blocks", tuple(tuple(block) for block in self.blocks))

    def shortcut(self, block: int) -> bool:
        """Whether a block has an identity shortcut: stride 1, as many channels out as in."""
        channels_in = self.blocks[block - 1][0] if block else self.stem
        return self.blocks[block] == (channels_in, 1)

    @property
    def halvings(self) -> int:
        """How many times the sides of an image are halved."""
        return [self.stem_stride, *(stride for _, stride in self.blocks)].count(2)

    def to_dict(self) -> dict:
        """The backbone as JSON-compatible data."""
        return {
            "stem": self.stem,
            "stem_stride": self.stem_stride,
            "blocks": [list(block) for block in self.blocks],
            "head": self.head,
        }

    @classmethod
    def create(cls, value: Union[str, Mapping, "Backbone"]) -> "Backbone":
        """The backbone that a name of `BACKBONES` or its written-out form stands for."""
        if isinstance(value, Backbone):
            return value
        if isinstance(value, str):
            if value not in BACKBONES:
                raise GenotypeError(
                    f"backbone: found {value!r}; expected one of {sorted(BACKBONES)} or an object "
                    "with the fields stem, blocks, head and, where it is not 2, stem_stride"
                )
            return BACKBONES[value]
        _require_fields("backbone", value, {"stem", "blocks", "head"}, {"stem_stride"})
        return cls(**value)


@dataclass(frozen=True)
class MobileGenotype:
    """A chain of inverted-residual blocks (the paper's mobile setting).

    Args:
        backbone: a name of `BACKBONES`, a `Backbone`, or a mapping of its fields.
        blocks: for each block of the backbone `(kernel, expansion)`, an odd kernel size and an
            expansion of at least 1; or None to leave the block out, where it has a shortcut.

    Raises:
        GenotypeError: if a value is not as said above.
    """

    backbone: Backbone
    blocks: tuple[tuple[int, int] | None, ...]

    def __post_init__(self):
        object.__setattr__(self, "backbone", Backbone.create(self.backbone))
        expected = len(self.backbone.blocks)
        if not _is_list(self.blocks) or len(self.blocks) != expected:
            found = len(self.blocks) if _is_list(self.blocks) else repr(self.blocks)
            raise GenotypeError(f"blocks: found {found}; expected the backbone's {expected} blocks")
        for i, block in enumerate(self.blocks):
            if block is None:
                if not self.backbone.shortcut(i):
                    raise GenotypeError(
                        f"blocks[{i}]: found null; only a block with a shortcut (stride 1, as many "
                        "channels out as in) can be left out: give [kernel, expansion]"
                    )
                continue
            if not _is_list(block) or len(block) != 2 or not all(map(_is_int, block)):
                raise GenotypeError(f"blocks[{i}]: found {block!r}; expected [kernel, expansion]")
            kernel, expansion = block
            if kernel < 1 or kernel % 2 == 0:
                raise GenotypeError(f"blocks[{i}], kernel: found {kernel}; expected an odd number")
            if expansion < 1:
                raise GenotypeError(f"blocks[{i}], expansion: found {expansion}; expected 1 or more")
        blocks = tuple(block and tuple(block) for block in self.blocks)
        object.__setattr__(self, "blocks", blocks)

    def to_dict(self) -> dict:
        """The genotype as JSON-compatible data; `from_dict` reads it."""
        return {
            "space": "mobile",
            "backbone": self._backbone_name() or self.backbone.to_dict(),
            "blocks": [block and list(block) for block in self.blocks],
        }

    def text(self) -> str:
        """The genotype in one line: the backbone, then `k7_e6` or the like or `skip` a block."""
        names = [f"k{block[0]}_e{block[1]}" if block else "skip" for block in self.blocks]
        return f"{self._backbone_name() or 'custom'}: {' '.join(names)}"

    def _backbone_name(self) -> str | None:
        return next((name for name, b in BACKBONES.items() if b == self.backbone), None)


Genotype = CellGenotype | MobileGenotype


def from_dict(data: Mapping) -> Genotype:
    """The genotype that JSON data (see the module's docstring) describes.

    Raises:
        GenotypeError: if the data describe no valid genotype.
    """
    if not isinstance(data, Mapping) or data.get("space") not in ("cell", "mobile"):
        found = data.get("space") if isinstance(data, Mapping) else data
        raise GenotypeError(f"space: found {found!r}; expected 'cell' or 'mobile'")
    fields = {key: value for key, value in data.items() if key != "space"}
    if data["space"] == "cell":
        _require_fields("genotype", fields, {"normal", "normal_concat", "reduce", "reduce_concat"}, set())
        return CellGenotype(**fields)
    _require_fields("genotype", fields, {"backbone", "blocks"}, set())
    return MobileGenotype(**fields)


def load(path: str | os.PathLike) -> Genotype:
    """Reads a genotype from a JSON file.

    Raises:
        GenotypeError: if the file's content is no genotype; the message names the file.
        OSError: if the file cannot be read.
    """
    with open(path, encoding="utf-8") as file:
        try:
            return from_dict(json.load(file))
        except GenotypeError as error:
            raise GenotypeError(f"{os.fspath(path)}: {error}") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise GenotypeError(f"{os.fspath(path)}: not a JSON file: {error}") from error


def save(genotype: Genotype, path: str | os.PathLike) -> None:
    """Writes a genotype as JSON. The file appears whole or not at all."""
    directory = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=directory, prefix=".genotype-", delete=False) as file:
        try:
            json.dump(genotype.to_dict(), file, indent=2)
            file.write("\n")
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def reached(nodes: tuple[Node, ...], concat: tuple[int, ...]) -> frozenset[int]:
    """The nodes, inputs included, that a cell's output depends on; edges that are `none` do not count.

    Args:
        nodes: a cell's intermediate nodes.
        concat: the nodes that its output concatenates.
    """
    live = set(concat)
    for number in reversed(range(INPUTS, INPUTS + len(nodes))):
        if number in live:
            live.update(source for name, source in nodes[number - INPUTS] if name != NONE)
    return frozenset(live)


def require_genotype(genotype, kind: type) -> None:
    """Raises a GenotypeError if a genotype is of another space than a network is made for."""
    if not isinstance(genotype, kind):
        raise GenotypeError(
            f"genotype: found a {type(genotype).__name__}; expected a {kind.__name__}: choose the "
            "network and the search space that the genotype was made for"
        )


def _cell(field: str, nodes) -> tuple[Node, ...]:
    if not _is_list(nodes) or len(nodes) != NODES:
        found = f"{len(nodes)} nodes" if _is_list(nodes) else repr(nodes)
        raise GenotypeError(f"{field}: found {found}; expected {NODES}, one list of edges each")
    return tuple(_node(field, INPUTS + i, node) for i, node in enumerate(nodes))


def _node(cell: str, number: int, edges) -> Node:
    field = f"{cell}, node {number}"
    if not _is_list(edges) or not edges:
        raise GenotypeError(f"{field}: found {edges!r}; expected at least one edge [operation, source]")
    for i, edge in enumerate(edges):
        if not _is_list(edge) or len(edge) != 2:
            raise GenotypeError(f"{field}, edge {i}: found {edge!r}; expected [operation, source]")
        operation, source = edge
        if not is_operation(operation):
            raise GenotypeError(
                f"{field}, edge {i}: unknown operation {operation!r}; expected one of "
                f"{', '.join(CELL_OPERATIONS)}, or the dotted path of your own"
            )
        if not _is_int(source) or not 0 <= source < number:
            raise GenotypeError(
                f"{field}, edge {i}: source {source!r} is not an earlier node; expected 0 to {number - 1}"
            )
    sources = [source for _, source in edges]
    if len(set(sources)) != len(sources):
        raise GenotypeError(f"{field}: sources {sources} repeat; expected at most one edge from each earlier node")
    return tuple((operation, source) for operation, source in edges)


def _concat(field: str, nodes) -> tuple[int, ...]:
    allowed = range(INPUTS, INPUTS + NODES)
    if (
        not _is_list(nodes)
        or not nodes
        or not all(_is_int(node) and node in allowed for node in nodes)
        or len(set(nodes)) != len(nodes)
    ):
        raise GenotypeError(
            f"{field}: found {nodes!r}; expected different intermediate nodes, {allowed[0]} to {allowed[-1]}"
        )
    return tuple(nodes)


def is_operation(name) -> bool:
    """Whether a name can be a cell operation's: one of `CELL_OPERATIONS`, or a dotted path."""
    if not isinstance(name, str):
        return False
    parts = name.split(".")
    return name in CELL_OPERATIONS or (len(parts) > 1 and all(p.isidentifier() for p in parts))


def _require_fields(what: str, value, required: set[str], optional: set[str]) -> None:
    if not isinstance(value, Mapping):
        raise GenotypeError(f"{what}: found {value!r}; expected an object")
    missing, unknown = required - set(value), set(value) - required - optional
    if missing or unknown:
        problem = " and ".join(
            f"{kind} {', '.join(map(repr, sorted(names)))}"
            for kind, names in (("missing", missing), ("unknown", unknown))
            if names
        )
        allowed = ", ".join(sorted(required | optional))
        raise GenotypeError(f"{what}: {problem}; expected the fields {allowed}")


def _require_count(field: str, value) -> None:
    if not _is_int(value) or value < 1:
        raise GenotypeError(f"{field}: found {value!r}; expected a whole number, 1 or more")


def _require_stride(field: str, value) -> None:
    if not _is_int(value) or value not in (1, 2):
        raise GenotypeError(f"{field}: found {value!r}; expected 1 or 2")


def _is_list(value) -> bool:
    return isinstance(value, list | tuple)


def _is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


BACKBONES: dict[str, Backbone] = {
    "mdenas_gpu": Backbone(
        stem=40,
        blocks=(
            *((24, 1), (32, 2), (56, 2), (56, 1), (112, 2), (112, 1), (128, 1)),
            *((128, 1), (128, 1), (256, 2), (256, 1), (256, 1), (256, 1), (432, 1)),
        ),
        head=1728,
    ),
    "mdenas_cpu": Backbone(
        stem=40,
        blocks=(
            *((24, 1), (32, 2), (32, 1), (32, 1), (32, 1), (48, 2), (48, 1)),
            *((48, 1), (48, 1), (88, 2), (88, 1), (104, 1), (104, 1), (104, 1)),
            *((104, 1), (216, 2), (216, 1), (216, 1), (216, 1), (360, 1)),
        ),
        head=1432,
    ),
}
"""The widths, strides and depths of the released mobile networks."""
