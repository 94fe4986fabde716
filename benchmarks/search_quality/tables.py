"""Tables of evaluated architectures: what a search would have measured, looked up."""

from __future__ import annotations

import csv
import dataclasses
import fnmatch
import math
import os
import statistics
from collections.abc import Sequence

Key = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """The metrics of architectures.

    Attributes:
        choices: name -> operations, in the order of their first appearance in the table.
        objective: architecture (an operation per choice) -> the metric that the search sees, more is better.
        report: architecture -> the metric that its result is judged by, more is better.
    """

    choices: dict[str, tuple[str, ...]]
    objective: dict[Key, float]
    report: dict[Key, float]

    @property
    def best(self) -> float:
        return max(self.report.values())

    @property
    def deviation(self) -> float:
        """Of the objective: 1.4826 median absolute deviations, which a few broken architectures do not widen."""
        values = self.objective.values()
        median = statistics.median(values)
        return 1.4826 * statistics.median(abs(value - median) for value in values)

    @property
    def worst(self) -> float:
        return min(self.report.values())


def load(path: str | os.PathLike, choices: str, objective: str, report: Sequence[str]) -> Table:
    """Reads a CSV file with a header.

    Args:
        path: the file.
        choices: pattern of the columns that are choices, as in a shell: "layer_*"; their values may be any text.
        objective: column of the metric that the search sees.
        report: columns whose mean is the metric that results are judged by.

    Raises:
        ValueError: no column matches, a column is missing, a metric is no number, an architecture stands there twice.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or []
        names = [column for column in columns if fnmatch.fnmatchcase(column, choices)]
        metrics = [objective, *report]
        names = [name for name in names if name not in metrics]
        if not names:
            raise ValueError(f"{path}: no column matches the choices {choices!r}, found {', '.join(columns)}")
        for metric in metrics:
            if metric not in columns:
                raise ValueError(f"{path}: found no column {metric!r}, there are {', '.join(columns)}")
        operations: dict[str, dict[str, None]] = {name: {} for name in names}
        seen: dict[Key, float] = {}
        judged: dict[Key, float] = {}
        for line, row in enumerate(rows, start=2):
            key = tuple(row[name] for name in names)
            if key in seen:
                raise ValueError(f"{path}, line {line}: the architecture {key} stands there a second time")
            seen[key] = _number(path, line, row, objective)
            judged[key] = math.fsum(_number(path, line, row, column) for column in report) / len(report)
            for name, operation in zip(names, key, strict=True):
                operations[name][operation] = None
    if not seen:
        raise ValueError(f"{path}: found no rows")
    return Table({name: tuple(values) for name, values in operations.items()}, seen, judged)


def _number(path: str | os.PathLike, line: int, row: dict[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}, line {line}: found {row[column]!r} in the column {column!r}, no finite number")
    return value
