"""Did a search pay? The recommended architecture, compared with random ones: as evaluated, and as the rule predicts."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

import numpy as np
from scipy import stats

from models.oracle.distribution import Distribution
from models.oracle.multinomial import Multinomial
from models.search_spaces.base import SearchSpace, random_path

_RANDOM = 500  # random architectures of a prediction
_DRAWS = 1000  # samples from the posterior, from which the intervals come
_CHANCE = 0.05  # from this probability on a correlation may be chance
_INTERVAL = (0.025, 0.5, 0.975)  # quantiles


@dataclasses.dataclass(frozen=True)
class Payoff:
    """The scores of the recommended architecture and of random ones.

    Attributes:
        recommended: The mean score of the recommended architecture; None if it was never evaluated.
        evaluations: How often it was evaluated.
        random: The mean score of the random architectures.
        count: The number of random architectures.
        better: The number of random architectures whose score is below `recommended`; None if that is None.
    """

    recommended: float | None
    evaluations: int
    random: float
    count: int
    better: int | None


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The recommended architecture among random ones, as the rule's model predicts. Triples are the quantiles 2.5 %,
    50 % and 97.5 % of the posterior.

    Attributes:
        rank: The share of random architectures that are worse, 0 to 1.
        gain: The score of the recommended architecture minus the mean score of the random ones.
        count: The number of random architectures.
        correlation: Spearman's correlation of the evaluated architectures' scores with the scores that the model
            predicts from the evaluations of all other architectures.
        chance: The probability of such a correlation or a larger one if the scores did not depend on the architectures.
    """

    rank: tuple[float, float, float]
    gain: tuple[float, float, float]
    count: int
    correlation: float
    chance: float

    @classmethod
    def from_document(cls, document: dict[str, Any] | None) -> Prediction | None:
        """Returns the prediction of the JSON document that `dataclasses.asdict` gave; None for null."""
        if document is None:
            return None
        rank, gain = (_triple(document[name]) for name in ("rank", "gain"))
        return cls(rank, gain, document["count"], document["correlation"], document["chance"])


def payoff(distribution: Distribution) -> Payoff | None:
    """Returns the comparison; None if the search evaluated no random architectures.

    The random architectures are those of the warm-up, which samples every operation equally often. Scores have to be
    comparable throughout the search, as spectral scores are; accuracies on shared weights rise with the training.

    Args:
        distribution: What a search learned.
    """
    warmup = [score for _, score in distribution.evaluations[: distribution.warmup]]
    if not warmup:
        return None
    own = [score for architecture, score in distribution.evaluations if architecture == distribution.argmax]
    mean = statistics.fmean(own) if own else None
    better = None if mean is None else sum(score < mean for score in warmup)
    return Payoff(mean, len(own), statistics.fmean(warmup), len(warmup), better)


def predict(multinomial: Multinomial, space: SearchSpace, seed: int) -> Prediction | None:
    """Returns the predicted rank of the recommended architecture; None if the rule has no model of architectures.

    Args:
        multinomial: What a search learned.
        space: The space that was searched.
        seed: Of the random architectures and of the samples from the posterior.
    """
    generator = np.random.default_rng(seed)
    drawn = [random_path(space, generator) for _ in range(_RANDOM)]
    found = multinomial.predict([multinomial.argmax(), *drawn])
    left_out = multinomial.left_out()
    if found is None or left_out is None:
        return None
    correlation, chance = _correlation(*left_out)
    means, covariance = found
    sign = 1 if multinomial.direction == "max" else -1
    # Rounding can leave an eigenvalue slightly below 0, which is no error here.
    scores = generator.multivariate_normal(means, covariance, _DRAWS, check_valid="ignore", method="eigh")
    gains = scores[:, :1] - scores[:, 1:]
    ranks = (sign * gains > 0).mean(axis=1)
    return Prediction(
        rank=_triple(np.quantile(ranks, _INTERVAL)),
        gain=_triple(np.quantile(gains.mean(axis=1), _INTERVAL)),
        count=_RANDOM,
        correlation=correlation,
        chance=chance,
    )


def warnings(prediction: Prediction | None) -> list[str]:
    """Returns a warning if the scores of a search do not depend on the architectures more than by chance."""
    if prediction is None or prediction.chance < _CHANCE:
        return []
    return [
        "The search may have learned nothing: its model predicts an architecture's score from the scores of the other "
        f"architectures no better than chance (rank correlation {prediction.correlation:.2f}, "
        f"p = {prediction.chance:.2f}). The recommended architecture is then no better than a random one. Give the "
        "search more epochs (config.search.epochs)."
    ]


def _correlation(predicted: np.ndarray, observed: np.ndarray) -> tuple[float, float]:
    if len(observed) < 3 or np.ptp(predicted) == 0 or np.ptp(observed) == 0:
        return 0.0, 1.0  # not defined
    found = stats.spearmanr(predicted, observed, alternative="greater")
    return float(found.statistic), float(found.pvalue)


def _triple(values: Any) -> tuple[float, float, float]:
    low, middle, high = (float(value) for value in values)
    return low, middle, high
