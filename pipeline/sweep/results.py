"""The results of the runs of a sweep: a row for each run, and the mean, deviation and interval for each rule."""

import json
import math
import os
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from scipy import stats

from pipeline.sweep.plan import FILE_NAME, Planned

_CONFIDENCE = 0.95
# The figures of which the table shows mean and interval: key of a row -> title.
MEASURES = {"val_accuracy": "val accuracy", "test_accuracy": "test accuracy", "params": "parameters"}


def row(run: Planned, summary: dict[str, Any] | None, failure: str = "") -> dict[str, Any]:
    """Returns the figures of a run.

    Args:
        run: The run.
        summary: Its summary.json, or as many of its values as are known; None if it is not finished.
        failure: Why it failed; "" if it did not.
    """
    known = summary or {}
    state = "finished" if summary is not None else "failed" if failure else "waiting"
    names = ("val_accuracy", "test_accuracy", "params", "macs", "genotype_text", "trained_model", "report")
    return {
        "name": run.name,
        "rule": run.rule,
        "seed": run.seed,
        "state": state,
        "failure": failure or None,
        **{name: known.get(name) for name in names},
        "seconds": known.get("seconds", {}).get("total"),
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Returns `count`, `mean`, standard `deviation` of one value and the `interval` of the mean (95 %, Student's t).

    Deviation and interval are None for fewer than two values, and the mean for none.
    """
    count = len(values)
    if count < 2:
        return {"count": count, "mean": values[0] if values else None, "deviation": None, "interval": None}
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, count - 1)) * deviation / math.sqrt(count)
    return {"count": count, "mean": mean, "deviation": deviation, "interval": [mean - half, mean + half]}


def groups(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns for each rule its name, and for each measure the spread over its finished runs."""
    found = []
    for rule in dict.fromkeys(row["rule"] for row in rows):
        finished = [row for row in rows if row["rule"] == rule and row["state"] == "finished"]
        values = {key: [row[key] for row in finished if row[key] is not None] for key in MEASURES}
        found.append({"rule": rule, **{key: spread(values[key]) for key in MEASURES}})
    return found


def best(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Returns the run with the highest validation accuracy; of equal ones, that with the smallest network.

    The test accuracy has no influence. Returns None if no run has a validation accuracy.
    """
    known = [row for row in rows if row["state"] == "finished" and row["val_accuracy"] is not None]
    return max(known, key=lambda row: (row["val_accuracy"], -row["params"], -row["seed"]), default=None)


def document(
    identity: dict[str, Any], rows: Sequence[dict[str, Any]], submitted: dict[str, list[str]]
) -> dict[str, Any]:
    """Returns sweep.json.

    Args:
        identity: What identifies the sweep; another sweep is refused in its root.
        rows: A row for each run.
        submitted: Name of a run -> the ids of its runs on Kubeflow; empty for processes.
    """
    chosen = best(rows)
    return {
        "identity": identity,
        "runs": list(rows),
        "rules": groups(rows),
        "best": chosen["name"] if chosen else None,
        "submitted": submitted,
    }


def submitted(root: str) -> dict[str, list[str]]:
    """Returns the runs that an earlier start of a sweep submitted to Kubeflow."""
    try:
        with open(os.path.join(root, FILE_NAME)) as file:
            return json.load(file)["submitted"]
    except FileNotFoundError:
        return {}


def table(found: dict[str, Any]) -> str:
    """Returns the table that the terminal shows at the end of a sweep.

    Args:
        found: As `document` returns it.
    """
    return "\n".join(_lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    width = max(len("run"), *(len(row["name"]) for row in found["runs"]))
    yield f"{'run':<{width}}  {'rule':<14}{'seed':>6}" + "".join(f"{title:>15}" for title in MEASURES.values())
    for row in found["runs"]:
        start = f"{row['name']:<{width}}  {row['rule']:<14}{row['seed']:>6}"
        if row["state"] == "finished":
            yield start + "".join(f"{figure(key, row[key]):>15}" for key in MEASURES)
        else:
            yield f"{start}  {row['state']}: {row['failure']}" if row["failure"] else f"{start}  {row['state']}"
    for group in found["rules"]:
        yield ""
        yield f"{group['rule']}, {group['test_accuracy']['count']} runs"
        for label, key in (("mean", "mean"), ("deviation", "deviation"), ("interval", "interval")):
            figures = "".join(f"{figure(name, group[name][key]):>21}" for name in MEASURES)
            yield f"  {label + (' (95 %)' if key == 'interval' else ''):<18}{figures}"
    yield ""
    yield choice(found)


def choice(found: dict[str, Any]) -> str:
    """Returns a sentence about the best run.

    Args:
        found: As `document` returns it.
    """
    for row in found["runs"]:
        if row["name"] == found["best"]:
            return (
                f"Best by validation accuracy: {row['name']}, {row['val_accuracy']:.4f} on val, "
                f"{row['test_accuracy']:.4f} on test. The test accuracy had no influence on the choice."
            )
    if any(row["state"] == "finished" for row in found["runs"]):
        return "No best run: no validation accuracy is known. Networks that are trained on val have none."
    return "No best run: none is finished."


def figure(key: str, value: float | list[float] | None) -> str:
    """Returns a figure, or an interval, as it is shown.

    Args:
        key: Which of MEASURES it is.
        value: The figure; None if it is not known.
    """
    if value is None:
        return "-"
    if isinstance(value, list):
        return " to ".join(figure(key, end) for end in value)
    return f"{value:,.0f}" if key == "params" else f"{value:.4f}"
