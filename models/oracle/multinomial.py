"""The distribution over architectures: one categorical distribution per choice (arXiv 1905.07529, section 3).

`Multinomial` is a record of evaluations (record.py) with an update rule (rules/) and the sampling. The record contains
the number of evaluations of every operation, H_e, and the accuracies, H_a. The rule derives probabilities from the
record. This module needs only NumPy.

    multinomial = Multinomial([("block_0", ["conv", "skip"]), ("block_1", ["conv", "skip"])])
    for number in range(100):
        architecture = multinomial.sample(number)
        multinomial.observe(architecture, score=train_and_validate(architecture))
    multinomial.argmax(), multinomial.best()
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .budget import Budget
from .costs import Goal
from .record import BUDGET, SAMPLES, WARMUP, Architecture, Operation, Record
from .rules import registry
from .values import integer


class Evaluation(NamedTuple):
    """An architecture, its score as it was observed (not negated if `direction` is "min"), and its trial's name."""

    architecture: Architecture
    score: float
    trial: str


class Multinomial(Record):
    """A distribution over architectures that learns from scores.

    All randomness comes from the seed. A sample is a function of the seed, the number of the sample and the evaluations
    in their order. So a new `Multinomial` with the same evaluations is an exact copy, and no generator needs to be
    saved.

    Args:
        choices: Pairs of a unique name and the operations (any hashable values, at least one, all different).
        rule: Name of the update rule, a key of `RULES` in rules/registry.py ("paper" by default), or the dotted path of
            a custom rule.
        rule_options: Options of the rule in place of its defaults, for example {"alpha": 0.01}.
        warmup_rounds: Rounds in which every operation is sampled equally often, before samples follow the distribution.
            A round has as many samples as the largest choice has operations. In a smaller choice, one operation may be
            sampled once more than another. None (default): the default of the rule, which is 0 for the paper's rule.
        seed: Integer of at least 0.
        direction: "max" (default) if larger scores are better, as for accuracy; "min" if smaller scores are better, as
            for a loss.
        goals: Objectives beside the score. With goals, the search is for the Pareto front
            (rules/expected_hypervolume.py and rules/scalarised.py).
        budget: Limit of the cost of every sample and of the argmax; None (default) for no limit. A sample over the
            budget is drawn again from the distribution under the condition that it fits (budget.py).

    Attributes:
        rule: The update rule.
        warmup_rounds: int.
        direction: "max" or "min".

    Raises:
        ValueError: There are no choices, a choice has no operations, a name or an operation is repeated, the rule or an
            option is unknown, a value is not allowed, or no architecture fits the budget.
    """

    def __init__(
        self,
        choices: Iterable[tuple[str, Sequence[Operation]]],
        rule: str = "paper",
        rule_options: Mapping[str, Any] | None = None,
        warmup_rounds: int | None = None,
        seed: int = 0,
        direction: str = "max",
        goals: Sequence[Goal] = (),
        budget: Budget | None = None,
    ):
        super().__init__(choices, seed, goals, budget)
        if direction not in ("max", "min"):
            raise ValueError(f"direction: found {direction!r}; expected 'max' or 'min'")
        self.rule = registry.create_rule(rule, rule_options)
        if warmup_rounds is None:
            warmup_rounds = self.rule.warmup_rounds
        self.warmup_rounds = integer("warmup_rounds", warmup_rounds)
        self.direction = direction
        self._learner = registry.for_goals(self.rule) if goals else self.rule
        self._history: list[np.ndarray] = []

    def observe(
        self,
        architecture: Mapping[str, Operation],
        score: float,
        trial: str | None = None,
        further: Mapping[str, float] | None = None,
    ) -> None:
        """Updates the distribution with an evaluation.

        Args:
            architecture: Choice name -> operation; inactive choices are left out.
            score: A finite number. Larger is better, or with the direction "min" smaller is better.
            trial: Name of the evaluation in the history; the default is the number of the evaluation.
            further: Name of a goal -> a finite number in the direction of the goal. Every goal that is not known in
                advance is required.

        Raises:
            ValueError: A choice or an operation is unknown, or the score or the value of a goal is not finite.
        """
        indices = self.indices(architecture)
        if not math.isfinite(score):
            raise ValueError(f"score: found {score!r}; expected a finite number. Do not observe failed evaluations")
        accuracy = float(score) if self.direction == "max" else -float(score)
        values = [goal.sign * self._goal_value(goal, indices, further or {}) for goal in self.goals]
        self.add(indices, accuracy, str(len(self)) if trial is None else str(trial), values)
        self.probabilities = self._learner.update(self)
        self._history.append(self.probabilities)

    def _goal_value(self, goal: Goal, indices: np.ndarray, reported: Mapping[str, float]) -> float:
        if goal.known is not None:
            return goal.value(self.architecture(indices))
        if not math.isfinite(reported.get(goal.name, math.nan)):
            raise ValueError(
                f"value of the goal {goal.name!r}: found {reported.get(goal.name)!r}; expected a finite number"
            )
        return float(reported[goal.name])

    # Samples, and the best architectures. #

    def sample(self, number: int) -> Architecture:
        """Returns the next architecture to evaluate.

        Args:
            number: Number of earlier samples. The same number gives the same sample until the next `observe`.
        """
        warm = number < self.warmup_rounds * self.mask.shape[1]
        sample = self._warmup_sample(number) if warm else self._learner.sample(self, self.stream(SAMPLES, number))
        return self.architecture(self._fitting(sample, self.uniform() if warm else self.probabilities, number))

    def argmax(self) -> Architecture:
        """Returns the architecture that the rule recommends. For most rules it has the most probable operations.

        If that architecture is over the budget, the best evaluated one that fits takes its place.
        """
        best = self._learner.recommend(self)
        if self.within is None or self.within.fits(best[np.newaxis])[0]:
            return self.architecture(best)
        fitting = np.flatnonzero(self.within.fits(self.architectures))
        if len(fitting):
            return self.architecture(self.architectures[fitting[self.accuracies[fitting].argmax()]])
        return self.architecture(self._fitting(best, self.probabilities, len(self)))

    def best(self) -> Evaluation | None:
        """Returns the evaluation with the best score, the first if scores are equal; None without evaluations."""
        if not len(self):
            return None
        index = int(self.accuracies.argmax())
        return Evaluation(self.architecture(self.architectures[index]), self._score(index), self.trials[index])

    def predict(self, architectures: Sequence[Architecture]) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the scores that the rule's model expects, up to a constant; None if the rule has no such model.

        Args:
            architectures: Each a mapping of choice name to operation; inactive choices are left out.

        Returns:
            The posterior means, float64 (architectures,), not negated if `direction` is "min", and their covariances,
            float64 (architectures, architectures). Only differences of the means are known.

        Raises:
            ValueError: A choice or an operation is unknown.
        """
        found = self._learner.predict(self, np.stack([self.indices(architecture) for architecture in architectures]))
        if found is None or self.direction == "max":
            return found
        means, covariance = found
        return -means, covariance

    def effects(self) -> np.ndarray | None:
        """Returns what each operation adds to the score that the rule's model expects, if the model is a sum.

        Returns:
            float64 (choices, operations), larger is better, in any unit; None if the rule has no such model.
        """
        return self.rule.effects(self)

    def expected(self, architectures: np.ndarray) -> np.ndarray | None:
        """Returns the scores that the rule's model expects, if the model is no sum over the choices.

        Args:
            architectures: int64 (architectures, choices), indices of operations; -1 where a choice is not active.

        Returns:
            float64 (architectures,), larger is better; None if the rule has no such model.
        """
        return self.rule.expected(self, architectures)

    def left_out(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns for each evaluated architecture the value predicted from all other ones, and the observed value.

        The prediction comes from the rule's model. The agreement of predicted and observed values shows how well the
        model predicts.

        Returns:
            Two arrays, each float64 (architectures,): predicted and observed, in the rule's unit, larger is better.
            None if the rule has no such model.
        """
        return self._learner.left_out(self)

    def entropy(self) -> float:
        """Returns the entropy of the distribution over architectures in nats: the sum over the choices."""
        return _entropy(self.probabilities)

    def _fitting(self, sample: np.ndarray, probabilities: np.ndarray, number: int) -> np.ndarray:
        """Returns a sample if it fits the budget, and otherwise another one from the distribution of those that fit.

        If the sample comes from the probabilities, the result follows the conditional distribution exactly.
        """
        if self.within is None or self.within.fits(sample[np.newaxis])[0]:
            return sample
        return self.within.sample(probabilities, 1, self.stream(BUDGET, number))[0]

    def _warmup_sample(self, number: int) -> np.ndarray:
        sample = np.empty(len(self.names), np.int64)
        for row, operations in enumerate(self.operations):
            turn, position = divmod(number, len(operations))
            sample[row] = self.stream(WARMUP, row, turn).permutation(len(operations))[position]
        return sample

    # The document. #

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Multinomial:
        """Returns a distribution that is restored from the result of `document`. Its rule can predict and recommend.

        All evaluations are observed again, which takes as long as the updates of the search took.

        Raises:
            KeyError: The document lacks a key.
            ValueError: The document contains an impossible value.
        """
        rule = document["rule"]
        restored = cls(
            [(choice["name"], choice["operations"]) for choice in document["choices"]],
            rule["name"],
            rule["options"],
            rule["warmup_rounds"],
            rule["seed"],
            rule["direction"],
        )
        for evaluation in document["history"]:
            restored.observe(evaluation["architecture"], evaluation["score"], evaluation["trial"])
        return restored

    def document(self) -> dict[str, Any]:
        """Returns the distribution and its history as JSON values, for `Distribution.from_document` (distribution.py).

        Returns:
            A dict with these keys:

            - "rule": its name, options, warm-up rounds, seed and direction.
            - "choices": for each choice its name, operations, their probabilities, "epochs" (the number of evaluations
              of each operation) and "accuracies" (the latest score of each operation, or null).
            - "history": for each evaluation its trial, architecture and score, and the entropy (nats) and the
              probabilities after the evaluation.
            - "best": the architecture, score and trial of the best evaluation; null without evaluations.
            - "argmax": the architecture that the rule recommends.
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
                for index, (trial, probabilities) in enumerate(zip(self.trials, self._history, strict=True))
            ],
            "best": None if best is None else best._asdict(),
            "argmax": self.argmax(),
        }

    def _score(self, index: int) -> float:
        accuracy = float(self.accuracies[index])
        return accuracy if self.direction == "max" else -accuracy


def _entropy(probabilities: np.ndarray) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())
