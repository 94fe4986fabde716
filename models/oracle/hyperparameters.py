"""KerasTuner's hyperparameters as choices of the distribution."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

# Largest number of values of a hyperparameter.
MAX_OPERATIONS = 1024

START_ANEW = "start a new search: with another `project_name`, or with `overwrite=True`, which deletes the saved one"


def full_name(hyperparameter: Any) -> str:
    """Returns the quoted name of a hyperparameter with its conditions. Both together identify the hyperparameter."""
    conditions = _conditions(hyperparameter)
    return f"{hyperparameter.name!r} ({conditions})" if conditions else repr(hyperparameter.name)


def _conditions(hyperparameter: Any) -> str:
    return ", ".join(f"{condition.name} in {condition.values}" for condition in hyperparameter.conditions)


def same_values(first: Any, second: Any) -> bool:
    return set(_known_values(first)) == set(_known_values(second))


def _known_values(hyperparameter: Any) -> tuple[Any, ...]:
    try:
        return _operations(hyperparameter)
    except ValueError:  # not discrete
        return (repr(hyperparameter),)


def say_changed(saved: Any, now: Any) -> str:
    values = [f"[{', '.join(map(repr, _known_values(hp)))}]" for hp in (saved, now)]
    return (
        f"hyperparameter {full_name(saved)}: found the values {values[1]}; expected those of the saved search, "
        f"{values[0]}. Resume with the saved values, give the changed hyperparameter a new name, or {START_ANEW}"
    )


@dataclasses.dataclass(frozen=True)
class Choice:
    """A hyperparameter as a choice of the distribution. The name includes the conditions if names are repeated."""

    name: str
    hyperparameter: Any
    operations: tuple[Any, ...]


def choices_of(hyperparameters: Any) -> list[Choice]:
    tuned = [hp for hp in hyperparameters.space if type(hp).__name__ != "Fixed"]
    names = [hp.name for hp in tuned]
    choices = []
    for hp in tuned:
        name = hp.name
        if names.count(name) > 1:
            # KerasTuner distinguishes hyperparameters of the same name by their conditions.
            name = f"{name} ({_conditions(hp) or 'always'})"
        choices.append(Choice(name, hp, _operations(hp)))
    return choices


def _operations(hyperparameter: Any) -> tuple[Any, ...]:
    step = getattr(hyperparameter, "step", 1)
    if type(hyperparameter).__name__ == "Float" and step is None:
        raise ValueError(
            f"hyperparameter {hyperparameter.name!r}: found a continuous Float from {hyperparameter.min_value} to "
            f"{hyperparameter.max_value}; expected a discrete one. Give it a `step`, or list its values in a Choice"
        )
    if type(hyperparameter).__name__ == "Float":
        values = _float_values(hyperparameter)
    elif type(hyperparameter).__name__ == "Int":
        # Without a step (sampling "log") KerasTuner lists only ten of the integers.
        every = range(hyperparameter.min_value, hyperparameter.max_value + 1)
        values = every if step is None else (int(value) for value in hyperparameter.values)
    else:
        values = iter(hyperparameter.values)
    operations = tuple(dict.fromkeys(itertools.islice(values, MAX_OPERATIONS + 1)))
    if len(operations) > MAX_OPERATIONS:
        raise ValueError(
            f"hyperparameter {hyperparameter.name!r}: found more than {MAX_OPERATIONS:,} values; expected at most that "
            "number. Give it a larger `step`"
        )
    return operations


def _float_values(hyperparameter: Any) -> Iterator[float]:
    """Yields the values of a Float with a step: the values of KerasTuner, and `max_value` if KerasTuner loses it.

    KerasTuner computes the number of steps by a floor division, and 1 // 0.1 is 9.
    """
    count = 0
    for value in hyperparameter.values:
        yield value
        count += 1
    if hyperparameter.sampling == "linear":
        steps = (hyperparameter.max_value - hyperparameter.min_value) / hyperparameter.step
        # If a worker declared the hyperparameter, its bounds are 32-bit floats.
        if count == round(steps) and math.isclose(steps, count, rel_tol=1e-6):
            yield hyperparameter.max_value


def active(hyperparameter: Any, values: Mapping[str, Any]) -> bool:
    return all(condition.is_active(values) for condition in hyperparameter.conditions)
