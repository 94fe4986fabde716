"""Pareto fronts: which points are not dominated, and the volume that they dominate. Larger values are better."""

from __future__ import annotations

import itertools

import numpy as np


def nondominated(points: np.ndarray) -> np.ndarray:
    """Returns which points no other point dominates, bool (points,).

    A point dominates another if it is at least as good in every objective and better in one. So all of several equal
    points may be on the front.

    Args:
        points: float64 (points, objectives).
    """
    kept = np.ones(len(points), bool)
    for index, point in enumerate(points):
        # A point that is dominated itself need not be asked: whatever it dominates, its dominator dominates too.
        if kept[index]:
            kept &= ~((point >= points).all(axis=1) & (point > points).any(axis=1))
    return kept


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """Returns the exact volume of the region that the points dominate, above a reference point.

    The region is cut into slabs along the last objective. The cross-section of a slab is the region that the remaining
    points dominate in the other objectives. The cost is O(n log n) for 2 objectives and O(n^2 log n) for 3.

    Args:
        points: float64 (points, objectives). Points that are not better than the reference in every objective do not
            count.
        reference: float64 (objectives,), the worst values that are of interest.

    Returns:
        A number of at least 0, in the product of the objectives' units.
    """
    points, reference = np.asarray(points, float), np.asarray(reference, float)
    points = points.reshape(-1, len(reference))
    points = points[(points > reference).all(axis=1)]
    if not len(points):
        return 0.0
    if len(reference) == 1:
        return float(points.max() - reference[0])
    if len(reference) == 2:
        ordered = points[np.argsort(-points[:, 1], kind="stable")]
        reach = np.maximum.accumulate(ordered[:, 0]) - reference[0]
        return float(reach @ -np.diff(ordered[:, 1], append=reference[1]))
    points = points[nondominated(points)]
    edges = np.unique(points[:, -1])
    floors = np.concatenate([reference[-1:], edges[:-1]])
    return sum(
        float(ceiling - floor) * hypervolume(points[points[:, -1] >= ceiling, :-1], reference[:-1])
        for floor, ceiling in zip(floors, edges, strict=True)
    )


def spread(points: np.ndarray, most: int) -> np.ndarray:
    """Returns the points of a front that stand for all of them, in their order.

    These are the best point of each objective, and then, one after the other, the point that is farthest from those
    before. The range of an objective has the length 1.

    Args:
        points: float64 (points, objectives).
        most: The largest number of points to return, at least that of the objectives.
    """
    if len(points) <= most:
        return points
    scaled = points / np.where(np.ptp(points, axis=0) > 0, np.ptp(points, axis=0), 1.0)
    chosen = [int(index) for index in np.unique(scaled.argmax(axis=0))]
    distances = np.min([np.linalg.norm(scaled - scaled[index], axis=1) for index in chosen], axis=0)
    while len(chosen) < most:
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
    return points[np.sort(chosen)]


def boxes(points: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns disjoint boxes that fill a region: all that is above the reference point and not dominated by the points.

    Args:
        points: float64 (points, objectives).
        reference: float64 (objectives,).

    Returns:
        The lower and the upper corners, each float64 (boxes, objectives). Upper values may be infinite.
    """
    points = points[(points > reference).all(axis=1)]
    if len(reference) == 1:
        return np.array([[max([reference[0], *points[:, 0]])]]), np.array([[np.inf]])
    points = points[nondominated(points)]
    edges = np.concatenate([reference[-1:], np.unique(points[:, -1]), [np.inf]])
    lower, upper = [], []
    for floor, ceiling in itertools.pairwise(edges):
        below, above = boxes(points[points[:, -1] >= ceiling, :-1], reference[:-1])
        lower.append(np.column_stack([below, np.full(len(below), floor)]))
        upper.append(np.column_stack([above, np.full(len(above), ceiling)]))
    return np.concatenate(lower), np.concatenate(upper)
