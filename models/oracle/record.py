"""The choices and their evaluations: the only data that update rules see."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np

from .budget import Budget, BudgetedSpace
from .costs import Goal
from .values import integer, plain

Operation = Hashable
Architecture = dict[str, Operation]

# Numbers of the independent random streams. Do not change them, because a seed would then give other results. The
# number 3 is not used.
SAMPLES, WARMUP, RULE, REPAIR, BUDGET = 0, 1, 2, 4, 5


class Record:
    """The evaluations of a search in their order, as arrays over choices and operations.

    Args:
        choices: Pairs of a unique name and the operations (any hashable values, at least one, all different). NumPy
            numbers become Python numbers.
        seed: Integer of at least 0.
        goals: The objectives beside the score.
        budget: A limit of the cost of every sample; None (default) for no limit.

    Attributes:
        names: Tuple of the names of the choices.
        operations: Tuple with the tuple of operations of each choice.
        mask: bool (choices, operations): which entries exist; the arrays are as wide as the largest choice.
        probabilities: float64 (choices, operations), the distribution; every row sums to 1.
        epochs: int64 (choices, operations), H_e: the number of evaluations of each operation.
        latest: float64 (choices, operations), H_a: the latest accuracy of each operation, NaN without an evaluation.
        active: bool (choices,): which choices are active in the newest architecture.
        trials: List of the names of the evaluations.
        goals: Tuple of the objectives beside the score.
        within: The architectures that fit the budget; None without a budget.

    Raises:
        ValueError: There are no choices, a choice has no operations, a name or an operation is repeated, the seed is
            not an integer of at least 0, or no architecture fits the budget.
    """

    def __init__(
        self,
        choices: Iterable[tuple[str, Sequence[Operation]]],
        seed: int = 0,
        goals: Sequence[Goal] = (),
        budget: Budget | None = None,
    ):
        choices = [(str(name), tuple(map(plain, operations))) for name, operations in choices]
        self.names = tuple(name for name, _ in choices)
        self.operations = tuple(operations for _, operations in choices)
        _check_choices(self.names, self.operations)
        self.seed = integer("seed", seed)
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
        self.goals = tuple(goals)
        self.within = None if budget is None else BudgetedSpace(budget, self.names, self.operations)
        self._further: list[list[float]] = []

    def __len__(self) -> int:
        """Returns the number of evaluations."""
        return len(self.trials)

    @property
    def architectures(self) -> np.ndarray:
        """int64 (evaluations, choices): the indices of the operations, -1 where a choice was not active."""
        return self._architectures[: len(self)]

    @property
    def accuracies(self) -> np.ndarray:
        """float64 (evaluations,): the scores, negated for the direction "min"."""
        return self._accuracies[: len(self)]

    @property
    def objectives(self) -> np.ndarray:
        """float64 (evaluations, objectives): the accuracy and then the goals, all negated for the direction "min"."""
        return np.column_stack([self.accuracies, np.array(self._further).reshape(len(self), len(self.goals))])

    @property
    def mean(self) -> np.ndarray:
        """float64 (choices, operations): the mean accuracy of each operation, NaN without an evaluation."""
        with np.errstate(invalid="ignore"):
            return self._totals / self.epochs

    def add(self, indices: np.ndarray, accuracy: float, trial: str, further: Sequence[float] = ()) -> None:
        """Records an evaluation.

        Args:
            indices: int64 (choices,), -1 where a choice was not active.
            accuracy: The score, negated for the direction "min".
            trial: Name of the evaluation in the history.
            further: The values of the goals, negated for the direction "min".
        """
        count = len(self)
        if count == len(self._accuracies):
            room = max(64, 2 * count)
            self._architectures = np.resize(self._architectures, (room, len(self.names)))
            self._accuracies = np.resize(self._accuracies, room)
        self._architectures[count], self._accuracies[count] = indices, accuracy
        self.trials.append(trial)
        self._further.append(list(further))
        self.active = indices >= 0
        rows = np.flatnonzero(self.active)
        columns = indices[rows]
        self.epochs[rows, columns] += 1
        self.latest[rows, columns] = accuracy
        self._totals[rows, columns] += accuracy

    def of_goal(self, position: int) -> Record:
        """Returns the same evaluations with a goal as their accuracy, for a model that needs only the accuracies.

        The statistics per operation (`latest`, `mean`) remain those of the score.

        Args:
            position: Position in `goals`.
        """
        view = copy.copy(self)
        view._accuracies = np.array(self._further)[:, position]
        return view

    # Randomness, and arrays of a common shape. #

    def stream(self, *numbers: int) -> np.random.Generator:
        """Returns a generator that depends only on the seed and the numbers; the first number selects the stream."""
        return np.random.default_rng([self.seed, *numbers])

    def generator(self) -> np.random.Generator:
        """Returns the generator for the rule's update after the newest evaluation."""
        return self.stream(RULE, len(self))

    def uniform(self) -> np.ndarray:
        """Returns the uniform distribution, float64 (choices, operations)."""
        return self.mask / self.mask.sum(axis=1, keepdims=True)

    def one_hot(self, architectures: np.ndarray) -> np.ndarray:
        """Returns float64 (..., choices, operations) for indices (..., choices); inactive choices have zeros."""
        return (architectures[..., np.newaxis] == np.arange(self.mask.shape[1])).astype(float)

    def sum_by_operation(self, architectures: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Returns for each operation the sum of the values of the architectures that contain it.

        Args:
            architectures: int64 (evaluations, choices), -1 where a choice was not active.
            values: float64 (evaluations, columns).

        Returns:
            float64 (choices, operations, columns).
        """
        choices, width = self.mask.shape
        # Each choice has one more slot at its end, for the evaluations in which the choice was not active.
        slots = np.where(architectures < 0, width, architectures) + np.arange(choices) * (width + 1)
        sums = [
            np.bincount(slots.ravel(), np.repeat(column, choices), minlength=choices * (width + 1))
            for column in values.T
        ]
        return np.stack(sums, axis=-1).reshape(choices, width + 1, -1)[:, :width]

    def random(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Returns uniformly random architectures that fit the budget, int64 (count, choices)."""
        if self.within is not None:
            return self.within.sample(self.uniform(), count, generator)
        return generator.integers(self.mask.sum(axis=1), size=(count, len(self.mask)))

    # Between names and indices. #

    def indices(self, architecture: Mapping[str, Operation]) -> np.ndarray:
        """Returns the indices of an architecture, int64 (choices,), -1 for missing choices.

        Raises:
            ValueError: A choice or an operation is unknown.
        """
        unknown = [name for name in architecture if name not in self.names]
        if unknown:
            raise ValueError(f"architecture: found the choice {unknown[0]!r}; expected one of {', '.join(self.names)}")
        result = np.full(len(self.names), -1, np.int64)
        for row, name in enumerate(self.names):
            if name in architecture:
                operation = architecture[name]
                if operation not in self._index[row]:
                    raise ValueError(
                        f"architecture: found the operation {operation!r} for the choice {name!r}; "
                        f"expected one of {', '.join(map(repr, self.operations[row]))}"
                    )
                result[row] = self._index[row][operation]
        return result

    def architecture(self, indices: np.ndarray) -> Architecture:
        """Returns the architecture of indices, int64 (choices,); choices with -1 are left out."""
        return {
            name: operations[index]
            for name, operations, index in zip(self.names, self.operations, indices, strict=True)
            if index >= 0
        }


def _check_choices(names: Sequence[str], operations: Sequence[Sequence[Operation]]) -> None:
    if not names:
        raise ValueError("choices: found none; expected at least one")
    for name, ops in zip(names, operations, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"choices: found the name {name!r} twice; expected different names")
        if not ops:
            raise ValueError(f"choices: found no operations of {name!r}; expected at least one")
        if len(set(ops)) != len(ops):
            raise ValueError(
                f"choices: found an operation of {name!r} twice, {list(ops)}; expected different operations"
            )
