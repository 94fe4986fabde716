"""Draws architectures: cells as graphs, a mobile network as a chain of blocks."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from components.report_gen import style
from models.architectures import cell, genotype, mobile, nasbench201

_COLUMN = 2.35  # inches from a node to the next deeper node
_ROW = 0.36  # inches from an edge to the next edge
_BOX = (1.12, 0.27)  # width and height of an operation
_RADIUS = 0.15  # radius of a node
_BLOCK = (0.86, 0.62)  # width and height of a mobile block
_CHAIN = 9  # number of blocks in a row

# Part of an operation's name -> colour. The first part that the name contains gives the colour.
_FAMILIES = (
    ("pool", style.GREEN),
    ("skip", style.FAINT),
    ("none", style.FAINT),
    ("sep_", style.BLUE),
    ("dil_", style.ORANGE),
    ("nor_conv_3x3", style.BLUE),
    ("nor_conv_1x1", style.ORANGE),
    ("", "#8a63b8"),
)
_KERNELS = {3: style.GREEN, 5: style.BLUE, 7: style.ORANGE}


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A picture of (a part of) an architecture: its title, its caption, and the SVG file."""

    title: str
    caption: str
    svg: bytes


def draw(architecture: genotype.Genotype) -> list[Drawing]:
    """Returns the pictures of an architecture: one per cell, or one of the chain of a mobile network's blocks."""
    with style.styled():
        if isinstance(architecture, cell.CellGenotype):
            caption = "A node adds up the results of its operations on the outputs of earlier nodes."
            return [
                Drawing("Normal cell", caption, style.svg(_cell(architecture.normal, architecture.normal_concat))),
                Drawing("Reduction cell", caption, style.svg(_cell(architecture.reduce, architecture.reduce_concat))),
            ]
        if isinstance(architecture, nasbench201.NasBench201Genotype):
            caption = (
                "A node adds up the results of its operations on earlier nodes. All cells of the network are equal."
            )
            return [Drawing("Cell", caption, style.svg(_nasbench201(architecture)))]
        caption = "Kernel, expansion (e) and channels (ch) of each block; /2 halves height and width."
        return [Drawing("Blocks", caption, style.svg(_chain(architecture)))]


def _cell(nodes: Sequence[cell.Node], concat: Sequence[int]) -> Figure:
    """Draws a cell from left to right.

    Each node has a separate lane, with its operations to the left of the node. No line runs through a box: a line
    leaves its source, changes to the target's lane in the gap to the right of the source's column, and stays in this
    lane.
    """
    depth = [0] * cell.INPUTS
    for edges in nodes:
        depth.append(1 + max(depth[source] for _, source in edges))
    lanes = _lanes(nodes)
    height = -lanes[-1] + _ROW * len(nodes[-1]) / 2 + 0.2
    middle = -height / 2
    heights = [middle + 0.55, middle - 0.55, *lanes]
    right = _COLUMN * max(depth) + 0.75
    axes = _canvas(-0.75, right + 0.65, -height, 0)

    for number, edges in enumerate(nodes, cell.INPUTS):
        x, y = _COLUMN * depth[number], heights[number]
        starts = [_COLUMN * depth[source] + (0.46 if source < cell.INPUTS else _RADIUS) for _, source in edges]
        _incoming(
            axes,
            (x, y),
            [(name, (start, heights[source])) for (name, source), start in zip(edges, starts, strict=True)],
        )
        if number in concat:
            axes.plot([x + _RADIUS, right], [y, y], color=style.INK, linewidth=1.1, zorder=1)
        _disc(axes, x, y, str(number))
    for source, name in ((0, "0: cell k-2"), (1, "1: cell k-1")):
        _box(axes, 0.0, heights[source], (0.92, 0.34), style.INK, name)
    ends = [heights[number] for number in concat]
    _box(
        axes,
        right,
        (max(ends) + min(ends)) / 2,
        (0.24, max(ends) - min(ends) + 0.5),
        style.INK,
        "concatenate",
        rotation=90 if len(ends) > 1 else 0,
    )
    _arrow(axes, right + 0.13, middle)
    return axes.figure


def _nasbench201(architecture: nasbench201.NasBench201Genotype) -> Figure:
    """Draws the cell of a NAS-Bench-201 architecture from left to right, laid out as `_cell` does."""
    operations = dict(zip(nasbench201.EDGES, architecture.operations, strict=True))
    nodes = [[(operations[node, source], source) for source in range(node)] for node in range(1, nasbench201.NODES)]
    lanes = _lanes(nodes)
    height = -lanes[-1] + _ROW * len(nodes[-1]) / 2 + 0.2
    heights = [lanes[1], *lanes]
    axes = _canvas(-0.75, _COLUMN * len(nodes) + _RADIUS + 0.65, -height, 0)
    for number, edges in enumerate(nodes, 1):
        starts = [(_COLUMN * source + (_RADIUS if source else 0.46), heights[source]) for _, source in edges]
        _incoming(
            axes,
            (_COLUMN * number, heights[number]),
            [(name, start) for (name, _), start in zip(edges, starts, strict=True)],
        )
        _disc(axes, _COLUMN * number, heights[number], str(number))
    _box(axes, 0.0, heights[0], (0.92, 0.34), style.INK, "0: input")
    _arrow(axes, _COLUMN * len(nodes) + _RADIUS, heights[-1])
    return axes.figure


