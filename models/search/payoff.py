"""Did a search pay? What it recommends, compared with the random architectures that it evaluated at first."""

import dataclasses
import statistics

from models.oracle.distribution import Distribution


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
