"""The charts of the search: its course, the final distribution, and the evaluations it learned from."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from components.report_gen import style
from components.report_gen.inputs import Choice, Search

PANELS = 56  # largest number of choices with a panel each
_POINTS = 200  # largest number of points of a line


@style.drawn
def search_curves(search: Search) -> Figure:
    """Draws objective, loss and entropy of each epoch of a search. A failed epoch is a grey vertical line."""
    trained = search.objective == "val_accuracy"
    figure, panels = style.figure(2.9, columns=3 if trained else 2)
    score, entropy = panels[0], panels[-1]
    completed = [figures for figures in search.epochs if figures["status"] == "COMPLETED"]
    epochs = style.numbers(completed)
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
        style.numbers(known),
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
        style.numbers(search.epochs),
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
        style.count_epochs(axes)
    return figure


@style.drawn
def probabilities(choices: Sequence[Choice]) -> Figure:
    """Draws the final probabilities as a heat map with a row per choice. The highest of each row has a frame.

    With more than 16 choices there are two heat maps side by side. With at most 80 choices the cells contain numbers. A
    hatched cell is an operation that a choice does not have.
    """
    # The colour scale ends at twice the uniform probability or more, so that a uniform distribution looks pale.
    top = 2 / len(_operations(choices))
    return _heat_map(choices, [choice.probabilities for choice in choices], "probability", "{:.2f}", top, framed=True)


@style.drawn
def evaluations(choices: Sequence[Choice], evaluated: Sequence[Sequence[int]]) -> Figure:
    """Draws how often each operation was evaluated, as a heat map like that of `probabilities`.

    Args:
        choices: The choices.
        evaluated: For each choice the number of evaluations of each of its operations.
    """
    return _heat_map(choices, evaluated, "evaluations", "{:.0f}", 1.0, framed=False)


def _heat_map(
    choices: Sequence[Choice],
    values: Sequence[Sequence[float]],
    label: str,
    form: str,
    least_top: float,
    *,
    framed: bool,
) -> Figure:
    """Returns a heat map of a value for each operation of each choice.

    Args:
        choices: The choices.
        values: For each choice the value of each of its operations.
        label: The name of the values.
        form: The format of the numbers in the cells.
        least_top: The colour scale ends at this value or above.
        framed: Whether the highest value of each row has a frame.
    """
    operations = _operations(choices)
    shown = np.full((len(choices), len(operations)), np.nan)
    for row, (choice, found) in enumerate(zip(choices, values, strict=True)):
        shown[row, [operations.index(operation) for operation in choice.operations]] = found
    halves = np.array_split(np.arange(len(choices)), 2 if len(choices) > 16 else 1)
    row_height = 0.25 if len(choices) <= 80 else 0.14
    figure, panels = style.figure(1.3 + row_height * len(halves[0]), columns=len(halves))
    top = max(float(np.nanmax(shown)), least_top)
    for axes, rows in zip(np.atleast_1d(panels), halves, strict=True):
        image = axes.pcolormesh(shown[rows], cmap="Blues", vmin=0, vmax=top, edgecolors="white", linewidth=0.8)
        axes.set_facecolor("#f0f0f0")
        axes.invert_yaxis()
        for position, row in enumerate(rows):
            if framed:
                axes.plot(
                    np.array([0, 1, 1, 0, 0]) + int(np.nanargmax(shown[row])),
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
                        form.format(value),
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
    figure.colorbar(image, ax=panels, label=label, fraction=0.02, pad=0.01, aspect=40)
    return figure


@style.drawn
def movement(search: Search) -> Figure:
    """Draws the probabilities over the epochs, for the PANELS choices that moved most, a panel per choice."""
    operations = _operations(search.choices)
    kept = sorted(most_moved(search.choices)[:PANELS])
    columns = min(7, len(kept))
    rows = math.ceil(len(kept) / columns)
    figure, axes = style.figure(1.05 * rows + 0.6)
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


def _operations(choices: Sequence[Choice]) -> list[str]:
    """Returns the operations of all choices, each once."""
    return list(dict.fromkeys(operation for choice in choices for operation in choice.operations))


def _last_part(operation: str) -> str:
    """Returns the name of an operation. The module in the name of a custom operation is removed."""
    return operation.rpartition(".")[2]
