"""Kendall's tau-b with a bootstrap interval."""

import numpy as np

_RESAMPLES = 2000
_LEVEL = 95  # percent of the resamples that an interval covers


def tau(x: np.ndarray, y: np.ndarray) -> float:
    """Returns Kendall's tau-b of two scores of the same things; 0 where one of them is the same for all things.

    Args:
        x: (things,).
        y: (things,).
    """
    return float(_taus(x, y, np.ones((1, len(x))))[0])


def interval(x: np.ndarray, y: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Returns the bootstrap interval (95 %, percentiles) of `tau` for things that were drawn at random.

    Args:
        x: (things,).
        y: (things,).
        seed: Of the resamples.
    """
    # A resample is how often it has each of the things.
    counts = np.random.default_rng(seed).multinomial(len(x), np.full(len(x), 1 / len(x)), _RESAMPLES)
    outside = (100 - _LEVEL) / 2
    low, high = np.percentile(_taus(x, y, counts), [outside, 100 - outside])
    return float(low), float(high)


def _taus(x, y, counts):
    """Tau-b of each row of `counts` (resamples, things).

    Copies of a thing are tied in x and in y, so they count in no pair, as tau-b has it.
    """
    x_signs, y_signs = (np.sign(np.subtract.outer(scores, scores)) for scores in (x, y))

    def over_pairs(values):
        return ((counts @ values) * counts).sum(axis=1)

    scale = np.sqrt(over_pairs(x_signs**2) * over_pairs(y_signs**2))
    return np.divide(over_pairs(x_signs * y_signs), scale, out=np.zeros(len(counts)), where=scale > 0)
