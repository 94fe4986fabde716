"""Draws how regret falls with the number of evaluations, from what tabular_search wrote with --json.

    python -m benchmarks.search_quality.regret_plot \\
        --panel='macro=a.json,b.json' --panel='macro, noise=c.json' --out=regret.png

Each panel shows the methods of its files; the ratios of a method that is in several of them are averaged. Solid lines
are the argmax, dashed ones the best evaluated architecture.
"""

import json
import statistics
from collections.abc import Mapping, Sequence

from absl import app, flags
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from components.report_gen import style

# Method -> "argmax" or "best" -> evaluations -> ratio to random search's regret.
Ratios = dict[str, dict[str, dict[int, float]]]


def read(paths: Sequence[str]) -> Ratios:
    """Returns the ratios in the files, random search's (always 1) left out, and answers that a method lacks.

    Args:
        paths: JSON files of benchmarks.search_quality.tabular_search.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is not one of tabular_search's; the message names it.
    """
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            try:
                evaluations = json.load(file)["evaluations"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}: not a file that benchmarks.search_quality.tabular_search wrote with --json"
                ) from error
        for number, figures in evaluations.items():
            for method, row in figures["methods"].items():
                for answer in ("argmax", "best"):
                    if method != "random" and row[answer] and row[answer]["ratio"] is not None:
                        numbers = found.setdefault(method, {}).setdefault(answer, {})
                        numbers.setdefault(int(number), []).append(row[answer]["ratio"])
    return {
        method: {
            answer: {number: statistics.fmean(ratios) for number, ratios in sorted(numbers.items())}
            for answer, numbers in answers.items()
        }
        for method, answers in found.items()
    }


def draw(panels: Mapping[str, Ratios], columns: int) -> Figure:
    """Draws a panel for each label, `columns` of them in a row, with common axes and a legend above."""
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(4.0, 2.3 * columns), 0.5 + 2.1 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    methods = list(dict.fromkeys(method for ratios in panels.values() for method in ratios))
    colors = dict(zip(methods, style.CYCLE, strict=False))
    for axes, (label, ratios) in zip(grid.flat, panels.items(), strict=False):
        for method, answers in ratios.items():
            for answer, line in (("best", "--"), ("argmax", "-")):
                if answer in answers:
                    axes.plot(*zip(*answers[answer].items(), strict=True), line, color=colors[method], marker=".")
        numbers = sorted({number for answers in ratios.values() for found in answers.values() for number in found})
        axes.set(title=label, xscale="log")
        axes.set_xticks(numbers, map(str, numbers))
        axes.minorticks_off()
    grid[0, 0].set_ylim(bottom=0)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel("architectures evaluated", fontsize=8.5)
    figure.supylabel("regret / random search's", fontsize=8.5)
    handles = [*(_line(colors[method], "-") for method in methods), _line(style.INK, "-"), _line(style.INK, "--")]
    labels = [*methods, "argmax", "best evaluated"]
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 2 * columns))
    return figure


def _line(color, kind):
    return Line2D([], [], color=color, linestyle=kind)


def main(_: Sequence[str]) -> None:
    panels = {}
    for panel in _PANELS.value:
        label, _, paths = panel.rpartition("=")
        if not label or not paths:
            raise app.UsageError(f"--panel: found {panel!r}, needed is LABEL=FILE[,FILE...]")
        try:
            panels[label] = read(paths.split(","))
        except (OSError, ValueError) as error:
            raise app.UsageError(f"--panel: {error}") from error
    with style.styled():
        draw(panels, min(_COLUMNS.value, len(panels))).savefig(_OUT.value, dpi=100)


if __name__ == "__main__":
    _PANELS = flags.DEFINE_multi_string("panel", None, "LABEL=FILE[,FILE...]; one for each panel.", required=True)
    _COLUMNS = flags.DEFINE_integer("columns", 5, "Panels in a row.", lower_bound=1)
    _OUT = flags.DEFINE_string("out", "regret.png", "The picture; its ending says the format.")
    app.run(main)
