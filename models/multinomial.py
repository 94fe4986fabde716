"""The distribution over architectures: one categorical distribution per choice (arXiv 1905.07529, section 3).

`Multinomial` holds what the evaluations taught: how often every operation was trained (H_e), its accuracy (H_a), the
history, and the probabilities that an update rule (models/update_rules.py) derives from them. `Distribution` is what
a search leaves behind, read back from its document. NumPy only.

    multinomial = Multinomial([("block_0", ["conv", "skip"]), ("block_1", ["conv", "skip"])])
    for number in range(100):
        architecture = multinomial.sample(number)
        multinomial.observe(architecture, score=train_and_validate(architecture))
    multinomial.argmax(), multinomial.best()
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from models import update_rules

Operation = Hashable
Architecture = dict[str, Operation]

# Streams of random numbers that must not depend on each other.
_SAMPLES, _WARMUP, _RULE, _FINAL = range(4)


class Multinomial:
    """A distribution over architectures that learns from their scores.

    Nothing in it is random but in the seed: the sample of a number is a function of the seed, the number and the
    probabilities at that time, and the probabilities are a function of the evaluations in their order. So telling a
    new `Multinomial` the same evaluations restores it exactly, and there is no generator to save.

    Args:
        choices: pairs of a unique name and its operations (any hashable values, at least one, all different).
        rule: name of the update rule, see models/update_rules.py: "paper" (default), "pairwise", "elite",
            "main_effects", "interactions" or "reinforce".
        rule_options: options of the rule in place of its defaults, for example {"alpha": 0.01}.
        warmup_rounds: rounds in which every operation is sampled equally often before the distribution is used; a
            round is as many samples as the largest choice has operations. None (default): as many as the rule
            asks for, which is 0 for the paper's.
        seed: integer of at least 0.
        direction: "max" (default) where a larger score is better, as for accuracy; "min" as for a loss or an error.

    Attributes:
        names: tuple of the choices' names.
        operations: tuple of the choices' tuples of operations.
        mask: bool (choices, operations): which entries exist; the arrays are as wide as the largest choice.
        probabilities: float64 (choices, operations), every row sums to 1.
        epochs: int64 (choices, operations), H_e: how often an operation was sampled and evaluated.
        latest: float64 (choices, operations), H_a: its latest accuracy, NaN before the first.
        mean: float64 (choices, operations): the mean of its accuracies, NaN before the first.
        active: bool (choices,): which choices the newest architecture made.

    Raises:
        ValueError: no choices, a choice without operations, names or operations twice, an unknown rule or option.
    """

    def __init__(
        self,
        choices: Iterable[tuple[str, Sequence[Operation]]],
        rule: str = "paper",
        rule_options: Mapping[str, Any] | None = None,
        warmup_rounds: int | None = None,
        seed: int = 0,
        direction: str = "max",
    ):
        choices = [(str(name), tuple(operations)) for name, operations in choices]
        self.names = tuple(name for name, _ in choices)
        self.operations = tuple(operations for _, operations in choices)
        _check_choices(self.names, self.operations)
        if direction not in ("max", "min"):
            raise ValueError(f"direction: found {direction!r}, allowed are 'max' and 'min'")
        if seed != int(seed) or seed < 0:
            raise ValueError(f"seed: found {seed!r}, must be an integer of at least 0")
        self.rule = update_rules.create(rule, rule_options)
        if warmup_rounds is None:
            warmup_rounds = self.rule.warmup_rounds
        if warmup_rounds != int(warmup_rounds) or warmup_rounds < 0:
            raise ValueError(f"warmup_rounds: found {warmup_rounds!r}, must be an integer of at least 0")
        self.warmup_rounds = int(warmup_rounds)
        self.seed = int(seed)
        self.direction = direction

        self._index = [{op: i for i, op in enumerate(ops)} for ops in self.operations]
        sizes = np.array([len(operations) for operations in self.operations])
        self.mask = np.arange(sizes.max()) < sizes[:, np.newaxis]
        self.probabilities = self.uniform()
        self.epochs = np.zeros(self.mask.shape, np.int64)
        self.latest = np.full(self.mask.shape, np.nan)
        self._totals = np.zeros(self.mask.shape)
        self.active = np.zeros(len(sizes), bool)
        self._architectures = np.zeros((0, len(sizes)), np.int64)
        self._accuracies = np.zeros(0)
        self._trials: list[str] = []
        self._history: list[np.ndarray] = []

    # What was seen. #

    def __len__(self) -> int:
        """How many evaluations were observed."""
        return len(self._trials)

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
        with np.errstate(invalid="ignore"):
            return self._totals / self.epochs

    def observe(self, architecture: Mapping[str, Operation], score: float, trial: str | None = None) -> None:
        """Learns from an evaluation.

        Args:
            architecture: choice name -> operation; choices that were not active are left out.
            score: what was measured, a finite number in the direction of the distribution.
            trial: what the history calls the evaluation; its number by default.

        Raises:
            ValueError: an unknown choice or operation, or a score that is not finite.
        """
        indices = self.indices(architecture)
        if not math.isfinite(score):
            raise ValueError(f"score: found {score!r}, must be finite; failed evaluations are not to be observed")
        accuracy = float(score) if self.direction == "max" else -float(score)
        self._append(indices, accuracy, str(len(self)) if trial is None else str(trial))
        self.active = indices >= 0
        rows = np.flatnonzero(self.active)
        columns = indices[rows]
        self.epochs[rows, columns] += 1
        self.latest[rows, columns] = accuracy
        self._totals[rows, columns] += accuracy
        self.probabilities = self.rule.update(self)
        self._history.append(self.probabilities)

    def _append(self, indices: np.ndarray, accuracy: float, trial: str) -> None:
        count = len(self)
        if count == len(self._accuracies):
            room = max(64, 2 * count)
            self._architectures = np.resize(self._architectures, (room, len(self.names)))
            self._accuracies = np.resize(self._accuracies, room)
        self._architectures[count], self._accuracies[count] = indices, accuracy
        self._trials.append(trial)

    # What to evaluate next, and what is best. #

    def sample(self, number: int) -> Architecture:
        """The architecture to evaluate as the given one.

        Args:
            number: how many were sampled before. The same number gives the same sample as long as nothing is observed.
        """
        largest = self.mask.shape[1]
        if number < self.warmup_rounds * largest:
            return self.architecture(self._warmup_sample(number))
        return self.architecture(self.rule.sample(self, self._generator(_SAMPLES, number)))

    def argmax(self) -> Architecture:
        """The architecture that the rule thinks best: for most rules, the most probable operations."""
        return self.architecture(self.rule.recommend(self))

    def best(self) -> tuple[Architecture, float, str] | None:
        """The best architecture observed, its score and its trial; the first of equals; None before any."""
        if not len(self):
            return None
        index = int(self.accuracies.argmax())
        return self.architecture(self.architectures[index]), self._score(index), self._trials[index]

    def entropy(self) -> float:
        """Entropy of the distribution over architectures in nats: the sum over the choices."""
        return _entropy(self.probabilities)

    def _warmup_sample(self, number: int) -> np.ndarray:
        sample = np.empty(len(self.names), np.int64)
        for row, operations in enumerate(self.operations):
            turn, position = divmod(number, len(operations))
            sample[row] = self._generator(_WARMUP, row, turn).permutation(len(operations))[position]
        return sample

    def _generator(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])

    # For rules. #

    def generator(self) -> np.random.Generator:
        """Random numbers for the rule's update after the newest evaluation."""
        return self._generator(_RULE, len(self))

    def uniform(self) -> np.ndarray:
        """float64 (choices, operations): the uniform distribution."""
        return self.mask / self.mask.sum(axis=1, keepdims=True)

    def one_hot(self, architectures: np.ndarray) -> np.ndarray:
        """float64 (..., choices, operations) of indices (..., choices); zeros where a choice is not active."""
        return (architectures[..., np.newaxis] == np.arange(self.mask.shape[1])).astype(float)

    def sum_by_operation(self, architectures: np.ndarray, values: np.ndarray) -> np.ndarray:
        """float64 (choices, operations, columns): sums of the rows of values over the architectures with an operation.

        Args:
            architectures: int64 (evaluations, choices).
            values: float64 (evaluations, columns).
        """
        choices, width = self.mask.shape
        # One more slot a choice takes what is not active (-1 is its last).
        slots = np.where(architectures < 0, width, architectures) + np.arange(choices) * (width + 1)
        sums = [
            np.bincount(slots.ravel(), np.repeat(column, choices), minlength=choices * (width + 1))
            for column in values.T
        ]
        return np.stack(sums, axis=-1).reshape(choices, width + 1, -1)[:, :width]

    # Between names and indices. #

    def indices(self, architecture: Mapping[str, Operation]) -> np.ndarray:
        """int64 (choices,) of an architecture; -1 for the choices it leaves out.

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
        """The inverse of `indices`."""
        return {
            name: operations[index]
            for name, operations, index in zip(self.names, self.operations, indices, strict=True)
            if index >= 0
        }

    # What is left behind. #

    def document(self) -> dict[str, Any]:
        """The distribution with its whole history as JSON values; `Distribution.from_document` reads it.

        Keys: "rule" (name, options, warm-up rounds, seed, direction), "choices" (per choice name, operations,
        probabilities, epochs, accuracies: the latest score or null), "history" (per evaluation trial, architecture,
        score, entropy in nats and probabilities after it), "best" (architecture, score, trial; null before any
        evaluation), "argmax" (architecture).
        """
        sign = 1.0 if self.direction == "max" else -1.0
        best = self.best()
        return {
            "rule": {
                "name": self.rule.name,
                "options": self.rule.options(),
                "warmup_rounds": self.warmup_rounds,
                "seed": self.seed,
                "direction": self.direction,
            },
            "choices": [
                {
                    "name": name,
                    "operations": list(operations),
                    "probabilities": self.probabilities[row, : len(operations)].tolist(),
                    "epochs": self.epochs[row, : len(operations)].tolist(),
                    "accuracies": [
                        None if math.isnan(accuracy) else sign * accuracy
                        for accuracy in self.latest[row, : len(operations)].tolist()
                    ],
                }
                for row, (name, operations) in enumerate(zip(self.names, self.operations, strict=True))
            ],
            "history": [
                {
                    "trial": trial,
                    "architecture": self.architecture(self.architectures[index]),
                    "score": self._score(index),
                    "entropy": _entropy(probabilities),
                    "probabilities": [
                        row[: len(operations)].tolist()
                        for row, operations in zip(probabilities, self.operations, strict=True)
                    ],
                }
                for index, (trial, probabilities) in enumerate(zip(self._trials, self._history, strict=True))
            ],
            "best": None if best is None else dict(zip(("architecture", "score", "trial"), best, strict=True)),
            "argmax": self.argmax(),
        }

    def _score(self, index: int) -> float:
        accuracy = float(self.accuracies[index])
        return accuracy if self.direction == "max" else -accuracy


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The final distribution of a search, as its document says.

    Attributes:
        operations: choice name -> operations.
        probabilities: choice name -> their probabilities, in the same order.
        argmax: the architecture that the rule thinks best.
        best: the best architecture evaluated, None if there was none.
        best_score: its score, in the search's own direction.
        direction: "max" or "min".
    """

    operations: Mapping[str, Sequence[Operation]]
    probabilities: Mapping[str, Sequence[float]]
    argmax: Architecture
    best: Architecture | None
    best_score: float | None
    direction: str

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Distribution:
        """Reads what `Multinomial.document` wrote.

        Raises:
            ValueError: a key is missing, or a choice's probabilities are no distribution over its operations.
        """
        try:
            choices = {choice["name"]: choice for choice in document["choices"]}
            best = document["best"]
            distribution = cls(
                operations={name: tuple(choice["operations"]) for name, choice in choices.items()},
                probabilities={name: tuple(choice["probabilities"]) for name, choice in choices.items()},
                argmax=dict(document["argmax"]),
                best=None if best is None else dict(best["architecture"]),
                best_score=None if best is None else best["score"],
                direction=document["rule"]["direction"],
            )
        except KeyError as error:
            raise ValueError(f"distribution document: the key {error} is missing; write it with a search") from error
        for name, probabilities in distribution.probabilities.items():
            if (
                len(probabilities) != len(distribution.operations[name])
                or min(probabilities) < 0
                or abs(sum(probabilities) - 1) > 1e-6
            ):
                raise ValueError(
                    f"distribution document: the choice {name!r} has the probabilities {list(probabilities)}, which "
                    f"are no distribution over {list(distribution.operations[name])}"
                )
        return distribution

    @classmethod
    def load(cls, path: str | os.PathLike) -> Distribution:
        """Reads the JSON file of a document."""
        with open(path, encoding="utf-8") as file:
            return cls.from_document(json.load(file))

    def sample(self, count: int, seed: int) -> list[Architecture]:
        """Draws architectures, every choice by itself."""
        generator = np.random.default_rng([seed, _FINAL])
        result: list[Architecture] = []
        for _ in range(count):
            draw = {}
            for name, operations in self.operations.items():
                cumulative = np.cumsum(self.probabilities[name])
                draw[name] = operations[int((generator.random() >= cumulative / cumulative[-1]).sum())]
            result.append(draw)
        return result


def _entropy(probabilities: np.ndarray) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())


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
