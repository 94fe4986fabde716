"""The style of the report's pictures, and their conversion to SVG files. Equal pictures give equal bytes."""

import io

import matplotlib.style
from matplotlib.figure import Figure

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
