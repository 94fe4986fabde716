"""From a learned distribution to the architecture to train (section 3.3 of the paper)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.architectures.genotype import Genotype
from models.oracle.distribution import Distribution
from models.search import search_signal
from models.search_spaces.base import SearchSpace

NONE, SKIP = "none", "skip_connect"


@dataclass(frozen=True)
class Derived:
    """A derived architecture.

    Attributes:
        origin: "argmax" or "best".
        genotype: The architecture.
        undecided: Choices in which no operation is the most probable: one of the equals was taken.
        skips: Choices whose operation is a skip connection.
        replaced: Choices whose skip connection was replaced, because the limit was exceeded.
    """

    origin: str
    genotype: Genotype
    undecided: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def derive(
    space: SearchSpace, distribution: Distribution, source: str, max_skip_connections: int | None = None
) -> Derived:
    """Returns the architecture to train.

    A path that has the shape of a genotype is taken as it is. Of all other paths the space derives a genotype.

    Args:
        space: The space that was searched.
        distribution: What a search learned.
        source: "argmax" takes the most probable operations, as the paper does, or what the rule recommends where it
            does not mean them; "best" takes the architecture that was evaluated best during the search.
        max_skip_connections: The largest number of skip connections. If there are more, the least probable ones are
            replaced by the most probable other operation of their edge. None: no limit.

    Raises:
        ValueError: The distribution is of another space, "best" is asked for and the search completed no trial, or the
            space has no operation that can replace a skip connection.
    """
    require_limit(space, max_skip_connections)
    probabilities = _probabilities(space, distribution)
    path = distribution.argmax if source == "argmax" else distribution.best
    if path is None:
        raise ValueError("The search completed no trial, so there is no best evaluated architecture.")
    decisive = _leaning(space, probabilities, path)
    genotype = space.derive(decisive)
    undecided: Sequence[str] = ()
    # A rule may recommend another architecture than the most probable operations: docs/oracle_mathematics.md.
    if source == "argmax" and _most_probable(space, probabilities, path):
        undecided = search_signal.undecided(probabilities)
        # The paper's rule. In the cell space it may take other edges than the path, and it passes over `none`.
        if space.path(genotype) != path:
            decisive = probabilities
            genotype = space.derive(decisive)
    operations = {choice.name: choice.operations for choice in space.choices}
    replaced: list[str] = []
    while max_skip_connections is not None and len(skips := skip_connections(space, genotype)) > max_skip_connections:
        weakest = min(skips, key=lambda name: decisive[name][operations[name].index(SKIP)])
        replaced.append(weakest)
        values = zip(operations[weakest], decisive[weakest], strict=True)
        decisive = {**decisive, weakest: [-1.0 if name in (SKIP, NONE) else value for name, value in values]}
        genotype = space.derive(decisive)
    return Derived(source, genotype, tuple(undecided), skip_connections(space, genotype), tuple(replaced))


def skip_connections(space: SearchSpace, genotype: Genotype) -> tuple[str, ...]:
    """Returns the choices whose operation is a skip connection.

    Args:
        space: The search space of the genotype.
        genotype: The architecture.
    """
    return tuple(name for name, operation in space.path(genotype).items() if operation == SKIP)


def require_limit(space: SearchSpace, max_skip_connections: int | None) -> None:
    """Raises a ValueError if the space has no skip connections to limit, or nothing to replace them with."""
    offered = {operation for choice in space.choices for operation in choice.operations}
    if max_skip_connections is None:
        return
    if SKIP not in offered or not offered - {SKIP, NONE}:
        raise ValueError(
            f"config.derive.max_skip_connections: found {max_skip_connections}; expected None. The {space.name} space "
            f"offers {', '.join(sorted(offered))}: it needs {SKIP} and an operation to replace it with."
        )


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
