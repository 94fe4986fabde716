"""Costs that are known without an evaluation, and objectives beside the score."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from .values import is_real, plain


class Costs:
    """A cost that adds up over the choices, for example multiply-adds: a function of an architecture.

    Args:
        table: Choice name -> operation -> cost, a finite number of at least 0. A choice without an entry costs nothing.
        fixed: Cost of what is in every architecture, a finite number.

    Raises:
        ValueError: A cost is not allowed.
    """

    def __init__(self, table: Mapping[str, Mapping[Any, float]], fixed: float = 0.0):
        self.table = {
            str(name): {plain(operation): plain(cost) for operation, cost in costs.items()}
            for name, costs in table.items()
        }
        self.fixed = plain(fixed)
        if not is_real(self.fixed):
            raise ValueError(f"fixed cost: found {fixed!r}; expected a finite number")
        for name, costs in self.table.items():
            for operation, cost in costs.items():
                if not is_real(cost) or cost < 0:
                    raise ValueError(
                        f"cost of the operation {operation!r} for the choice {name!r}: found {cost!r}; expected a "
                        "finite number, 0 or more"
                    )

    def __call__(self, architecture: Mapping[str, Hashable]) -> float:
        """Returns the cost of an architecture (name -> operation), rounded once; a choice that is left out is free.

        Raises:
            ValueError: An operation has no cost.
        """
        return math.fsum(
            [self.fixed, *(self._cost(name, architecture[name]) for name in self.table if name in architecture)]
        )

    def matrix(self, names: Sequence[str], operations: Sequence[Sequence[Hashable]]) -> np.ndarray:
        """Returns the cost of every operation of every choice, float64 (choices, operations), 0 where there is none.

        Raises:
            ValueError: The table has a choice that is not among the names, or an operation has no cost.
        """
        unknown = [name for name in self.table if name not in names]
        if unknown:
            raise ValueError(f"costs: found the choice {unknown[0]!r}; expected one of {', '.join(names)}")
        result = np.zeros((len(names), max(map(len, operations))))
        for row, (name, its) in enumerate(zip(names, operations, strict=True)):
            if name in self.table:
                result[row, : len(its)] = [self._cost(name, operation) for operation in its]
        return result

    def _cost(self, name: str, operation: Hashable) -> float:
        costs = self.table[name]
        if operation not in costs:
            raise ValueError(
                f"costs of the choice {name!r}: found none of the operation {operation!r}; there are costs of "
                f"{', '.join(map(repr, costs))}. Add the missing one"
            )
        return costs[operation]


@dataclasses.dataclass(frozen=True)
class Goal:
    """One more objective of a search, beside the score.

    Attributes:
        name: A name that no other objective has.
        direction: "max" or "min".
        known: Function of an architecture (choice name -> operation) that returns its exact value, a finite number, for
            example `Costs`. The value is then not modelled. None: the value is known only after an evaluation.
    """

    name: str
    direction: str
    known: Callable[[dict[str, Hashable]], float] | None = None

    def __post_init__(self):
        if self.direction not in ("max", "min"):
            raise ValueError(f"direction of {self.name!r}: found {self.direction!r}; expected 'max' or 'min'")

    @property
    def sign(self) -> float:
        """1 if larger values are better, otherwise -1."""
        return 1.0 if self.direction == "max" else -1.0

    def value(self, architecture: dict[str, Hashable]) -> float:
        """Returns the known value of an architecture.

        Raises:
            ValueError: The value is not a finite number.
        """
        assert self.known is not None
        value = plain(self.known(architecture))
        if not is_real(value):
            raise ValueError(f"known objective {self.name!r}: found {value!r}; expected a finite number")
        return float(value)
