"""The choices, and what was evaluated. Update rules know no more than this."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np

Operation = Hashable
Architecture = dict[str, Operation]

# Streams of random numbers that must not depend on each other.
SAMPLES, WARMUP, RULE, FINAL = range(4)


class Record:
    """The evaluations of a search, in their order, as arrays over choices and operations.

    Args:
        choices: pairs of a unique name and its operations (any hashable values, at least one, all different).
        seed: integer of at least 0.

    Attributes:
        names: tuple of the choices' names.
        operations: tuple of the choices' tuples of operations.
        mask: bool (choices, operations): which entries exist; the arrays are as wide as the largest choice.
        probabilities: float64 (choices, operations), every row sums to 1: the distribution.
        epochs: int64 (choices, operations), H_e: how often an operation was sampled and evaluated.
        latest: float64 (choices, operations), H_a: its latest accuracy, NaN before the first.
        active: bool (choices,): which choices the newest architecture made.
        trials: list of the evaluations' names.

    Raises:
        ValueError: no choices, a choice without operations, names or operations twice, a seed that is not as said.
    """

    def __init__(self, choices: Iterable[tuple[str, Sequence[Operation]]], seed: int = 0):
        choices = [(str(name), tuple(operations)) for name, operations in choices]
        self.names = tuple(name for name, _ in choices)
        self.operations = tuple(operations for _, operations in choices)
        _check_choices(self.names, self.operations)
        if isinstance(seed, bool) or seed != int(seed) or seed < 0:
            raise ValueError(f"seed: found {seed!r}, must be an integer of at least 0")
        self.seed = int(seed)
        self._index = [{op: i for i, op in enumerate(ops)} for ops in self.operations]
        sizes = np.array([len(operations) for operations in self.operations])
        self.mask = np.arange(sizes.max()) < sizes[:, np.newaxis]
        self.probabilities = self.uniform()
        self.epochs = np.zeros(self.mask.shape, np.int64)
        self.latest = np.full(self.mask.shape, np.nan)
        self.active = np.zeros(len(sizes), bool)
        self.trials: list[str] = []
        self._totals = np.zeros(self.mask.shape)
        self._architectures = np.zeros((0, len(sizes)), np.int64)
        self._accuracies = np.zeros(0)

    def __len__(self) -> int:
        """How many evaluations were observed."""
        return len(self.trials)

    @property
    def architectures(self) -> np.ndarray:
        """int64 (evaluations, choices): the indices of the operations, -1 where a choice was not active."""
        return self._architectures[: len(self)]

    @property
    def accuracies(self) -> np.ndarray:
        """float64 (evaluations,): the scores, negated where less is better."""
        return self._accuracies[: len(self)]

    @property
    def mean(self) -> np.ndarray:
        """float64 (choices, operations): the mean of an operation's accuracies, NaN before the first."""
        with np.errstate(invalid="ignore"):
            return self._totals / self.epochs

    def add(self, indices: np.ndarray, accuracy: float, trial: str) -> None:
        """Records an evaluation.

        Args:
            indices: int64 (choices,), -1 where a choice was not active.
            accuracy: the score, negated where less is better.
            trial: what the history calls the evaluation.
        """
        count = len(self)
        if count == len(self._accuracies):
            room = max(64, 2 * count)
            self._architectures = np.resize(self._architectures, (room, len(self.names)))
            self._accuracies = np.resize(self._accuracies, room)
        self._architectures[count], self._accuracies[count] = indices, accuracy
        self.trials.append(trial)
        self.active = indices >= 0
        rows = np.flatnonzero(self.active)
        columns = indices[rows]
        self.epochs[rows, columns] += 1
        self.latest[rows, columns] = accuracy
        self._totals[rows, columns] += accuracy

    # Randomness, and arrays of a common shape. #

    def stream(self, *numbers: int) -> np.random.Generator:
        """Returns random numbers that depend on the seed and the given numbers alone; the first names their use."""
        return np.random.default_rng([self.seed, *numbers])

    def generator(self) -> np.random.Generator:
        """Returns random numbers for the rule's update after the newest evaluation."""
        return self.stream(RULE, len(self))

    def uniform(self) -> np.ndarray:
        """Returns float64 (choices, operations): the uniform distribution."""
        return self.mask / self.mask.sum(axis=1, keepdims=True)

    def one_hot(self, architectures: np.ndarray) -> np.ndarray:
        """Returns float64 (..., choices, operations) of indices (..., choices); zeros where a choice is not active."""
        return (architectures[..., np.newaxis] == np.arange(self.mask.shape[1])).astype(float)

    def sum_by_operation(self, architectures: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Returns sums of values over the architectures with an operation, float64 (choices, operations, columns).

        Args:
            architectures: int64 (evaluations, choices).
            values: float64 (evaluations, columns).
        """
        choices, width = self.mask.shape
        # Each choice has one more slot for inactive entries (-1 is its last).
        slots = np.where(architectures < 0, width, architectures) + np.arange(choices) * (width + 1)
        sums = [
            np.bincount(slots.ravel(), np.repeat(column, choices), minlength=choices * (width + 1))
            for column in values.T
        ]
        return np.stack(sums, axis=-1).reshape(choices, width + 1, -1)[:, :width]

    # Between names and indices. #

    def indices(self, architecture: Mapping[str, Operation]) -> np.ndarray:
        """Returns int64 (choices,) of an architecture; -1 for the choices it leaves out.

        Raises:
            ValueError: an unknown choice or operation.
        """
        unknown = [name for name in architecture if name not in self.names]
        if unknown:
            raise ValueError(f"architecture: found the choice {unknown[0]!r}, allowed are {', '.join(self.names)}")
        result = np.full(len(self.names), -1, np.int64)
        for row, name in enumerate(self.names):
            if name in architecture:
                operation = architecture[name]
                if operation not in self._index[row]:
                    raise ValueError(
                        f"architecture: found the operation {operation!r} for the choice {name!r}, "
                        f"allowed are {', '.join(map(repr, self.operations[row]))}"
                    )
                result[row] = self._index[row][operation]
        return result

    def architecture(self, indices: np.ndarray) -> Architecture:
        """Returns the inverse of `indices`."""
        return {
            name: operations[index]
            for name, operations, index in zip(self.names, self.operations, indices, strict=True)
            if index >= 0
        }


def _check_choices(names: Sequence[str], operations: Sequence[Sequence[Operation]]) -> None:
    if not names:
        raise ValueError("choices: found none, there must be at least one")
    for name, ops in zip(names, operations, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"choices: the name {name!r} stands there twice, names must be unique")
        if not ops:
            raise ValueError(f"choices: {name!r} has no operations, there must be at least one")
        if len(set(ops)) != len(ops):
            raise ValueError(f"choices: {name!r} has an operation twice: {list(ops)}")
