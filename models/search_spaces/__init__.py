"""Search spaces: what can be chosen, the supernet to judge choices in, the network in the end.

A search space is a module with a function `create(**options)` that returns a `SearchSpace`. Those
that come with this package are named by their file (`cell`, `mobile`), your own by dotted path.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from models.architectures.choices import Choice, Path
from models.architectures.genotype import Genotype

if TYPE_CHECKING:
    import keras

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
        """A supernet with all operations of all choices, for images (height, width, channels).

        Its keyword parameters are settings of `config.search`.
        """

    def network(self, genotype: Genotype, input_shape: tuple[int, int, int], classes: int, **options) -> "keras.Model":
        """The network of a genotype, to be trained from scratch.

        Its keyword parameters are settings of `config.train`, `auxiliary` (whether it gets an auxiliary head) aside.
        """

    def genotype(self, path: "Path") -> Genotype:
        """The genotype that a sampled path is, all of it."""

    def derive(self, probabilities: Mapping[str, Sequence[float]]) -> Genotype:
        """The genotype that a distribution favours.

        Args:
            probabilities: for each choice the probability of each of its operations, in their
                order in `choices`.
        """

    def path(self, genotype: Genotype) -> dict[str, str]:
        """The path whose sub-network a genotype is: `genotype`'s inverse."""


def create(config: Mapping) -> SearchSpace:
    """The search space that a configuration describes.

    Args:
        config: `name`, and the options that the space's `create` takes; an empty one, () or None, is as if not
            given.

    Raises:
        ValueError: if there is no such space, or no such option.
    """
    options = {key: value for key, value in config.items() if value not in ((), [], None)}
    name = options.pop("name", None)
    if not isinstance(name, str) or not name:
        raise ValueError(f"space.name: found {name!r}; expected 'cell', 'mobile' or a dotted path")
    module_name = name if "." in name else f"{__name__}.{name}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"space.name: there is no search space {name!r}; expected 'cell', 'mobile' or the dotted path of a module"
        ) from error
    allowed = list(inspect.signature(module.create).parameters)
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(
            f"space: {name!r} has no option {', '.join(map(repr, unknown))}; expected {', '.join(allowed)}"
        )
    return module.create(**options)


def wanted(function: Callable, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that a space's `supernet` or `network` has parameters for.

    A chain of blocks has no number of cells; a space takes what it knows of `config.search` and `config.train`.
    """
    return {name: settings[name] for name in inspect.signature(function).parameters if name in settings}
