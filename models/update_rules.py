"""Update rules: how the distribution over architectures moves after an evaluation.

A rule is told of every evaluation once, in the order of arrival, and answers with the new probabilities. It may
keep whatever it derives from the evaluations: it is never saved, since `Multinomial` restores a rule by telling it
everything again. Docs with formulas and measurements: docs/oracle.md. NumPy only.

`RULES` maps the names of the rules to their classes, `create` makes one from a name and options.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from models.interactions import Interactions
from models.rule import Rule, check_floor, check_one_of, check_positive, check_whole

if TYPE_CHECKING:
    from models.multinomial import Multinomial


def create(name: str, options: Mapping[str, Any] | None = None) -> Rule:
    """Makes the rule of a name, with options in place of its defaults.

    Raises:
        ValueError: there is no such rule, it has no such option, or the option's value is not allowed.
    """
    if name not in RULES:
        raise ValueError(f"oracle rule: found {name!r}, allowed are {', '.join(RULES)}{_hint(name, RULES)}")
    options = dict(options or {})
    allowed = [field.name for field in dataclasses.fields(RULES[name]) if field.init]
    for option in options:
        if option not in allowed:
            raise ValueError(
                f"rule_options of the rule {name!r}: found {option!r}, "
                f"allowed are {', '.join(allowed)}{_hint(option, allowed)}"
            )
    return RULES[name](**options)


def _hint(found: str, allowed) -> str:
    close = difflib.get_close_matches(str(found), list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _recorded(multinomial: Multinomial, accuracy: str) -> np.ndarray:
    """H_a, (choices, operations): -inf for what was never sampled, which wins nothing and is beaten by nobody."""
    recorded = multinomial.latest if accuracy == "latest" else multinomial.mean
    return np.where(multinomial.epochs > 0, recorded, -np.inf)


def _normalize(probabilities: np.ndarray) -> np.ndarray:
    # cumsum adds from left to right, like a plain loop, whatever the number of operations.
    return probabilities / np.cumsum(probabilities, axis=1)[:, -1:]


def _simplex(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The nearest point of the probability simplex, row by row (Euclidean distance; Held et al. 1974)."""
    descending = -np.sort(-np.where(mask, values, -np.inf), axis=1)
    excess = np.cumsum(np.where(np.isfinite(descending), descending, 0.0), axis=1) - 1.0
    threshold = excess / np.arange(1, values.shape[1] + 1)
    kept = (descending > threshold).sum(axis=1)
    return np.where(mask, np.maximum(values - threshold[np.arange(len(values)), kept - 1, np.newaxis], 0.0), 0.0)


