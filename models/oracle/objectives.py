"""Several objectives of a KerasTuner search: the list of objectives, the front of trials, and MnasNet's soft target."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .costs import Goal
from .hypervolume import nondominated

# KerasTuner's sum of objectives is doubtful if one of them is this many times as large as another.
_DOUBTFUL = 10.0


@dataclasses.dataclass(frozen=True)
class FrontTrial:
    """A trial of a Pareto front.

    Attributes:
        trial_id: The name of the trial.
        values: Name of an objective -> its value, in the direction of the objective.
        hyperparameters: The `keras_tuner.HyperParameters` of the trial.
    """

    trial_id: str
    values: Mapping[str, float]
    hyperparameters: Any


def split(objective: Any, known: Mapping[str, Callable[[Any], float]]) -> tuple[Any, tuple[Goal, ...]]:
    """Returns the objective that gives a trial its score, and the objectives beside it.

    Args:
        objective: As `keras_tuner.Oracle` takes it; a list may contain `keras_tuner.Objective` only.
        known: Name of an objective -> function of an architecture.

    Raises:
        ValueError: The list has not two or three objectives, a name is repeated, an objective has no direction, a known
            objective is not in the list, or all objectives of the list are known.
    """
    if not isinstance(objective, list):
        if known:
            raise ValueError("known: found a single objective; expected a list of two or three objectives")
        return objective, ()
    parts: list[Any] = objective
    if not 2 <= len(parts) <= 3:
        raise ValueError(f"objective: found a list of {len(parts)}; expected two or three objectives")
    for part in parts:
        if not hasattr(part, "direction") or hasattr(part, "objectives"):
            raise ValueError(
                f"objective: found {part!r} in the list; expected keras_tuner.Objective(name, direction) for each"
            )
    names = [str(part.name) for part in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"objective: found the names {', '.join(names)}; expected different names")
    unknown = [name for name in known if name not in names]
    if unknown:
        raise ValueError(f"known: found {unknown[0]!r}; expected one of the objectives {', '.join(names)}")
    measured = [part for part in parts if part.name not in known]
    if not measured:
        raise ValueError("known: found all objectives; expected at least one that an evaluation measures")
    goals = [Goal(part.name, part.direction, known.get(part.name)) for part in parts if part is not measured[0]]
    return measured[0], tuple(goals)


def front(goals: Sequence[Goal], values: Sequence[Mapping[str, float]], trials: Sequence[Any]) -> list[FrontTrial]:
    """Returns the trials that no other trial dominates, sorted by the first objective, the best first.

    Of several equal trials only the earliest is returned.

    Args:
        goals: The objectives.
        values: Of each trial, the value of each objective by name.
        trials: The trials.
    """
    points = np.array([[goal.sign * value[goal.name] for goal in goals] for value in values])
    points = points.reshape(len(trials), len(goals))
    once = np.sort(np.unique(points, axis=0, return_index=True)[1]) if len(points) else np.zeros(0, np.int64)
    kept = once[nondominated(points[once])]
    ordered = kept[np.argsort(-points[kept, 0], kind="stable")]
    return [FrontTrial(trials[i].trial_id, values[i], trials[i].hyperparameters) for i in ordered]


def value_at(metrics: Any, name: str, step: int) -> float:
    """Returns the value of a metric in a step, or the latest value if the step has none; NaN if nothing was reported.

    Args:
        metrics: The metrics of a trial, of KerasTuner's MetricsTracker.
        name: Name of the metric.
        step: The epoch.
    """
    if not metrics.exists(name):
        return math.nan
    history = metrics.get_history(name)
    found = [observation for observation in history if observation.step == step] or history[-1:]
    return float(found[0].mean()) if found else math.nan


def warn_of_units(objectives: Sequence[Any], metrics: Any) -> bool:
    """Warns if KerasTuner's MultiObjective adds values of different size. Returns whether it did.

    Args:
        objectives: The objectives that KerasTuner adds up.
        metrics: The metrics of a completed trial.
    """
    sizes = {part.name: abs(metrics.get_last_value(part.name)) for part in objectives if metrics.exists(part.name)}
    smallest, largest = min(sizes, key=sizes.__getitem__, default=""), max(sizes, key=sizes.__getitem__, default="")
    if not sizes or sizes[largest] <= _DOUBTFUL * sizes[smallest]:
        return False
    warnings.warn(
        f"objective: KerasTuner's MultiObjective adds up {largest!r} (now {sizes[largest]:g}) and {smallest!r} (now "
        f"{sizes[smallest]:g}), so the larger one decides the search. Pass the list of objectives instead: then "
        "MultinomialOracle searches for the Pareto front and adds nothing up",
        stacklevel=2,
    )
    return True


def soft_target(accuracy: float, cost: float, target: float, exponent: float = -0.07) -> float:
    """Returns the objective of MnasNet (arXiv 1807.11626, equation 2): accuracy * (cost / target) ** exponent.

    With the exponent -0.07, an architecture of twice the cost is worth as much if its accuracy is 5 % higher.

    Args:
        accuracy: A finite number.
        cost: For example milliseconds, above 0.
        target: The wanted cost in the same unit, above 0.
        exponent: At most 0.

    Raises:
        ValueError: A value is not allowed.
    """
    for name, value in (("cost", cost), ("target", target)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: found {value!r}; expected a finite number above 0")
    if not (math.isfinite(exponent) and exponent <= 0):
        raise ValueError(f"exponent: found {exponent!r}; expected a finite number of at most 0")
    return accuracy * (cost / target) ** exponent


def objective_state(objective: Any) -> dict[str, Any]:
    """Returns an objective as JSON values; the order of several objectives does not matter."""
    state = {"name": objective.name, "direction": objective.direction}
    if hasattr(objective, "objectives"):
        parts: list[Any] = objective.objectives
        state["objectives"] = sorted(map(objective_state, parts), key=lambda part: part["name"])
    return state


def describe(objective: Mapping[str, Any]) -> str:
    """Returns a text such as "maximises 'val_accuracy'".

    If there are several objectives, KerasTuner minimises their signed sum.
    """
    if "beside" in objective:
        texts = [describe(part) for part in objective["beside"]]
        known = [" (known)" if part["known"] else "" for part in objective["beside"]]
        own = [describe({key: value for key, value in objective.items() if key != "beside"})]
        return ", ".join(own + [text + note for text, note in zip(texts, known, strict=True)])
    if "objectives" not in objective:
        return f"{'maximises' if objective['direction'] == 'max' else 'minimises'} {objective['name']!r}"
    parts = sorted(objective["objectives"], key=lambda part: part["direction"] == "max")
    signed = [f"{'minus' if part['direction'] == 'max' else 'plus'} {part['name']!r}" for part in parts]
    return f"minimises {' '.join(signed).removeprefix('plus ')}"
