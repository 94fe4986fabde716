"""Shows whether the final network is better than a baseline, by exact tests on the same test images, and gives advice.

McNemar's exact test uses only the images that exactly one of two networks classifies correctly. It computes the
probability that chance alone divides these images at least as unevenly between the two.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

BETTER, SAME, WORSE = "better", "the same within chance", "worse"
_FEW_EPOCHS = 10  # a baseline with fewer epochs than this and than the final network had too little time
_EQUAL_TIME = 0.5  # with a smaller share of the final network's seconds, a baseline had too little time
_CHANCE = 0.05  # a p-value below this counts as a difference

# The name of each baseline in a sentence.
WORDS = {
    "majority": "always guessing the largest class",
    "cnn": "a plain CNN",
    "cnn_distilled": "a plain CNN with the same teacher",
    "preset": "a published cell with as many multiply-adds",
    "pretrained": "a linear classifier on pretrained features",
}
# What to do if this baseline is better than the network, and no other baseline is better than this one.
_INSTEAD = {
    "cnn": "Use a plain CNN, or give this run more images or more time (config.train.epochs).",
    "cnn_distilled": "Use a plain CNN with this teacher, or give this run more images or more time "
    "(config.train.epochs).",
    "preset": "Train the published cell (config.architecture), or give this run more time (config.search.epochs, "
    "config.train.epochs).",
    "pretrained": "Use the pretrained network, if it is small and fast enough for you; or let the network learn from "
    "it, if it does not yet (config.train.teacher); or give this run more images or more time (config.train.epochs).",
}


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a classifier.

    Attributes:
        params: Number of trainable parameters, including the parameters of a pretrained network; None if not known.
        macs: Multiply-adds for one image; None if not known.
        seconds: Seconds of the training; for the final network, of search and training.
        epochs: How many times the training took all images; 0 if nothing was trained in epochs.
        details: A description of the classifier in words; "" if there is none.
    """

    params: int | None
    macs: int | None
    seconds: float
    epochs: float = 0.0
    details: str = ""


