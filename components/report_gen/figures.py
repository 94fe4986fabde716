"""The charts of the report. A chart is a function that takes numbers and returns an SVG file.

The charts work with few and with many items: if there is no room for all, a chart leaves out the least important items.
The docstring of each function gives the limit.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from components.report_gen import style
from components.report_gen.inputs import Choice, ClassResult, Search

_WIDTH = 10.4  # inches, the width of the page
BARS = 40  # largest number of classes with a bar each
PANELS = 56  # largest number of choices with a panel each
MATRIX = 150  # largest number of classes for which a confusion matrix is readable
_NUMBERS = 25  # largest number of classes for which the cells of the matrix contain numbers
_POINTS = 200  # largest number of points of a line


def _drawn(draw: Callable[..., Figure]) -> Callable[..., bytes]:
    """Wraps a function that returns a figure: the wrapped function returns the figure as an SVG file."""

    @wraps(draw)
    def drawn(*args, **kwargs) -> bytes:
        with style.styled():
            return style.svg(draw(*args, **kwargs))

    return drawn


@_drawn
def class_counts(class_names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Figure:
    """Draws the number of images of each class: as stacked bars, or with more than BARS classes as lines of sorted
    counts.

    Args:
        class_names: The names of the classes, in the order of the labels.
        counts: Split -> number of images per class.
    """
    palette = dict(zip(counts, style.CYCLE, strict=False))
    if len(class_names) > BARS:
        figure, axes = _figure(3.0)
        for split, found in counts.items():
            axes.plot(range(1, len(found) + 1), sorted(found, reverse=True), color=palette[split], label=split)
        axes.set(xlabel="classes, the largest first", ylabel="images", ylim=(0, None))
        axes.legend()
        return figure
    figure, axes = _figure(0.9 + 0.21 * len(class_names))
    left = np.zeros(len(class_names))
    rows = np.arange(len(class_names))
    for split, found in counts.items():
        axes.barh(rows, found, left=left, height=0.75, color=palette[split], label=split)
        for row, (count, start) in enumerate(zip(found, left, strict=True)):
            if count > 0.03 * max(map(sum, zip(*counts.values(), strict=True))):
                axes.text(start + count / 2, row, str(count), ha="center", va="center", color="white", fontsize=7)
        left += found
    _name_rows(axes, class_names)
    axes.set(xlabel="images")
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(counts), borderaxespad=0.1)
    return figure


@_drawn
def search_curves(search: Search) -> Figure:
    """Draws objective, loss and entropy of each epoch of a search. A failed epoch is a grey vertical line."""
    trained = search.objective == "val_accuracy"
    figure, panels = _figure(2.9, columns=3 if trained else 2)
    score, entropy = panels[0], panels[-1]
    completed = [figures for figures in search.epochs if figures["status"] == "COMPLETED"]
    epochs = _numbers(completed)
    few = {"marker": ".", "markersize": 4} if len(completed) <= 60 else {}

    def curve(axes: Axes, name: str, label: str, colour: str, width: float = 1.5) -> None:
        axes.plot(epochs, [figures[name] for figures in completed], color=colour, linewidth=width, label=label, **few)

    curve(score, search.objective, "validation, of the sampled" if trained else "of the sampled", style.BLUE)
    if trained:
        curve(score, "accuracy", "training", style.FAINT, 1)
        curve(panels[1], "val_loss", "validation", style.BLUE)
        curve(panels[1], "loss", "training", style.FAINT, 1)
        panels[1].set(title="Loss (nats)")
        panels[1].legend(fontsize=7)
    known = [figures for figures in search.epochs if figures["best"] is not None]
    score.step(
        _numbers(known),
        [figures["best"] for figures in known],
        where="post",
        color=style.GREEN,
        linestyle="--",
        label="best so far",
        **few,
    )
    score.set(title="Accuracy" if trained else "Score", ylim=(0, 1.02))
    score.legend(fontsize=7)

    entropy.plot(
        _numbers(search.epochs),
        [figures["entropy"] for figures in search.epochs],
        color=style.ORANGE,
        label="now",
        **few,
    )
    uniform = sum(math.log(len(choice.operations)) for choice in search.choices)
    entropy.axhline(uniform, color=style.FAINT, linewidth=1, linestyle=":", label="uniform")
    entropy.set(title="Entropy of the distribution (nats)")
    entropy.ticklabel_format(axis="y", useOffset=False)
    entropy.legend(fontsize=7)

    for axes in panels:
        for figures in search.epochs:
            if figures["status"] != "COMPLETED":
                axes.axvline(figures["epoch"] + 1, color=style.FAINT, linewidth=0.6, zorder=0)
        _count_epochs(axes)
    return figure


@_drawn
def probabilities(choices: Sequence[Choice]) -> Figure:
    """Draws the final probabilities as a heat map with a row per choice. The highest of each row has a frame.

    With more than 16 choices there are two heat maps side by side. With at most 80 choices the cells contain numbers. A
    hatched cell is an operation that a choice does not have.
    """
    operations = _operations(choices)
    shown = np.full((len(choices), len(operations)), np.nan)
    for row, choice in enumerate(choices):
        shown[row, [operations.index(operation) for operation in choice.operations]] = choice.probabilities
    halves = np.array_split(np.arange(len(choices)), 2 if len(choices) > 16 else 1)
    row_height = 0.25 if len(choices) <= 80 else 0.14
    figure, panels = _figure(1.3 + row_height * len(halves[0]), columns=len(halves))
    # The colour scale ends at twice the uniform probability or more, so that a uniform distribution looks pale.
    top = max(float(np.nanmax(shown)), 2 / len(operations))
    for axes, rows in zip(np.atleast_1d(panels), halves, strict=True):
        image = axes.pcolormesh(shown[rows], cmap="Blues", vmin=0, vmax=top, edgecolors="white", linewidth=0.8)
        axes.set_facecolor("#f0f0f0")
        axes.invert_yaxis()
        for position, row in enumerate(rows):
            likeliest = int(np.nanargmax(shown[row]))
            axes.plot(
                np.array([0, 1, 1, 0, 0]) + likeliest,
                np.array([0, 0, 1, 1, 0]) + position,
                color=style.ORANGE,
                linewidth=1.2,
                zorder=3,
                clip_on=False,
            )
            for column in np.flatnonzero(np.isnan(shown[row])):
                axes.fill_between(
                    [column, column + 1], position, position + 1, facecolor="none", edgecolor="#cccccc", hatch="////"
                )
            if len(choices) <= 80:
                for column in np.flatnonzero(~np.isnan(shown[row])):
                    value = shown[row, column]
                    axes.text(
                        column + 0.5,
                        position + 0.53,
                        f"{value:.2f}",
                        ha="center",
                        va="center",
                        fontsize=6.5,
                        color="white" if value > 0.6 * top else style.INK,
                    )
        axes.set_yticks(np.arange(len(rows)) + 0.5, [style.shortened(choices[row].name) for row in rows])
        axes.set_xticks(
            np.arange(len(operations)) + 0.5, [_last_part(name) for name in operations], rotation=35, ha="left"
        )
        axes.tick_params(length=0, labelsize=7.5 if len(choices) <= 80 else 5.5)
        axes.xaxis.tick_top()
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=panels, label="probability", fraction=0.02, pad=0.01, aspect=40)
    return figure


@_drawn
def movement(search: Search) -> Figure:
    """Draws the probabilities over the epochs, for the PANELS choices that moved most, a panel per choice."""
    operations = _operations(search.choices)
    kept = sorted(most_moved(search.choices)[:PANELS])
    columns = min(7, len(kept))
    rows = math.ceil(len(kept) / columns)
    figure, axes = _figure(1.05 * rows + 0.6)
    every = math.ceil(len(search.movement) / _POINTS)
    # The selection starts at the end, so it always contains the last epoch.
    moved = search.movement[::-1][:: max(1, every)][::-1]
    epochs = np.array([0, *(epoch + 1 for epoch, _ in moved)])
    last = max(1, epochs[-1])
    top = max(max(row) for _, after in moved for row in after) if moved else 1.0

    # All panels are drawn into one Axes object, because matplotlib takes seconds to lay out dozens of them.
    def place(position, x, y):
        row, column = divmod(position, columns)
        return np.column_stack([column + 0.85 * x / last, -row - 0.92 + 0.72 * y / top])

    lines: dict[str, list[np.ndarray]] = {name: [] for name in operations}
    for position, number in enumerate(kept):
        choice = search.choices[number]
        for column, operation in enumerate(choice.operations):
            path = [1 / len(choice.operations), *(after[number][column] for _, after in moved)]
            lines[operation].append(place(position, epochs, np.array(path)))
        ((x, y),) = place(position, 0, top * 1.06)
        axes.text(x, y, style.shortened(choice.name), fontsize=7.5, va="bottom")
    ticks_x = ticker.MaxNLocator(3, integer=True).tick_values(0, last)
    ticks_y = ticker.MaxNLocator(3).tick_values(0, top)
    frames, grid = [], []
    for position in range(len(kept)):
        frames.append(place(position, np.array([0, 0, last]), np.array([top, 0, 0])))
        for tick in ticks_x[ticks_x <= last]:
            grid.append(place(position, np.array([tick, tick]), np.array([0, top])))
            if position >= len(kept) - columns:
                ((x, y),) = place(position, tick, -0.05 * top)
                axes.text(x, y, f"{tick:g}", fontsize=6.5, ha="center", va="top")
        for tick in ticks_y[ticks_y <= top]:
            grid.append(place(position, np.array([0, last]), np.array([tick, tick])))
            if position % columns == 0:
                ((x, y),) = place(position, 0, tick)
                axes.text(x - 0.03, y, f"{tick:g}", fontsize=6.5, ha="right", va="center")
    axes.add_collection(LineCollection(grid, colors="#e4e7eb", linewidths=0.6, zorder=0))
    axes.add_collection(LineCollection(frames, colors=style.FAINT, linewidths=0.8, zorder=1))
    for number, (name, paths) in enumerate(lines.items()):
        again, color = divmod(number, len(style.CYCLE))
        axes.add_collection(
            LineCollection(
                paths,
                colors=style.CYCLE[color],
                linestyles="--" if again else "-",
                linewidths=1.1,
                label=_last_part(name),
            )
        )
    axes.set(xlim=(-0.15, columns - 0.1), ylim=(-rows - 0.1, -0.02))
    axes.set_axis_off()
    figure.supxlabel("epoch", fontsize=8.5)
    figure.supylabel("probability", fontsize=8.5)
    figure.legend(loc="outside upper center", ncols=min(8, len(operations)), fontsize=7.5)
    return figure


def most_moved(choices: Sequence[Choice]) -> list[int]:
    """Returns the numbers of the choices, those farthest from the uniform distribution first."""
    distance = [
        sum(abs(probability - 1 / len(choice.operations)) for probability in choice.probabilities) for choice in choices
    ]
    return sorted(range(len(choices)), key=lambda number: -distance[number])


@_drawn
def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draws loss, accuracy and learning rate of each epoch of the final training."""
    figure, panels = _figure(2.7, columns=3)
    few = {"marker": ".", "markersize": 4} if len(history) <= 60 else {}
    for axes, (name, title, color) in zip(
        panels,
        (
            ("accuracy", "Training accuracy", style.BLUE),
            ("loss", "Training loss (nats)", style.BLUE),
            ("learning_rate", "Learning rate", style.ORANGE),
        ),
        strict=True,
    ):
        axes.plot(_numbers(history), [figures[name] for figures in history], color=color, **few)
        axes.set(title=title)
        _count_epochs(axes)
    panels[0].set(ylim=(None, 1.02))
    panels[2].set(ylim=(0, None))
    return figure


