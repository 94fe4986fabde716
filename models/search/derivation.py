"""From a learned distribution to the architecture to train (section 3.3 of the paper), with its rivals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.architectures.genotype import Genotype
from models.oracle.distribution import Distribution
from models.search import search_signal
from models.search_spaces.base import SearchSpace


@dataclass(frozen=True)
class Candidate:
    """An architecture that stands for election.

    Attributes:
        origin: "argmax", "best" or "sample <n>".
        genotype: The derived genotype.
        accuracy: Validation accuracy on the supernet, 0 to 1; None when it was not re-evaluated.
        undecided: Choices in which no operation is the most probable: the first of the equals was taken.
    """

    origin: str
    genotype: Genotype
    accuracy: float | None = None
    undecided: tuple[str, ...] = ()


def derive(
    space: SearchSpace,
    distribution: Distribution,
    source: str,
    *,
    samples: int,
    seed: int,
    evaluate: Callable[[Mapping[str, str]], float] | None = None,
) -> tuple[Candidate, list[Candidate]]:
    """Returns the architecture elected and all that stood for election.

    Args:
        space: The space that was searched.
        distribution: What a search learned.
        source: "argmax" takes the most probable operations, as the paper does, or what the rule recommends where it
            does not mean them; "best" the architecture that was evaluated best during the search; "verify" evaluates
            both and `samples` architectures drawn from the final distribution on the supernet and takes the most
            accurate (the first of equals).
        samples: How many draws "verify" adds.
        seed: Of these draws.
        evaluate: Validation accuracy of a path on the supernet; called by "verify" alone.

    Raises:
        ValueError: The distribution is of another space.
    """
    probabilities = _probabilities(space, distribution)
    paths: dict[str, Mapping[str, str] | None] = {}
    if source in ("argmax", "verify"):
        # A rule may recommend another architecture than the most probable operations: docs/oracle_mathematics.md.
        recommended = distribution.argmax
        most_probable = all(
            probabilities[choice.name][choice.operations.index(recommended[choice.name])]
            == max(probabilities[choice.name])
            for choice in space.choices
        )
        paths["argmax"] = None if most_probable else recommended
    if source in ("best", "verify"):
        if distribution.best is None:
            raise ValueError("The search completed no trial, so there is no best evaluated architecture.")
        paths["best"] = distribution.best
    if source == "verify":
        for number, path in enumerate(distribution.sample(samples, seed), 1):
            paths[f"sample {number}"] = path

    candidates = []
    for origin, path in paths.items():
        genotype = space.derive(probabilities if path is None else _leaning(space, probabilities, path))
        accuracy = evaluate(space.path(genotype)) if source == "verify" else None
        undecided = search_signal.undecided(probabilities) if path is None else ()
        candidates.append(Candidate(origin, genotype, accuracy, tuple(undecided)))
    return max(candidates, key=lambda candidate: candidate.accuracy or 0.0), candidates


def _probabilities(space: SearchSpace, distribution: Distribution) -> dict[str, np.ndarray]:
    for choice in space.choices:
        found = tuple(distribution.operations.get(choice.name, ()))
        if found != tuple(choice.operations):
            raise ValueError(
                f"The distribution has {list(found)} for choice {choice.name!r}, the {space.name} space has "
                f"{list(choice.operations)}: it was learned in another space or with other config.space.operations."
            )
    return {choice.name: np.asarray(distribution.probabilities[choice.name]) for choice in space.choices}


def _leaning(
    space: SearchSpace, probabilities: Mapping[str, np.ndarray], path: Mapping[str, str]
) -> dict[str, Sequence[float]]:
    """Returns probabilities whose most probable operations are the path's.

    A path has an operation on every edge, a genotype the two likeliest edges of a node: which ones is told by what was
    learned, so the path's operations keep their probabilities (plus 1, to lead) and all others count only where a path
    leaves too few edges.
    """
    leaning = {}
    for choice in space.choices:
        chosen = np.array([operation == path[choice.name] for operation in choice.operations])
        leaning[choice.name] = (probabilities[choice.name] + chosen) / 2
    return leaning