@dataclasses.dataclass(frozen=True)
class Figures:
    """The results of a classifier on the test images.

    Attributes:
        name: "network" for the final network, or the baseline's name.
        accuracy: Test accuracy, 0 to 1.
        interval: The 95 % interval of the accuracy (Wilson).
        cost: The cost of the classifier.
        verdict: Whether the final network is BETTER or WORSE than this baseline, or the SAME within chance; None for
            the final network.
        p_value: The probability that chance alone gives a difference of at least this size (McNemar's exact test); None
            for the final network.
    """

    name: str
    accuracy: float
    interval: tuple[float, float]
    cost: Cost
    verdict: str | None = None
    p_value: float | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The final network and the baselines.

    Attributes:
        images: Number of test images.
        network: The final network.
        baselines: The baselines.
        sentence: Sentences on the verdicts, and advice.
    """

    images: int
    network: Figures
    baselines: tuple[Figures, ...]
    sentence: str

    def to_document(self) -> dict[str, Any]:
        """Returns the comparison as a JSON document."""
        return dataclasses.asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Comparison":
        """Returns the comparison of a JSON document."""
        baselines = tuple(_figures(found) for found in document["baselines"])
        return cls(document["images"], _figures(document["network"]), baselines, document["sentence"])


def _figures(document: Mapping[str, Any]) -> Figures:
    low, high = document["interval"]
    return Figures(**{**document, "interval": (low, high), "cost": Cost(**document["cost"])})


def compare(
    labels: np.ndarray, network: tuple[np.ndarray, Cost], baselines: Mapping[str, tuple[np.ndarray, Cost]]
) -> Comparison:
    """Compares the final network with baselines.

    Args:
        labels: The classes of the test images: integers (images,), at least one.
        network: The classes that the final network predicts, (images,), and its cost.
        baselines: Name of a baseline -> its predicted classes and its cost.
    """
    right = network[0] == labels
    found, ours = [], _measure("network", right, network[1])
    for name, (predicted, cost) in baselines.items():
        also = predicted == labels
        verdict, p_value = judge(int(np.sum(right & ~also)), int(np.sum(also & ~right)))
        found.append(dataclasses.replace(_measure(name, also, cost), verdict=verdict, p_value=p_value))
    return Comparison(len(labels), ours, tuple(found), sentence(ours, found, len(labels)))


def _measure(name: str, right: np.ndarray, cost: Cost) -> Figures:
    return Figures(name, float(np.mean(right)), interval(int(np.sum(right)), len(right)), cost)


def interval(right: int, images: int) -> tuple[float, float]:
    """Returns the 95 % interval (Wilson) of an accuracy: `right` of `images` are classified correctly."""
    found = stats.binomtest(right, images).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def judge(only_network: int, only_baseline: int) -> tuple[str, float]:
    """Returns whether the final network is better than a baseline, and the p-value of McNemar's exact test.

    Args:
        only_network: Number of test images that only the final network classifies correctly.
        only_baseline: Number of test images that only the baseline classifies correctly.

    Returns:
        BETTER, SAME or WORSE, and the p-value, 0 to 1.
    """
    differ = only_network + only_baseline
    p_value = float(stats.binomtest(only_network, differ).pvalue) if differ else 1.0
    if p_value >= _CHANCE:
        return SAME, p_value
    return (BETTER if only_network > only_baseline else WORSE), p_value


def sentence(network: Figures, baselines: Sequence[Figures], images: int) -> str:
    """Returns sentences on the verdicts, one for each kind of verdict, and then advice.

    Args:
        network: The final network.
        baselines: The baselines, at least one.
        images: Number of test images.
    """
    parts = []
    for verdict, words in (
        (WORSE, "less accurate than"),
        (SAME, "as accurate, within chance, as"),
        (BETTER, "more accurate than"),
    ):
        names = _listed(found for found in baselines if found.verdict == verdict)
        if names:
            parts.append(f"{words} {names}")
    return f"The network is {'. It is '.join(parts)}. {_advice(network, baselines, images)}"


def _listed(baselines: Iterable[Figures]) -> str:
    *most, last = [WORDS[found.name] for found in baselines] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _advice(network: Figures, baselines: Sequence[Figures], images: int) -> str:
    """Returns advice about the most important comparison: first the best of the baselines that beat the network."""
    by_name = {found.name: found for found in baselines}
    majority = by_name.pop("majority", None)
    if majority and majority.verdict != BETTER:
        if majority.verdict == SAME and network.accuracy > majority.accuracy:
            return (
                f"Its accuracy is higher, but with {images:,} test images this may be chance. Give this run more test "
                "images, or train longer (config.train.epochs)."
            )
        return "It has learned little: look at images and labels in the report, and train longer (config.train.epochs)."
    ahead = [found for found in by_name.values() if found.verdict == WORSE]
    if ahead:
        return _INSTEAD[max(ahead, key=lambda found: found.accuracy).name]
    same = [found for found in by_name.values() if found.verdict == SAME]
    if same:
        return (
            f"Use the cheapest of this network and {_listed(same)}, or give this run more images or more time "
            "(config.train.epochs). With more test images, smaller differences can be detected."
        )
    few = min(_FEW_EPOCHS, network.cost.epochs)
    short = [f"{name}: {found.cost.epochs:.3g}" for name, found in by_name.items() if 0 < found.cost.epochs < few]
    if short:
        return (
            f"But some baselines had few epochs ({', '.join(short)}), so this proves little. Raise "
            "config.baselines.time_share, or set config.baselines.epochs."
        )
    longest = max((found.cost.seconds for found in by_name.values() if found.cost.epochs), default=None)
    if longest is None:
        return (
            "This does not show that it is worth its time: compare it with a network that is trained on these images, "
            "too (config.baselines.names)."
        )
    if longest < _EQUAL_TIME * network.cost.seconds:
        return (
            f"But none of the networks that were trained for comparison had more than "
            f"{longest / network.cost.seconds:.0%} of its seconds, so this does not show that it is worth its time. "
            "Give them more (config.baselines.time_share, or config.baselines.epochs)."
        )
    return "It is worth its time."
