"""models/planning/costs.py: a few measured networks predict the others."""

import dataclasses

import numpy as np
import pytest

from models.planning.costs import Costs, Figures, NetworkTimes, SearchTimes, Size
from models.planning.rules import SIZES
from tests.support.planning import LARGE, SMALL, figures

ALL = [Size(*size) for size in SIZES]


def machine(size: Size, batch: int, factors) -> float:
    """The seconds of a step on a machine with these factors, written again: three groups, halved sides."""
    groups = [len(part) for part in np.array_split(range(size.cells), 3)]
    activations = sum(count * size.channels * 2**n * 1024 / 4**n for n, count in enumerate(groups))
    products = sum(count * (size.channels * 2**n) ** 2 * 1024 / 4**n for n, count in enumerate(groups))
    return float(np.dot(factors, [1, size.cells, batch * activations, batch * products]))


def measured(factors, *sizes: Size) -> Costs:
    usual = figures().networks[0]
    networks = tuple(
        dataclasses.replace(usual, cells=s.cells, channels=s.channels, step=machine(s, 64, factors)) for s in sizes
    )
    return Costs(figures(networks=networks))


@pytest.mark.parametrize(
    "factors",
    [(1e-3, 1.6e-2, 1.3e-7, 1.2e-9), (5e-3, 5e-2, 4e-7, 4e-9), (0.0, 1e-3, 1e-8, 1e-10)],
    ids=["as usual", "slow", "fast"],
)
def test_one_network_predicts_all_sizes_of_a_machine_of_usual_proportions(factors):
    costs = measured(factors, SMALL)
    for size in ALL:
        assert costs.step(size, 64) == pytest.approx(machine(size, 64, factors), rel=0.25)


def test_more_networks_predict_a_machine_of_other_proportions():
    factors = (2e-2, 2e-2, 1e-8, 4e-9)  # a dear start of each operation, cheap activations, dear products
    one, three = measured(factors, SMALL), measured(factors, SMALL, Size(6, 16), LARGE)

    def error(costs):
        return np.mean([abs(np.log(costs.step(size, 64) / machine(size, 64, factors))) for size in ALL])

    assert error(three) < 0.15 < error(one)


def test_predictions_grow_with_the_network_and_the_batch():
    costs = Costs(figures(sizes=(SMALL, LARGE)))
    for small, large in ((SMALL, Size(3, 16)), (SMALL, Size(6, 8))):
        assert 0 < costs.step(small, 64) < costs.step(large, 64)
        assert costs.search(small, 10) < costs.search(large, 10)
    assert costs.start(SMALL) < costs.start(Size(6, 8))
    assert costs.step(SMALL, 32) < costs.step(SMALL, 64)
    assert costs.step(SMALL, 2000) == costs.step(SMALL, 4000)  # there are no more images


def test_a_search_costs_its_reference_too():
    costs = Costs(figures())
    assert costs.search(SMALL, 30) - costs.search(SMALL, 10) == pytest.approx(20 * costs.search_epoch(SMALL))
    reference = costs.search(SMALL, 0) - Costs(figures(reference=0)).search(SMALL, 0)
    assert 59 * 0.35 < reference < 60 * costs.search_epoch(SMALL)  # an epoch has the oracle's work, too
    assert Costs(figures(searches=())).search(SMALL, 30) == 0


def test_a_search_on_shared_weights_costs_the_same_for_each_size():
    costs = Costs(figures(searches=(SearchTimes(20, 36, 5.0, 7.0),), sized=False, reference=0))
    assert costs.search(SMALL, 10) == costs.search(LARGE, 10) == 75.5


def test_scores_alone_tell_how_slow_a_machine_is():
    for size in (SMALL, LARGE):
        fast, slow = (Costs(figures(slow, sizes=())) for slow in (1.0, 3.0))
        for seconds in ("start", "export", "evaluation", "report"):
            assert getattr(slow, seconds)(size) == pytest.approx(3 * getattr(fast, seconds)(size), rel=1e-6)
        assert slow.step(size, 64) == pytest.approx(3 * fast.step(size, 64), rel=1e-6)


def test_the_derived_network_replaces_what_random_ones_predict():
    found = figures()
    derived = NetworkTimes(3, 8, 120, 64, start=20.0, step=3.0, inference_start=2.0, inference=0.5)
    costs = Costs(found, derived)
    assert costs.step(SMALL, 64) == pytest.approx(3.0)
    assert costs.start(SMALL) == pytest.approx(20.0)
    assert costs.step(LARGE, 64) / 3.0 == pytest.approx(Costs(found).step(LARGE, 64) / Costs(found).step(SMALL, 64))


def test_figures_come_back_from_json():
    found = figures(sizes=(SMALL, LARGE))
    assert Figures.from_document(dataclasses.asdict(found)) == found
