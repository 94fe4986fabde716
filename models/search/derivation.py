"""From a learned distribution to the architecture to train (section 3.3 of the paper)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.architectures.genotype import Genotype
from models.oracle.distribution import Distribution
from models.search import search_signal
from models.search_spaces.base import SearchSpace


@dataclass(frozen=True)
class Derived:
    """A derived architecture.

    Attributes:
        origin: "argmax" or "best".
        genotype: The architecture.
        undecided: Choices in which no operation is the most probable: one of the equals was taken.
    """

    origin: str
    genotype: Genotype
    undecided: tuple[str, ...] = ()


def derive(space: SearchSpace, distribution: Distribution, source: str) -> Derived:
    """Returns the architecture to train.

    A path that has the shape of a genotype is taken as it is. Of all other paths the space derives a genotype.

    Args:
        space: The space that was searched.
        distribution: What a search learned.
        source: "argmax" takes the most probable operations, as the paper does, or what the rule recommends where it
            does not mean them; "best" takes the architecture that was evaluated best during the search.

    Raises:
        ValueError: The distribution is of another space, or "best" is asked for and the search completed no trial.
    """
    probabilities = _probabilities(space, distribution)
    path = distribution.argmax if source == "argmax" else distribution.best
    if path is None:
        raise ValueError("The search completed no trial, so there is no best evaluated architecture.")
    genotype = space.derive(_leaning(space, probabilities, path))
    undecided: Sequence[str] = ()
    # A rule may recommend another architecture than the most probable operations: docs/oracle_mathematics.md.
    if source == "argmax" and _most_probable(space, probabilities, path):
        undecided = search_signal.undecided(probabilities)
        # The paper's rule. In the cell space it may take other edges than the path, and it passes over `none`.
        if space.path(genotype) != path:
            genotype = space.derive(probabilities)
    return Derived(source, genotype, tuple(undecided))


def _probabilities(space: SearchSpace, distribution: Distribution) -> dict[str, np.ndarray]:
    for choice in space.choices:
        found = tuple(distribution.operations.get(choice.name, ()))
        if found != tuple(choice.operations):
            raise ValueError(
                f"The distribution has {list(found)} for choice {choice.name!r}, the {space.name} space has "
                f"{list(choice.operations)}: it was learned in another space or with other config.space.operations."
            )
    return {choice.name: np.asarray(distribution.probabilities[choice.name]) for choice in space.choices}


def _most_probable(space: SearchSpace, probabilities: Mapping[str, np.ndarray], path: Mapping[str, str]) -> bool:
    """Returns whether no operation is more probable than the path's."""
    return all(
        probabilities[choice.name][choice.operations.index(path[choice.name])] == max(probabilities[choice.name])
        for choice in space.choices
    )


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
