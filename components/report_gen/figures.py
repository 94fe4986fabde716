"""The charts of data, training and test. A chart is a function that takes numbers and returns an SVG file.

The charts work with few and with many items: if there is no room for all, a chart leaves out the least important items.
The docstring of each function gives the limit.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from components.report_gen import style
from components.report_gen.evaluation_results import ClassResult

BARS = 40  # largest number of classes with a bar each
MATRIX = 150  # largest number of classes for which a confusion matrix is readable
_NUMBERS = 25  # largest number of classes for which the cells of the matrix contain numbers


@style.drawn
def class_counts(class_names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Figure:
    """Draws the number of images of each class: as stacked bars, or with more than BARS classes as lines of sorted
    counts.

    Args:
        class_names: The names of the classes, in the order of the labels.
        counts: Split -> number of images per class.
    """
    palette = dict(zip(counts, style.CYCLE, strict=False))
    if len(class_names) > BARS:
        figure, axes = style.figure(3.0)
        for split, found in counts.items():
            axes.plot(range(1, len(found) + 1), sorted(found, reverse=True), color=palette[split], label=split)
        axes.set(xlabel="classes, the largest first", ylabel="images", ylim=(0, None))
        axes.legend()
        return figure
    figure, axes = style.figure(0.9 + 0.21 * len(class_names))
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


@style.drawn
def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draws loss, accuracy and learning rate of each epoch of the final training."""
    figure, panels = style.figure(2.7, columns=3)
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
        axes.plot(style.numbers(history), [figures[name] for figures in history], color=color, **few)
        axes.set(title=title)
        style.count_epochs(axes)
    panels[0].set(ylim=(None, 1.02))
    panels[2].set(ylim=(0, None))
    return figure


@style.drawn
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
        figure, (axes, histogram) = style.figure(height, columns=2, width_ratios=(2, 1))
        histogram.hist([result.accuracy for result in results], bins=np.linspace(0, 1, 21), color=style.BLUE)
        histogram.axvline(overall, color=style.ORANGE, linestyle="--")
        histogram.set(title="All classes", xlabel="accuracy", ylabel="classes")
        histogram.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.set(title=f"The {len(worst)} worst of {len(results)} classes")
    else:
        figure, axes = style.figure(height)
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


@style.drawn
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
    figure, axes = style.figure(side, width=side + 0.8)
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


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [style.shortened(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
