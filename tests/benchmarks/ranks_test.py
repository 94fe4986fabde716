"""Tests of Kendall's tau and its interval."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.search_quality import ranks


@pytest.mark.parametrize("seed", range(3))
def test_tau_is_scipys_with_ties_too(seed):
    x, y = np.random.default_rng(seed).integers(0, 6, (2, 12)) / 10
    assert ranks.tau(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_a_score_that_tells_nothing_apart_has_tau_0():
    assert ranks.tau(np.full(4, 0.1), np.arange(4)) == 0


def test_interval_is_that_of_resamples_with_replacement(monkeypatch):
    monkeypatch.setattr(ranks, "_RESAMPLES", 50)
    x, y = np.random.default_rng(0).integers(0, 9, (2, 10)) / 10
    counts = np.random.default_rng(7).multinomial(10, np.full(10, 0.1), 50)
    drawn = [np.repeat(np.arange(10), count) for count in counts]
    taus = [stats.kendalltau(x[things], y[things]).statistic for things in drawn]
    assert ranks.interval(x, y, seed=7) == pytest.approx(tuple(np.percentile(taus, [2.5, 97.5])))
    assert ranks.interval(x, y, seed=8) != ranks.interval(x, y, seed=7)


def test_equal_rankings_have_no_spread():
    assert ranks.interval(np.arange(20), np.arange(20) ** 2) == (1, 1)
