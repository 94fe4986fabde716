"""The chart of a front: the costs of its architectures, and the scores that the search predicts for them."""

from collections.abc import Mapping

from matplotlib import ticker
from matplotlib.figure import Figure

from components.report_gen import style
from models.search.front import COSTS, Front

LABELS = {"params": "parameters", "macs": "multiply-adds", "latency_ms": "latency (ms)", "file_mb": "file (MB)"}


@style.drawn
def front(of: Front, limits: Mapping[str, float]) -> Figure:
    """Draws the predicted score against each known cost.

    The derived architecture is a diamond, published ones are triangles.

    Args:
        of: The front.
        limits: Name of a cost -> its limit, a dotted line.
    """
    known = [name for name in COSTS if of.chosen.costs[name] is not None]
    figure, panels = style.figure(2.9, columns=len(known), sharey=True, squeeze=False)
    for axes, name in zip(panels[0], known, strict=True):
        points = sorted(of.points, key=lambda point: point.costs[name] or 0)
        spread = name == of.cost
        axes.plot(
            [point.costs[name] for point in points],
            [point.predicted for point in points],
            color=style.BLUE,
            marker="o",
            markersize=4,
            linewidth=1.2 if spread else 0,
            label="front",
        )
        if of.published:
            axes.plot(
                [point.costs[name] for point in of.published.values()],
                [point.predicted for point in of.published.values()],
                color=style.GREEN,
                marker="^",
                markersize=5,
                linewidth=0,
                label="published",
            )
        axes.plot(
            [of.chosen.costs[name]],
            [of.chosen.predicted],
            color=style.ORANGE,
            marker="D",
            markersize=7,
            markerfacecolor="none",
            markeredgewidth=1.8,
            linewidth=0,
            label="derived and trained",
        )
        if name in limits:
            axes.axvline(limits[name], color=style.RED, linewidth=1, linestyle=":", label="limit")
        title = LABELS[name][0].upper() + LABELS[name][1:]
        axes.set(xlabel=LABELS[name], title=title + (" (spread over it)" if spread else ""))
        if isinstance(of.chosen.costs[name], int):
            axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=" "))
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
        axes.legend(fontsize=7, loc="lower right")
    panels[0][0].set_ylabel("predicted score")
    return figure
