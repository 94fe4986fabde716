"""models/search/search_signal.py: when a search is told to have learned nothing."""

import pytest

from models.search import search_signal

TEN = [300] * 10


def epochs(*pairs):
    """Epochs of (training accuracy, validation accuracy); None is a failed one."""
    return [
        {"status": "FAILED"} if pair is None else {"status": "COMPLETED", "accuracy": pair[0], "val_accuracy": pair[1]}
        for pair in pairs
    ]


@pytest.mark.parametrize(
    ("figures", "counts", "warning"),
    [
        ([(0.2, 0.25), (0.5, 0.45), (0.6, 0.5), (0.6, 0.55)], TEN, None),
        ([(0.5, 0.16), (0.6, 0.18), (0.67, 0.21), (0.6, 0.17)], TEN, "could hardly tell architectures apart"),
        ([(0.5, 0.1), (0.6, 0.1)], TEN, "could hardly tell"),
        ([(0.1, 0.1), (0.11, 0.1), (0.1, 0.1)], TEN, "learned nothing yet"),
        # 0.9 is what guessing reaches where nine of ten images are of one class
        ([(0.9, 0.9), (0.9, 0.9)], [900, 100], "learned nothing yet"),
        ([(0.97, 0.9), (0.97, 0.9)], [900, 100], "could hardly tell"),
        ([(0.97, 0.95), (0.97, 0.95)], [900, 100], None),
        ([(0.5, 0.1), (0.5, 0.1), (0.6, 0.5), None, (0.6, 0.5)], TEN, None),  # it was so at the beginning only
        ([None, None], TEN, None),
        ([], TEN, None),
        ([(1.0, 1.0)], [4, 4], None),
    ],
)
def test_accuracies_near_guessing_are_warned_of(figures, counts, warning):
    found = search_signal.warnings(epochs(*figures), counts, counts)
    assert len(found) == (warning is not None)
    if warning:
        assert warning in found[0]


def test_the_warning_tells_the_figures():
    (warning,) = search_signal.warnings(epochs((0.6, 0.15), (0.61, 0.16)), TEN, TEN)
    assert "0.160" in warning and "0.100" in warning and "0.610" in warning


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ({"a": [0.25] * 4, "b": [0.5, 0.5]}, ["a", "b"]),
        ({"a": [0.26, 0.25, 0.25, 0.24], "b": [0.4, 0.4, 0.2]}, ["b"]),
        ({"a": [1.0]}, []),
    ],
)
def test_choices_without_a_leading_operation_are_named(probabilities, expected):
    assert search_signal.undecided(probabilities) == expected


def narrowing_at(epoch, accuracies):
    epochs = [
        {"epoch": number, "status": "COMPLETED", "entropy": 8.0 if number < epoch else 4.0, "val_accuracy": accuracy}
        for number, accuracy in enumerate(accuracies)
    ]
    return search_signal.narrowing(epochs, [8] * 4, [100, 100])  # uniform: 8.3 nats


def test_a_distribution_that_narrows_while_accuracies_are_low_is_warned_of():
    rising = [0.65] * 10 + [0.9] * 10
    (warning,) = narrowing_at(4, rising)
    assert "after epoch 5" in warning and "0.650" in warning and "0.900" in warning
    assert "config.oracle.warmup_rounds" in warning
    assert not narrowing_at(18, [0.9] * 20)  # narrowed when accuracies were as high as in the end
    assert not narrowing_at(4, [0.8] * 10 + [0.9] * 10)  # more than half of the final gain was reached
    assert not narrowing_at(99, rising)  # never narrowed


def test_failed_epochs_say_nothing_of_a_narrowing():
    failed = [{"epoch": 0, "status": "FAILED", "entropy": 0.0, "best": None}]
    assert search_signal.narrowing(failed, [8] * 4, [5, 5]) == []
