"""The update rule `elite`: compares each new architecture with the best earlier architectures."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..record import Record
from .base import Rule, check_floor, check_positive, check_whole, option
from .simplex import normalize


@dataclasses.dataclass
class Elite(Rule):
    """Elite pairwise transfer: compares each new architecture with the best earlier architectures.

    In every choice where two architectures differ, `eta / m` of probability moves from the loser's operation to the
    winner's. m is the number of best architectures that differ from the new one.
    """

    eta: float = option(0.05, "Largest probability moved per choice and evaluation, above 0.")
    elites: int = option(10, "Number of best architectures with which a new one is compared, at least 1.")
    floor: float = option(
        0.1,
        "The lower limit of an operation's probability is this value divided by the number of operations; from 0 to "
        "below 1.",
    )

    name: ClassVar[str] = "elite"

    def __post_init__(self):
        check_positive(self, "eta")
        check_whole(self, "elites")
        check_floor(self)

    def update(self, record: Record) -> np.ndarray:
        architectures, accuracies = record.architectures, record.accuracies
        new, accuracy = architectures[-1], accuracies[-1]
        best = np.argsort(-accuracies[:-1], kind="stable")[: self.elites]
        differ = (architectures[best] != new) & (architectures[best] >= 0) & (new >= 0)
        p = record.probabilities.copy()
        amount = self.eta / max(differ.any(axis=1).sum(), 1)
        for elite, differs in zip(best, differ, strict=True):
            if accuracies[elite] == accuracy:
                continue
            choices = np.flatnonzero(differs)
            theirs, ours = architectures[elite][choices], new[choices]
            loser, winner = (ours, theirs) if accuracies[elite] > accuracy else (theirs, ours)
            moved = np.minimum(amount, p[choices, loser])
            p[choices, loser] -= moved
            p[choices, winner] += moved
        floor = self.floor / record.mask.sum(axis=1, keepdims=True)
        return normalize(np.where(record.mask, np.maximum(p, floor), 0.0))
