"""What a search space is."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from models.architectures.choices import Choice, Path
from models.architectures.genotype import Genotype

if TYPE_CHECKING:
    import keras
    import numpy as np

    from models.networks.supernet import Supernet


class SearchSpace(Protocol):
    """What the tuner, the oracle, the deriver and the report know of a search space.

    Attributes:
        name: what configurations call it.
        choices: all choices, in a fixed order.
    """

    name: str
    choices: tuple[Choice, ...]

    def supernet(self, input_shape: tuple[int, int, int], classes: int, **options) -> "Supernet":
        """Returns a supernet with all operations of all choices, for images (height, width, channels).

        Its keyword parameters are settings of `config.search`.
        """
        ...

    def network(self, genotype: Genotype, input_shape: tuple[int, int, int], classes: int, **options) -> "keras.Model":
        """Returns the network of a genotype, to be trained from scratch.

        Its keyword parameters are settings of `config.train`, `auxiliary` (whether it gets an auxiliary head) aside.
        """
        ...

    def genotype(self, path: "Path") -> Genotype:
        """Returns the genotype of a sampled path, with every choice."""
        ...

    def derive(self, probabilities: Mapping[str, Sequence[float]]) -> Genotype:
        """Returns the genotype that a distribution favours.

        Args:
            probabilities: for each choice the probability of each of its operations, in their
                order in `choices`.
        """
        ...

    def repair(self, path: "Path", generator: "np.random.Generator") -> dict[str, str]:
        """Returns the path of a genotype that `derive` could give, close to a sampled path.

        What is evaluated then is what would be built. The path comes back as it is where it is such a path already.

        Args:
            path: the operation of each choice.
            generator: decides where there are several as close.
        """
        ...

    def path(self, genotype: Genotype) -> dict[str, str]:
        """Returns the path whose sub-network a genotype is: `genotype`'s inverse."""
        ...


def random_path(space: SearchSpace, generator: "np.random.Generator") -> dict[str, str]:
    """Returns a random path of the shape that a search evaluates: every operation is drawn uniformly, then repaired.

    Args:
        space: the search space.
        generator: draws the operations, and decides in `repair`.
    """
    path = {choice.name: choice.operations[generator.integers(len(choice.operations))] for choice in space.choices}
    return space.repair(path, generator)
