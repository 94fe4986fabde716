"""The chart that compares the final network with the baselines."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from components.report_gen import style
from models.baselines.verdict import BETTER, SAME, WORSE, Figures

_COLOURS = {BETTER: style.GREEN, SAME: style.FAINT, WORSE: style.RED, None: style.BLUE}


@style.drawn
def accuracies(rows: Sequence[Figures]) -> Figure:
    """Draws the test accuracy of each classifier as a point in its 95 % interval.

    A baseline is green if the final network is better, red if it is worse, and grey if they are the same within chance.

    Args:
        rows: The final network, then the baselines.
    """
    figure, axes = style.figure(0.75 + 0.32 * len(rows))
    network = rows[0]
    axes.axvspan(*network.interval, color=style.BLUE, alpha=0.08, linewidth=0)
    for place, row in enumerate(rows):
        low, high = row.interval
        colour = _COLOURS[row.verdict]
        axes.plot((low, high), (place, place), color=colour, linewidth=3, solid_capstyle="butt", alpha=0.5)
        axes.plot(row.accuracy, place, "o", color=colour, markersize=7)
        axes.annotate(
            f"{row.accuracy:.4f}",
            (row.accuracy, place),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    axes.set_yticks(range(len(rows)), ["this network", *(row.name for row in rows[1:])])
    axes.set(ylim=(len(rows) - 0.5, -0.7), xlabel="test accuracy")
    axes.grid(visible=False, axis="y")
    return figure
