"""The choices of a search space, and a sampled architecture: one operation for each choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Path = Mapping[str, str]
"""A sampled architecture: the operation of each choice."""


@dataclass(frozen=True)
class Choice:
    """A choice between operations: an edge of a cell, a block of a chain.

    Args:
        name: unique in its space.
        operations: the candidates' names.
    """

    name: str
    operations: tuple[str, ...]


def require_probabilities(choice: Choice, probabilities: Mapping[str, Sequence[float]]) -> None:
    """Raises a ValueError unless there is a probability for each operation of a choice."""
    found = probabilities.get(choice.name)
    if found is None or len(found) != len(choice.operations):
        raise ValueError(
            f"probabilities of {choice.name}: found {found}; expected {len(choice.operations)}, "
            f"one for each of {', '.join(choice.operations)}"
        )