def _incoming(axes: Axes, node: tuple[float, float], edges: Sequence[tuple[str, tuple[float, float]]]) -> None:
    """Draws the edges into a node, one below the other.

    Each edge is a pair: the operation, and the point where its line starts.
    """
    x, y = node
    for position, (operation, start) in enumerate(edges):
        level = y + _ROW * ((len(edges) - 1) / 2 - position)
        box = x - 0.4 - _BOX[0] / 2
        color = _family(operation)
        faint = 0.35 if operation == cell.NONE else 1.0
        _wire(axes, start, (box - _BOX[0] / 2, level), color, faint)
        _wire(axes, (box + _BOX[0] / 2, level), (x - _RADIUS, y), color, faint)
        _box(axes, box, level, _BOX, color, operation.rpartition(".")[2], faint)


def _arrow(axes: Axes, x: float, y: float) -> None:
    """Draws the arrow at the output of a cell."""
    axes.annotate("", (x + 0.47, y), (x, y), arrowprops={"arrowstyle": "-|>", "color": style.INK})


def _lanes(nodes: Sequence[Sequence[cell.Edge]]) -> list[float]:
    """Returns the vertical position of each node's lane. A lane has one row for each edge into the node."""
    lanes, top = [], -0.2
    for edges in nodes:
        width = _ROW * len(edges)
        lanes.append(top - width / 2)
        top -= width + 0.16
    return lanes


def _chain(architecture: mobile.MobileGenotype) -> Figure:
    """Draws the blocks of a mobile network in rows, from left to right."""
    backbone = architecture.backbone
    boxes = [(style.INK, f"stem 3x3\n{backbone.stem} ch{_stride(backbone.stem_stride)}", 1.0)]
    for block, (channels, stride) in zip(architecture.blocks, backbone.blocks, strict=True):
        below = f"{channels} ch{_stride(stride)}"
        if block is None:
            boxes.append((style.FAINT, f"left out\n{below}", 0.45))
        else:
            kernel, expansion = block
            color = _KERNELS.get(kernel, "#8a63b8")
            boxes.append((color, f"{kernel}x{kernel}, e{expansion}\n{below}", 1.0))
    boxes.append((style.INK, f"head 1x1\n{backbone.head} ch", 1.0))
    rows = -(-len(boxes) // _CHAIN)
    step, lane = _BLOCK[0] + 0.25, _BLOCK[1] + 0.36
    axes = _canvas(-_BLOCK[0] / 2 - 0.2, step * (min(len(boxes), _CHAIN) - 1) + _BLOCK[0] / 2 + 0.2, -lane * rows, 0)
    centres = [(step * column, -lane * (row + 0.5)) for row, column in (divmod(n, _CHAIN) for n in range(len(boxes)))]
    for (x, y), (next_x, next_y) in itertools.pairwise(centres):
        if y == next_y:
            path = [(x, y), (next_x, y)]
        else:
            between = y - lane / 2
            path = [(x, y), (x, between), (next_x, between), (next_x, next_y)]
        axes.plot(*np.transpose(path), color=style.INK, linewidth=1.1, zorder=1)
    for (x, y), (color, text, faint) in zip(centres, boxes, strict=True):
        _box(axes, x, y, _BLOCK, color, text, faint)
    return axes.figure


def _stride(stride: int) -> str:
    return f" /{stride}" if stride > 1 else ""


def _family(operation: str) -> str:
    return next(color for part, color in _FAMILIES if part in operation)


def _canvas(left: float, right: float, bottom: float, top: float) -> Axes:
    """Returns axes with these borders; a unit is an inch."""
    figure = Figure(figsize=(right - left, top - bottom))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_axis_off()
    return axes


def _wire(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str, alpha: float) -> None:
    """Draws a line that changes lanes directly after its start and is horizontal from there on."""
    (x, y), (end_x, end_y) = start, end
    turn = min(0.5, end_x - x)
    path = Path(
        [(x, y), (x + turn * 0.6, y), (x + turn * 0.4, end_y), (x + turn, end_y), (end_x, end_y)],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4, Path.LINETO],
    )
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=color, linewidth=1.4, alpha=alpha, zorder=1))


def _box(
    axes: Axes,
    x: float,
    y: float,
    size: tuple[float, float],
    color: str,
    text: str,
    alpha: float = 1.0,
    rotation: int = 0,
) -> None:
    width, height = size
    patch = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.06",
        facecolor="white" if alpha < 1 else color,
        edgecolor=color,
        linestyle="--" if alpha < 1 else "-",
        zorder=2,
    )
    axes.add_patch(patch)
    axes.text(
        x,
        y,
        text,
        ha="center",
        va="center",
        rotation=rotation,
        fontsize=8,
        color=style.INK if alpha < 1 else "white",
        zorder=3,
    )


def _disc(axes: Axes, x: float, y: float, text: str) -> None:
    angle = np.linspace(0, 2 * np.pi, 49)
    axes.fill(x + _RADIUS * np.cos(angle), y + _RADIUS * np.sin(angle), color=style.INK, zorder=2)
    axes.text(x, y, text, ha="center", va="center", color="white", fontsize=8.5, fontweight="bold", zorder=3)
