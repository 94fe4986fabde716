"""Costs that add up over the choices of a search space: a fixed part, and a part for each choice and operation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from models.architectures.choices import Path


@dataclasses.dataclass(frozen=True)
class AdditiveCost:
    """What an architecture costs, as a sum.

    Attributes:
        name: What settings call the cost: "params", "macs", "file_mb" or "latency_ms".
        unit: The unit in words; "" for a plain number.
        fixed: The cost of everything that is not searched.
        parts: Choice name -> operation -> what the operation adds there, at least 0. An operation that is missing, as
            `none` may be, adds nothing.

    Raises:
        ValueError: A number is negative or not finite.
    """

    name: str
    unit: str
    fixed: float
    parts: Mapping[str, Mapping[str, float]]

    def __post_init__(self):
        numbers = [self.fixed, *(part for parts in self.parts.values() for part in parts.values())]
        wrong = [number for number in numbers if not math.isfinite(number) or number < 0]
        if wrong:
            raise ValueError(f"cost {self.name!r}: found {wrong[0]!r}; expected finite numbers of 0 or more")

    def of(self, path: Path) -> float:
        """Returns the cost of an architecture.

        Args:
            path: The operation of each choice.
        """
        # Exactly rounded, so that architectures with the same parts on other edges have the same cost to the last bit.
        total = math.fsum([self.fixed, *(parts.get(path[choice], 0) for choice, parts in self.parts.items())])
        return int(total) if isinstance(self.fixed, int) else total

    def document(self) -> dict[str, Any]:
        """Returns the cost as JSON values, for `from_document`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> AdditiveCost:
        """Returns the cost of a document from `document`.

        Raises:
            KeyError: The document lacks a key.
            ValueError: A number is negative or not finite.
        """
        parts = {choice: dict(parts) for choice, parts in document["parts"].items()}
        return cls(document["name"], document["unit"], document["fixed"], parts)
