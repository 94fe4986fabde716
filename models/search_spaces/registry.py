"""Search spaces by name.

A search space is a module with a function `create(**options)` that returns a `SearchSpace` (base.py). Those that come
with this package are named by their file (`cell`, `mobile`), custom ones by dotted path.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from models.search_spaces.base import SearchSpace


def create_space(config: Mapping) -> SearchSpace:
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
    module_name = name if "." in name else f"{__package__}.{name}"
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
