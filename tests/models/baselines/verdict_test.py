"""models/baselines/verdict.py: intervals, exact tests, and the sentence about them."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from models.baselines import verdict
from models.baselines.verdict import BETTER, SAME, WORSE, Cost


def test_the_interval_is_wilsons():
    low, high = verdict.interval(90, 100)
    z = stats.norm.ppf(0.975)
    centre = (0.9 + z**2 / 200) / (1 + z**2 / 100)
    half = z / (1 + z**2 / 100) * np.sqrt(0.9 * 0.1 / 100 + z**2 / 40000)
    assert (low, high) == pytest.approx((centre - half, centre + half))
    assert verdict.interval(0, 5)[0] == 0.0 and verdict.interval(5, 5)[1] == 1.0


@pytest.mark.parametrize(
    "only_network, only_baseline, expected",
    [
        (0, 0, (SAME, 1.0)),
        (5, 0, (SAME, 2 * 0.5**5)),  # 0.0625
        (6, 0, (BETTER, 2 * 0.5**6)),  # 0.03125
        (0, 6, (WORSE, 2 * 0.5**6)),
        (30, 30, (SAME, 1.0)),
        (60, 30, (BETTER, stats.binomtest(60, 90).pvalue)),
    ],
)
def test_only_images_that_one_network_alone_classifies_right_count(only_network, only_baseline, expected):
    found, p_value = verdict.judge(only_network, only_baseline)
    assert (found, p_value) == (expected[0], pytest.approx(expected[1]))


def _figures(name, found):
    accuracy = 0.1 * sorted(verdict.WORDS).index(name)  # cnn, cnn_distilled, majority, preset, pretrained
    epochs = 0 if name in ("majority", "pretrained") else 20
    return verdict.Figures(name, accuracy, (0.4, 0.6), Cost(1, 1, 1.0, epochs), found, 0.5)


def _network(accuracy=0.05, seconds=1.0, epochs=3.0):
    return verdict.Figures("network", accuracy, (0.0, 1.0), Cost(1, 1, seconds, epochs))


@pytest.mark.parametrize(
    "verdicts, begins, advice",
    [
        ({"majority": BETTER, "cnn": BETTER}, "more accurate than always guessing the largest class and a", "worth"),
        (
            {"majority": BETTER, "cnn": SAME},
            "as accurate, within chance, as a plain CNN. It is more accurate than",
            "cheapest of this network and a plain CNN,",
        ),
        (
            {"majority": BETTER, "cnn": WORSE},
            "less accurate than a plain CNN. It is more accurate than",
            "Use a plain CNN",
        ),
        ({"cnn": WORSE, "preset": WORSE}, "less accurate than a plain CNN and a published", "config.architecture"),
        ({"cnn": WORSE, "pretrained": WORSE}, "less accurate than a plain CNN and a linear", "Use the pretrained"),
        (
            {"cnn": SAME, "cnn_distilled": WORSE},
            "less accurate than a plain CNN with the same teacher",
            "with this teacher",
        ),
        ({"majority": SAME, "pretrained": WORSE}, "less accurate than a linear", "learned little"),
    ],
)
def test_the_sentence_names_every_baseline_and_what_to_do_about_the_worst(verdicts, begins, advice):
    told = verdict.sentence(_network(), [_figures(name, found) for name, found in verdicts.items()], 100)
    assert told.startswith(f"The network is {begins}") and advice in told
    assert all(verdict.WORDS[name] in told for name in verdicts)


def test_the_best_of_several_better_baselines_is_the_one_to_use():
    cnn, pretrained = (_figures(name, WORSE) for name in ("cnn", "pretrained"))
    better = [dataclasses.replace(cnn, accuracy=0.9), pretrained]
    assert "Use a plain CNN" in verdict.sentence(_network(), better, 100)


def test_a_baseline_that_had_no_time_proves_nothing():
    def told(epochs, of_the_network):
        cnn = verdict.Figures("cnn", 0.5, (0.4, 0.6), Cost(1, 1, 1.0, epochs), BETTER, 0.01)
        return verdict.sentence(_network(epochs=of_the_network), [_figures("majority", BETTER), cnn], 100)

    assert "few epochs (cnn: 9)" in told(9, 40) and "worth" not in told(9, 40)
    assert "few epochs (cnn: 0.15)" in told(0.15, 1.8)
    assert "It is worth its time" in told(10, 40) and "It is worth its time" in told(9, 9)


def test_a_baseline_with_a_tenth_of_the_time_does_not_show_that_a_search_pays():
    cnn = verdict.Figures("cnn", 0.5, (0.4, 0.6), Cost(1, 1, 100.0, 12), BETTER, 0.01)
    told = verdict.sentence(_network(seconds=1000.0, epochs=60), [cnn], 100)
    assert "more than 10% of its seconds" in told and "config.baselines.time_share" in told
    assert "It is worth its time." in verdict.sentence(_network(seconds=150.0, epochs=60), [cnn], 100)


def test_guessing_alone_is_no_yardstick_for_a_search():
    for others in ([_figures("majority", BETTER)], [_figures("pretrained", BETTER)]):
        told = verdict.sentence(_network(), others, 100)
        assert "does not show" in told and "config.baselines.names" in told


@pytest.mark.parametrize("counts", [(95, 5), (2, 2)], ids=["rare class", "four images"])
def test_few_test_images_are_not_called_little_learning(counts):
    """Of these images not even a perfect network is better than guessing by more than chance."""
    labels = np.repeat([0, 1], counts)
    found = verdict.compare(labels, (labels, Cost(1, 1, 1.0)), {"majority": (np.zeros_like(labels), Cost(0, 0, 0.0))})
    assert found.network.accuracy == 1.0 and found.baselines[0].verdict == SAME
    assert "learned little" not in found.sentence and f"with {sum(counts)} test images" in found.sentence
    guessing = (np.zeros_like(labels), Cost(1, 1, 1.0))
    assert "learned little" in verdict.compare(labels, guessing, {"majority": guessing}).sentence


def test_a_comparison_counts_on_the_same_images_and_comes_back_from_json():
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    network = np.array([0, 1, 2, 0, 1, 2, 0, 0])  # 7 right
    baseline = np.array([1, 2, 0, 1, 2, 0, 1, 1])  # the last one alone
    found = verdict.compare(labels, (network, Cost(10, 20, 3.0, 4)), {"cnn": (baseline, Cost(None, None, 1.0))})
    assert found.network.accuracy == 7 / 8 and found.network.verdict is None
    (cnn,) = found.baselines
    assert cnn.accuracy == 1 / 8 and cnn.p_value == pytest.approx(stats.binomtest(7, 8).pvalue)
    assert cnn.verdict == SAME  # 0.07
    assert verdict.Comparison.from_document(json.loads(json.dumps(found.to_document()))) == found
