"""What an update rule is. Each rule has a file of its own beside this one; registry.py names them all."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any, ClassVar, cast

import numpy as np

from ..record import Record


class Rule:
    """Base class of the update rules; a subclass is a dataclass whose fields are its options."""

    name: ClassVar[str]
    # Rounds in which every operation is sampled equally often before the distribution is used.
    warmup_rounds: ClassVar[int] = 0

    def update(self, record: Record) -> np.ndarray:
        """Returns the probabilities after the newest evaluation, float64 of shape (choices, operations).

        Args:
            record: all evaluations, the newest included; its `probabilities` are those before the newest.
        """
        raise NotImplementedError

    def sample(self, record: Record, generator: np.random.Generator) -> np.ndarray:
        """Returns a next architecture: the index of an operation per choice, int64 of shape (choices,)."""
        cumulative = np.cumsum(record.probabilities, axis=1)
        # Divided by its own last value, so that rounding can never reach past the last operation.
        draws = generator.random(len(cumulative))[:, np.newaxis]
        return (draws >= cumulative / cumulative[:, -1:]).sum(axis=1)

    def recommend(self, record: Record) -> np.ndarray:
        """Returns the architecture the rule thinks best, int64 of shape (choices,): the most probable operations."""
        return record.probabilities.argmax(axis=1)

    def options(self) -> dict[str, Any]:
        """Returns the rule's options, as `create_rule` takes them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(cast(Any, self)) if f.init}


def option(default: Any, meaning: str) -> Any:
    """Declares an option of a rule: a dataclass field with a default and a line of explanation."""
    return dataclasses.field(default=default, metadata={"meaning": meaning})


def check_one_of(rule: Rule, name: str, allowed: tuple[str | bool, ...]) -> None:
    """Raises a ValueError unless the option of a name has one of the allowed values."""
    value = getattr(rule, name)
    if value not in allowed:
        raise ValueError(
            f"{name} of the rule {rule.name!r}: found {value!r}, allowed are {', '.join(map(str, allowed))}"
        )


def check_positive(rule: Rule, *options: str) -> None:
    """Raises a ValueError unless the options are finite numbers above 0."""
    for name in options:
        value = getattr(rule, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
            raise ValueError(f"{name} of the rule {rule.name!r}: found {value!r}, must be a finite number above 0")


def check_whole(rule: Rule, *options: str) -> None:
    """Raises a ValueError unless the options are whole numbers above 0."""
    for name in options:
        value = getattr(rule, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name} of the rule {rule.name!r}: found {value!r}, must be a whole number above 0")


def check_floor(rule: Any) -> None:
    """Raises a ValueError unless the rule's option `floor` is from 0 to below 1."""
    if not 0 <= rule.floor < 1:
        raise ValueError(f"floor of the rule {rule.name!r}: found {rule.floor!r}, must be from 0 to below 1")
