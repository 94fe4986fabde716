"""The common style, size and SVG conversion of the report's charts. Equal charts give equal bytes."""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import matplotlib.style
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 10.4  # inches, the width of the page
INK = "#1f2933"
FAINT = "#9aa5b1"
BLUE = "#2a6fb0"
ORANGE = "#dd8a2e"
GREEN = "#3a9d6b"
RED = "#c0413b"
# Most people with colour blindness can distinguish these colours too.
CYCLE = (BLUE, ORANGE, GREEN, RED, "#8a63b8", "#16a3b8", "#a8763e", FAINT)

_SETTINGS = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # the name of a class may be $x$
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "svg.fonttype": "none",  # a browser has the letters of every script, matplotlib's font does not
    "svg.hashsalt": "report",  # without this, the ids within an SVG are random
}


def styled():
    """Returns the context in which figures are drawn: it ignores the user's matplotlibrc."""
    return matplotlib.style.context(["default", _SETTINGS])


def svg(figure: Figure) -> bytes:
    """Returns a figure as an SVG file, without the date."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def shortened(name: str, length: int = 24) -> str:
    """Returns a name, shortened to fit beside a bar."""
    return name if len(name) <= length else name[: length - 1] + "…"


def drawn(draw: Callable[..., Figure]) -> Callable[..., bytes]:
    """Wraps a function that returns a figure: the wrapped function returns the figure as an SVG file."""

    @wraps(draw)
    def as_svg(*args, **kwargs) -> bytes:
        with styled():
            return svg(draw(*args, **kwargs))

    return as_svg


def figure(height: float, *, width: float = WIDTH, rows: int = 1, columns: int = 1, **options: Any) -> tuple:
    """Returns a figure with a size in inches, and its axes; several axes are an array."""
    made = Figure(figsize=(width, height), layout="constrained")
    made.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return made, made.subplots(rows, columns, **options)


def numbers(epochs: Sequence[Mapping[str, Any]]) -> list[int]:
    """Returns the numbers of the epochs, counted from 1."""
    return [figures["epoch"] + 1 for figures in epochs]


def count_epochs(axes: Axes) -> None:
    """Labels the x axis with numbers of epochs."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