def _softmax(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    logits = np.where(mask, logits, -np.inf)
    return _normalize(np.exp(logits - logits.max(axis=1, keepdims=True)))


@dataclasses.dataclass
class Paper(Rule):
    """The paper's rule (arXiv 1905.07529, the equation for p).

    An operation gains `alpha` for every other one that was trained more epochs and has less accuracy, and loses
    `alpha` for every other one that was trained fewer epochs and has more accuracy.

    Attributes:
        alpha: step, above 0; the paper's is 0.01.
        projection: what brings the probabilities back when some would fall below 0, which the paper leaves open:
            "clip" (at 0, then divide by the sum), "euclidean" (nearest point of the simplex) or "softmax" (of the
            sums of all steps).
        accuracy: "latest" (the paper's H_a) or "mean" of all accuracies of an operation.
    """

    alpha: float = 0.01
    projection: str = "clip"
    accuracy: str = "latest"

    name: ClassVar[str] = "paper"

    def __post_init__(self):
        check_positive(self, "alpha")
        check_one_of(self, "projection", ("clip", "euclidean", "softmax"))
        check_one_of(self, "accuracy", ("latest", "mean"))
        self._logits = 0.0

    def update(self, multinomial: Multinomial) -> np.ndarray:
        epochs, accuracy = multinomial.epochs, _recorded(multinomial, self.accuracy)
        both = multinomial.mask[:, :, np.newaxis] & multinomial.mask[:, np.newaxis, :]
        fewer = epochs[:, :, np.newaxis] < epochs[:, np.newaxis, :]
        better = accuracy[:, :, np.newaxis] > accuracy[:, np.newaxis, :]
        wins = fewer & better & both
        # j loses to i exactly where i wins over j.
        step = self.alpha * (wins.sum(axis=2) - wins.sum(axis=1))
        step[~multinomial.active] = 0.0
        if self.projection == "softmax":
            self._logits = self._logits + step
            return _softmax(self._logits, multinomial.mask)
        moved = multinomial.probabilities + step
        if self.projection == "euclidean":
            return _simplex(moved, multinomial.mask)
        return _normalize(np.maximum(moved, 0.0))


@dataclasses.dataclass
class Pairwise(Rule):
    """Pairwise transfer, as in the authors' later code (XNAS).

    Pair after pair of operations, `alpha` of probability (or what is left) goes from an operation trained no fewer
    epochs with less accuracy to the other one.

    Attributes:
        alpha: probability moved per pair, above 0.
        accuracy: "latest" or "mean" of all accuracies of an operation.
    """

    alpha: float = 0.01
    accuracy: str = "latest"

    name: ClassVar[str] = "pairwise"

    def __post_init__(self):
        check_positive(self, "alpha")
        check_one_of(self, "accuracy", ("latest", "mean"))

    def update(self, multinomial: Multinomial) -> np.ndarray:
        epochs, accuracy = multinomial.epochs, _recorded(multinomial, self.accuracy)
        p = multinomial.probabilities.copy()
        for i in range(p.shape[1]):
            for j in range(i + 1, p.shape[1]):
                exists = multinomial.active & multinomial.mask[:, j]
                down = exists & (epochs[:, i] >= epochs[:, j]) & (accuracy[:, i] < accuracy[:, j])
                up = exists & (epochs[:, i] <= epochs[:, j]) & (accuracy[:, i] > accuracy[:, j])
                self._transfer(p, down, i, j)
                self._transfer(p, up, j, i)
        return p

    def _transfer(self, p: np.ndarray, where: np.ndarray, loser: int, winner: int) -> None:
        left = p[:, loser]
        whole = left > self.alpha
        p[:, winner] += np.where(where, np.where(whole, self.alpha, left), 0.0)
        p[:, loser] = np.where(where, np.where(whole, left - self.alpha, 0.0), left)


@dataclasses.dataclass
class Elite(Rule):
    """Elite pairwise transfer: each new architecture is compared with the best ones so far.

    On every choice where the two differ, `eta / m` of probability goes from the loser's operation to the winner's,
    m being how many of the best are different architectures.

    Attributes:
        eta: probability moved per choice at most, above 0.
        elites: how many of the best architectures are compared with.
        floor: no probability falls below `floor` / operations, from 0 to below 1.
    """

    eta: float = 0.05
    elites: int = 10
    floor: float = 0.1

    name: ClassVar[str] = "elite"

    def __post_init__(self):
        check_positive(self, "eta")
        check_whole(self, "elites")
        check_floor(self)

    def update(self, multinomial: Multinomial) -> np.ndarray:
        architectures, accuracies = multinomial.architectures, multinomial.accuracies
        new, accuracy = architectures[-1], accuracies[-1]
        best = np.argsort(-accuracies[:-1], kind="stable")[: self.elites]
        differ = (architectures[best] != new) & (architectures[best] >= 0) & (new >= 0)
        p = multinomial.probabilities.copy()
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
        floor = self.floor / multinomial.mask.sum(axis=1, keepdims=True)
        return _normalize(np.where(multinomial.mask, np.maximum(p, floor), 0.0))


@dataclasses.dataclass
class Reinforce(Rule):
    """REINFORCE on a softmax per choice (Williams 1992): the classic baseline.

    Attributes:
        learning_rate: step on the logits, above 0. The advantage is the accuracy, standardised over all evaluations.
    """

    learning_rate: float = 0.2

    name: ClassVar[str] = "reinforce"

    def __post_init__(self):
        check_positive(self, "learning_rate")
        self._logits = 0.0

    def update(self, multinomial: Multinomial) -> np.ndarray:
        accuracies = multinomial.accuracies
        deviation = accuracies.std()
        advantage = (accuracies[-1] - accuracies.mean()) / deviation if deviation > 0 else 0.0
        gradient = multinomial.one_hot(multinomial.architectures[-1:])[0] - multinomial.probabilities
        gradient[~multinomial.active] = 0.0
        self._logits = self._logits + self.learning_rate * advantage * gradient
        return _softmax(self._logits, multinomial.mask)


@dataclasses.dataclass
class MainEffects(Rule):
    """Bayesian main effects: ridge regression of rank utilities on the operations.

    The probability of an operation is the posterior probability that it is the best of its choice.

    Attributes:
        ridge: precision of the prior of an operation's effect, in units of the noise's.
        ridge_epochs: the same for the two columns that say how trained the operations were.
        draws: posterior draws behind the probabilities.
        floor: share of the uniform distribution that is mixed in.
    """

    ridge: float = 3.0
    ridge_epochs: float = 0.1
    draws: int = 32
    floor: float = 0.05

    name: ClassVar[str] = "main_effects"
    warmup_rounds: ClassVar[int] = 4

    def __post_init__(self):
        check_positive(self, "ridge", "ridge_epochs")
        check_whole(self, "draws")
        check_floor(self)
        self._columns: list[np.ndarray] = []
        self._inverse: np.ndarray | None = None
        self._mean: np.ndarray | None = None

    def update(self, multinomial: Multinomial) -> np.ndarray:
        choices, width = multinomial.mask.shape
        self._remember(multinomial)
        architectures = multinomial.architectures
        trained = np.asarray(self._columns)
        trained = trained - trained.mean(axis=0)
        trained /= np.maximum(trained.std(axis=0), 1e-12)
        utility = _rank_utility(multinomial.accuracies)

        operations = multinomial.sum_by_operation(architectures, np.column_stack([utility, trained]))
        operations = operations.reshape(choices * width, 3)
        target, mixed = operations[:, 0], operations[:, 1:]
        # The precision has two more rows, those of the two columns, and they change with every evaluation: by blocks.
        projected = self._inverse @ mixed
        block = np.linalg.inv(trained.T @ trained + self.ridge_epochs * np.eye(2) - mixed.T @ projected)
        by_columns = utility @ trained
        slopes = block @ (by_columns - projected.T @ target)
        effects = self._inverse @ target - projected @ slopes
        residual = utility @ utility - effects @ target - slopes @ by_columns
        noise = max(residual / len(utility), 0.0)
        variance = self._inverse.diagonal() + ((projected @ block) * projected).sum(axis=1)
        deviation = np.sqrt(noise * variance).reshape(choices, width)
        self._mean = np.where(multinomial.mask, effects.reshape(choices, width), -np.inf)

        normal = multinomial.generator().standard_normal((self.draws, choices, width))
        best = (self._mean + deviation * normal).argmax(axis=2)
        frequency = multinomial.one_hot(best).mean(axis=0)
        return (1 - self.floor) * frequency + self.floor * multinomial.uniform()

    def recommend(self, multinomial: Multinomial) -> np.ndarray:
        if self._mean is None:
            return super().recommend(multinomial)
        # Of an operation that was never evaluated (all its trials failed, say) the mean is only the prior's.
        return np.where(multinomial.epochs > 0, self._mean, -np.inf).argmax(axis=1)

    def _remember(self, multinomial: Multinomial) -> None:
        """Adds the newest architecture to what is not computed anew.

        That is how trained its operations were, and the inverse of the precision of the operations' effects, which an
        evaluation changes by a matrix of rank one (Sherman and Morrison 1950).
        """
        new = multinomial.architectures[-1]
        choices, width = multinomial.mask.shape
        active = np.flatnonzero(new >= 0)
        if self._inverse is None:
            self._inverse = np.eye(choices * width) / self.ridge
        columns = active * width + new[active]
        moved = self._inverse[:, columns].sum(axis=1)
        self._inverse -= np.outer(moved, moved / (1 + moved[columns].sum()))
        before = multinomial.epochs[active, new[active]] - 1.0
        count = max(len(active), 1)
        self._columns.append(np.array([np.log1p(before).sum(), (1 / (1 + before)).sum()]) / count)


def _rank_utility(accuracies: np.ndarray) -> np.ndarray:
    """-log((rank + 0.5) / t), centred; rank 0 is the best, equal accuracies share their mean rank."""
    _, inverse, counts = np.unique(-accuracies, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    utility = -np.log((rank + 0.5) / len(accuracies))
    return utility - utility.mean()


RULES: dict[str, type[Rule]] = {
    rule.name: rule for rule in (Paper, Pairwise, Elite, MainEffects, Interactions, Reinforce)
}
