"""The final distribution of a search, read from its document."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .record import Architecture, Operation


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The final distribution of a search.

    Attributes:
        operations: Choice name -> operations.
        probabilities: Choice name -> probabilities of the operations, in the same order.
        argmax: The architecture that the rule recommends.
        best: The evaluated architecture with the best score; None without evaluations.
        best_score: The score of `best` as it was observed (not negated if `direction` is "min").
        best_trial: The name of the trial that evaluated `best`.
        direction: "max" or "min".
        rule: Name of the update rule.
        history: A pair for each evaluation: the name of the trial, and the probabilities after the trial as one
            sequence per choice.
        evaluations: A pair for each evaluation, in their order: the architecture and its score.
        warmup: The number of evaluations at the start that sampled every operation equally often.
    """

    operations: Mapping[str, Sequence[Operation]]
    probabilities: Mapping[str, Sequence[float]]
    argmax: Architecture
    best: Architecture | None
    best_score: float | None
    best_trial: str | None
    direction: str
    rule: str
    history: Sequence[tuple[str, Sequence[Sequence[float]]]]
    evaluations: Sequence[tuple[Architecture, float]] = ()
    warmup: int = 0

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Distribution:
        """Returns the distribution of a document from `Multinomial.document`.

        Raises:
            ValueError: A key is missing, or the probabilities of a choice are not a distribution over its operations.
        """
        try:
            choices = {choice["name"]: choice for choice in document["choices"]}
            best = document["best"]
            widest = max(len(choice["operations"]) for choice in document["choices"])
            distribution = cls(
                operations={name: tuple(choice["operations"]) for name, choice in choices.items()},
                probabilities={name: tuple(choice["probabilities"]) for name, choice in choices.items()},
                argmax=dict(document["argmax"]),
                best=None if best is None else dict(best["architecture"]),
                best_score=None if best is None else best["score"],
                best_trial=None if best is None else best["trial"],
                direction=document["rule"]["direction"],
                rule=document["rule"]["name"],
                history=tuple((trial["trial"], trial["probabilities"]) for trial in document["history"]),
                evaluations=tuple((dict(trial["architecture"]), trial["score"]) for trial in document["history"]),
                warmup=document["rule"]["warmup_rounds"] * widest,
            )
        except KeyError as error:
            raise ValueError(
                f"distribution document: the key {error} is missing. Use a document from `Multinomial.document`"
            ) from error
        for name, probabilities in distribution.probabilities.items():
            if (
                len(probabilities) != len(distribution.operations[name])
                or min(probabilities) < 0
                or abs(sum(probabilities) - 1) > 1e-6
            ):
                raise ValueError(
                    f"distribution document: found the probabilities {list(probabilities)} of the choice {name!r}; "
                    f"expected a distribution over {list(distribution.operations[name])}"
                )
        return distribution

    @classmethod
    def load(cls, path: str | os.PathLike) -> Distribution:
        """Reads the JSON file of a document.

        Raises:
            ValueError: The file does not contain a valid document.
        """
        with open(path, encoding="utf-8") as file:
            return cls.from_document(json.load(file))
