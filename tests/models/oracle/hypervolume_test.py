import itertools

import numpy as np
import pytest

from models.oracle.hypervolume import boxes, hypervolume, nondominated, spread


def brute(points, reference):
    """The volume of a union of boxes by inclusion and exclusion."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            total -= (-1) ** size * np.maximum(np.min(some, axis=0) - reference, 0).prod()
    return total


@pytest.mark.parametrize("objectives", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_equals_inclusion_and_exclusion(objectives, seed):
    # Whole numbers make ties and repeated points.
    points = np.random.default_rng(seed).integers(-1, 6, (8, objectives)).astype(float)
    reference = np.zeros(objectives)
    assert hypervolume(points, reference) == pytest.approx(brute(points, reference))


@pytest.mark.parametrize("objectives", [2, 3])
def test_hypervolume_equals_a_monte_carlo_estimate(objectives):
    generator = np.random.default_rng(0)
    points, drawn = generator.random((40, objectives)), generator.random((200_000, objectives))
    dominated = (drawn[:, np.newaxis] <= points[np.newaxis, :20]).all(axis=2).any(axis=1)
    assert hypervolume(points[:20], np.zeros(objectives)) == pytest.approx(dominated.mean(), abs=0.005)


def test_hypervolume_of_nothing_and_of_points_beside_the_reference_is_zero():
    assert hypervolume(np.zeros((0, 3)), np.zeros(3)) == 0.0
    assert hypervolume(np.array([[0.0, 5.0], [5.0, -1.0]]), np.zeros(2)) == 0.0


def test_nondominated_keeps_equal_points():
    points = np.array([[1, 2], [2, 1], [1, 2], [1, 1], [0, 2]])
    assert nondominated(points).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize("objectives", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_boxes_fill_what_the_points_do_not_dominate(objectives, seed):
    points = np.random.default_rng(seed).integers(-1, 5, (6, objectives)).astype(float)
    reference = np.zeros(objectives)
    lower, upper = boxes(points, reference)
    for new in np.random.default_rng(seed + 9).random((20, objectives)) * 7:
        covered = np.maximum(np.minimum(new, upper) - lower, 0).prod(axis=1).sum()
        gain = hypervolume(np.vstack([points, new]), reference) - hypervolume(points, reference)
        assert covered == pytest.approx(gain)


def test_points_that_stand_for_a_front_keep_its_extremes_and_most_of_its_volume():
    points = np.abs(np.random.default_rng(0).normal(size=(400, 3)))
    points = points / np.linalg.norm(points, axis=1, keepdims=True) * (1.0, 100.0, 0.01)
    kept = spread(points, 100)
    assert len(kept) == 100 and {tuple(point) for point in kept} <= {tuple(point) for point in points}
    np.testing.assert_array_equal(kept.max(axis=0), points.max(axis=0))
    assert hypervolume(kept, np.zeros(3)) > 0.93 * hypervolume(points, np.zeros(3))
    np.testing.assert_array_equal(spread(points, 100), kept)
    assert spread(points, 400) is points
    assert len(spread(np.ones((9, 2)), 4)) == 4