@_drawn
def class_accuracies(results: Sequence[ClassResult], overall: float) -> Figure:
    """Draws the test accuracy of each class, the worst first.

    With more than BARS classes it draws the worst BARS classes and a histogram of all.

    Args:
        results: The results of the classes, in any order.
        overall: Accuracy on all images, 0 to 1.
    """
    worst = worst_first(results)[:BARS]
    height = 0.9 + 0.21 * len(worst)
    if len(results) > BARS:
        figure, (axes, histogram) = _figure(height, columns=2, width_ratios=(2, 1))
        histogram.hist([result.accuracy for result in results], bins=np.linspace(0, 1, 21), color=style.BLUE)
        histogram.axvline(overall, color=style.ORANGE, linestyle="--")
        histogram.set(title="All classes", xlabel="accuracy", ylabel="classes")
        histogram.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.set(title=f"The {len(worst)} worst of {len(results)} classes")
    else:
        figure, axes = _figure(height)
    rows = np.arange(len(worst))
    axes.barh(rows, [result.accuracy for result in worst], height=0.75, color=style.BLUE)
    axes.axvline(overall, color=style.ORANGE, linestyle="--", label=f"all images: {overall:.3f}")
    for row, result in zip(rows, worst, strict=True):
        inside = result.accuracy > 0.25
        axes.text(
            0.008 if inside else result.accuracy + 0.008,
            row,
            f"{result.accuracy:.3f} of {result.support}",
            va="center",
            fontsize=7,
            color="white" if inside else style.INK,
        )
    _name_rows(axes, [result.name for result in worst])
    axes.set(xlabel="accuracy", xlim=(0, 1))
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.1)
    return figure


