"""Whether a search could tell architectures apart: warnings for the terminal and the report.

A search learns from validation accuracies. Where they stay near what guessing reaches, all that follows from them is
chance, whatever else looks well.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

EARLY = 10  # epochs after which a running search is looked at for the first time
_FOLLOWS = 0.25  # share of training's gain over guessing that validation must reach
_KNOWS = (
    0.5  # share of the last epochs' gain over guessing that the accuracies must reach before the distribution narrows
)


def majority_share(counts: Sequence[int]) -> float:
    """Returns the accuracy of always guessing the largest class.

    Args:
        counts: Images of each class.
    """
    return max(counts) / sum(counts)


def warnings(epochs: Sequence[Mapping[str, Any]], train_counts: Sequence[int], val_counts: Sequence[int]) -> list[str]:
    """Returns what is wrong with the accuracies of a search, a sentence or two each; none where all is well.

    Only the second half of the completed epochs counts: at the beginning, nothing is trained yet.

    Args:
        epochs: Per epoch `status`, and of a completed one `accuracy` and `val_accuracy`, 0 to 1.
        train_counts: Training images of each class.
        val_counts: Validation images of each class.
    """
    completed = [figures for figures in epochs if figures["status"] == "COMPLETED"]
    late = completed[len(completed) // 2 :]
    if not late:
        return []
    training, validation = (
        statistics.median(figures[name] for figures in late) for name in ("accuracy", "val_accuracy")
    )
    learned, guessed = _gain(training, train_counts), majority_share(val_counts)
    found = (
        f"validation accuracy of the sampled architectures: {validation:.3f}, median of the last {len(late)} epochs; "
        f"always guessing the largest class: {guessed:.3f}; training accuracy: {training:.3f}"
    )
    if learned <= 0:
        return [
            f"The search has learned nothing yet: not even training accuracy is clearly above guessing ({found}). Give "
            "it more epochs (config.search.epochs) or another learning rate (config.search.learning_rate), and look at "
            "the images in the report."
        ]
    if _gain(validation, val_counts) < _FOLLOWS * learned:
        return [
            f"The search could hardly tell architectures apart: validation stays near guessing, training does not "
            f"({found}). Its result is little better than a random architecture. See whether the validation images "
            "show the same classes in the same way as the training images, and give it more of them."
        ]
    return []


def narrowing(epochs: Sequence[Mapping[str, Any]], sizes: Sequence[int], val_counts: Sequence[int]) -> list[str]:
    """Returns a warning if the distribution narrowed while the accuracies could not yet tell architectures apart.

    Args:
        epochs: Per epoch `status` and `entropy` (nats), and of a completed one `val_accuracy`, 0 to 1.
        sizes: The number of operations of each choice.
        val_counts: Validation images of each class.
    """
    completed = [figures for figures in epochs if figures["status"] == "COMPLETED"]
    uniform = sum(math.log(size) for size in sizes)
    narrowed = next((i for i, figures in enumerate(completed) if figures["entropy"] <= uniform / 2), None)
    if narrowed is None:
        return []
    last = completed[-max(len(completed) // 4, 1) :]
    early, late = (
        statistics.median(figures["val_accuracy"] for figures in part) for part in (completed[: narrowed + 1], last)
    )
    if _gain(early, val_counts) >= _KNOWS * _gain(late, val_counts):
        return []
    return [
        f"The distribution narrowed early: after epoch {completed[narrowed]['epoch'] + 1} it had lost half of its "
        f"entropy. The median validation accuracy was {early:.3f} until then and {late:.3f} in the last {len(last)} "
        "epochs, so the first accuracies said little about the architectures. Give the search a longer warm-up "
        "(config.oracle.warmup_rounds), or score untrained networks (config.search.objective=spectrum; docs/search.md)."
    ]


def undecided(probabilities: Mapping[str, Sequence[float]]) -> list[str]:
    """Returns the choices in which no operation leads, so that the first of equals would be taken.

    Args:
        probabilities: Choice name -> probability of each operation.
    """
    return [
        name
        for name, values in probabilities.items()
        if len(values) > 1 and np.isclose(*np.sort(values)[-2:], rtol=1e-9, atol=0)
    ]


def _gain(accuracy: float, counts: Sequence[int]) -> float:
    """Returns how far an accuracy is above guessing, beyond two standard errors of guessing; 1 at most."""
    guessed = majority_share(counts)
    error = math.sqrt(guessed * (1 - guessed) / sum(counts))
    return (accuracy - guessed - 2 * error) / (1 - guessed)
