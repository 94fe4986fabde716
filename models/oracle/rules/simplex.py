"""Functions that return rows of probabilities, which are not negative and sum to 1."""

from __future__ import annotations

import numpy as np


def normalize(probabilities: np.ndarray) -> np.ndarray:
    """Returns the rows divided by their sums, float64 (choices, operations)."""
    # cumsum adds from left to right for any number of operations; `sum` does not, so its rounding differs.
    return probabilities / np.cumsum(probabilities, axis=1)[:, -1:]


def simplex(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the nearest point of the probability simplex for each row (Euclidean distance; Held et al. 1974).

    Args:
        values: float64 (choices, operations).
        mask: bool (choices, operations): which entries exist.

    Returns:
        float64 (choices, operations), 0 outside of the mask.
    """
    descending = -np.sort(-np.where(mask, values, -np.inf), axis=1)
    excess = np.cumsum(np.where(np.isfinite(descending), descending, 0.0), axis=1) - 1.0
    threshold = excess / np.arange(1, values.shape[1] + 1)
    kept = (descending > threshold).sum(axis=1)
    return np.where(mask, np.maximum(values - threshold[np.arange(len(values)), kept - 1, np.newaxis], 0.0), 0.0)


def softmax(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the softmax of each row over the entries of the mask, float64 (choices, operations)."""
    logits = np.where(mask, logits, -np.inf)
    return normalize(np.exp(logits - logits.max(axis=1, keepdims=True)))