def worst_first(results: Sequence[ClassResult]) -> list[ClassResult]:
    """Returns the classes sorted by accuracy. If accuracies are equal, the class with more images is first."""
    return sorted(results, key=lambda result: (result.accuracy, -result.support, result.name))


@_drawn
def confusion(class_names: Sequence[str], counts: Mapping[tuple[int, int], int]) -> Figure:
    """Draws a confusion matrix with the shares of a class's images: correct answers are blue, mistakes are red.

    Args:
        class_names: At most MATRIX names, in the order of the labels. With at most 25 classes the cells contain counts.
        counts: (label, predicted label) -> number of images; a missing pair counts as 0.
    """
    size = len(class_names)
    matrix = np.zeros((size, size))
    for (label, predicted), count in counts.items():
        matrix[label, predicted] = count
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    signed = np.where(np.eye(size, dtype=bool), share, -share)
    side = float(np.clip(1.6 + 0.3 * size, 3.2, 8.6))
    figure, axes = _figure(side, width=side + 0.8)
    # The square root, and the jump of the colours beside 0, make even a share of one in a hundred visible.
    stops = [(0.0, style.RED), (0.499, "#fbdcd9"), (0.5, "white"), (0.501, "#dfeaf5"), (1.0, style.BLUE)]
    image = axes.imshow(
        np.sign(signed) * np.sqrt(np.abs(signed)),
        cmap=colors.LinearSegmentedColormap.from_list("signed", stops, N=1023),
        vmin=-1,
        vmax=1,
        interpolation="nearest",
        aspect="auto",
    )
    if size <= _NUMBERS:
        for label, predicted in zip(*np.nonzero(matrix), strict=True):
            axes.text(
                predicted,
                label,
                f"{matrix[label, predicted]:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if share[label, predicted] > 0.3 else style.INK,
            )
    every = max(1, math.ceil(size / 75))
    ticks = range(0, size, every)
    names = [style.shortened(class_names[number], 16) for number in ticks]
    size_of_text = 8 if size <= _NUMBERS else float(np.clip(330 / (size / every), 4, 8))
    axes.set_xticks(ticks, names, rotation=90, fontsize=size_of_text)
    axes.set_yticks(ticks, names, fontsize=size_of_text)
    axes.set(xlabel="predicted", ylabel="class")
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02)
    bar.set_ticks([-1, -math.sqrt(0.1), 0, math.sqrt(0.1), 1], labels=["1", "0.1", "0", "0.1", "1"])
    bar.set_label("mistakes | right")
    return figure


def _figure(height: float, *, width: float = _WIDTH, rows: int = 1, columns: int = 1, **options: Any) -> tuple:
    """Returns a figure with a size in inches, and its axes; several axes are an array."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure, figure.subplots(rows, columns, **options)


def _numbers(epochs: Sequence[Mapping[str, Any]]) -> list[int]:
    """Returns the numbers of the epochs, counted from 1."""
    return [figures["epoch"] + 1 for figures in epochs]


def _count_epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [style.shortened(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _operations(choices: Sequence[Choice]) -> list[str]:
    """Returns the operations of all choices, each once."""
    return list(dict.fromkeys(operation for choice in choices for operation in choice.operations))


def _last_part(operation: str) -> str:
    """Returns the name of an operation; for a custom operation without its module."""
    return operation.rpartition(".")[2]
