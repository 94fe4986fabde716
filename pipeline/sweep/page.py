"""The page of a sweep: fills the template page.html with the table, and the curves of all runs in one picture."""

import base64
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from matplotlib.figure import Figure

from components.report_gen import style
from models.runtime import artifact_files
from pipeline.sweep import results

FILE_NAME = "sweep.html"  # in a sweep's root

Curves = Mapping[str, Sequence[float]]


def curves(model_run: str, results: str | None) -> Curves:
    """Returns the figures of a run per epoch: `best` of the search so far, and the training's `accuracy` and `loss`.

    Args:
        model_run: URI of the Trainer's record.
        results: URI of the figures of SupernetSearch; None without a search.
    """
    training = artifact_files.TRAINING.load(model_run, dict)["history"]
    found = {name: [figures[name] for figures in training] for name in ("accuracy", "loss")}
    if results:
        found["best"] = [figures["best"] for figures in artifact_files.EPOCHS.load(results, list)]
    return found


@style.drawn
def draw(rows: Sequence[Mapping[str, Any]], found: Mapping[str, Curves]) -> Figure:
    """Draws the curves of all runs over each other, a colour for each rule.

    Args:
        rows: A row of `results` for each run.
        found: The name of a finished run -> its curves.
    """
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    titles = {"best": "Search: best so far", "accuracy": "Training accuracy", "loss": "Training loss (nats)"}
    shown = [name for name in titles if any(name in one for one in found.values())]
    figure, panels = style.figure(3.0, columns=len(shown), squeeze=False)
    for axes, name in zip(panels[0], shown, strict=True):
        labelled: set[str] = set()
        for row in rows:
            known = [(epoch, value) for epoch, value in enumerate(_of(found, row, name), 1) if value is not None]
            if known:
                color = style.CYCLE[rules.index(row["rule"]) % len(style.CYCLE)]
                label = None if row["rule"] in labelled else row["rule"]
                axes.plot(*zip(*known, strict=True), color=color, alpha=0.6, linewidth=1.1, label=label)
                labelled.add(row["rule"])
        axes.set(title=titles[name])
        style.count_epochs(axes)
    if len(rules) > 1:
        panels[0][0].legend(fontsize=7)
    return figure


def _of(found: Mapping[str, Curves], row: Mapping[str, Any], name: str) -> Sequence[float]:
    return found.get(row["name"], {}).get(name, ())


def render(name: str, document: Mapping[str, Any], found: Mapping[str, Curves]) -> str:
    """Returns the page as HTML that needs no other file.

    Args:
        name: `config.name`.
        document: As `results.document` returns it.
        found: The name of a finished run -> its curves.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(__file__)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    picture = base64.b64encode(draw(document["runs"], found)).decode() if found else None
    return environment.get_template("page.html").render(
        name=name,
        document=document,
        measures=results.MEASURES,
        figure=results.figure,
        choice=results.choice(document),
        picture=picture,
    )
