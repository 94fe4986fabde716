"""Search spaces by name.

A search space is a module with a function `create(**options)` that returns a `SearchSpace` (base.py). Those that come
with this package are named by their file (`cell`, `mobile`), custom ones by dotted path.
"""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import pydantic

from models.oracle.rules.registry import RULES
from models.runtime.section import leaves
from models.search_spaces.base import SearchSpace
from models.settings import Search, Settings, Space, Train


def create_space(settings: Space) -> SearchSpace:
    """Returns the search space that the settings describe.

    Args:
        settings: `config.space`. A custom space's options are checked by the pydantic model `Options` of its module, or
            else by the parameters of its `create`.

    Raises:
        ValueError: There is no such space, or no such option.
    """
    options = {key: value for key, value in settings if value not in ((), [], None)}
    name = options.pop("name")
    module_name = name if "." in name else f"{__package__}.{name}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks one that it imports
        raise ValueError(
            f"config.space.name: found {name!r}; expected 'cell', 'mobile' or the dotted path of a module."
        ) from error
    if hasattr(module, "Options"):
        try:
            options = dict(module.Options(**options))
        except pydantic.ValidationError as error:
            raise ValueError(f"config.space: {error}") from error
    allowed = list(inspect.signature(module.create).parameters)
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(
            f"config.space: {name!r} has no option {', '.join(map(repr, unknown))}; expected {', '.join(allowed)}."
        )
    return module.create(**options)


def supernet_options(space: SearchSpace, search: Search) -> dict[str, Any]:
    """Returns the settings of `config.search` that a space's supernet has parameters for.

    Raises:
        ValueError: It has a parameter that is no setting.
    """
    return _taken(space, "supernet", dict(search), "search")


def network_options(space: SearchSpace, train: Train) -> dict[str, Any]:
    """Returns the settings of `config.train` that a space's network has parameters for.

    `auxiliary` is whether the network gets an auxiliary head.

    Raises:
        ValueError: It has a parameter that is no setting.
    """
    return _taken(space, "network", {**dict(train), "auxiliary": train.auxiliary_weight > 0}, "train")


def unused(settings: Settings) -> dict[str, str]:
    """Returns the settings that a run has no use for, and why: dotted name -> reason.

    These are options of rules that are not chosen, and what describes networks of other spaces.

    Raises:
        ValueError: There is no such space, or no such option.
    """
    space = create_space(settings.space)
    found = {}
    for key, _, known in leaves(settings):
        section, _, name = key.partition(".")
        if section == "oracle" and "." in name and not name.startswith(f"{settings.oracle.rule}."):
            found[key] = f"the rule {settings.oracle.rule!r} (config.oracle.rule) has no use for it"
        elif key == "oracle.custom" and settings.oracle.rule in RULES:
            found[key] = f"the rule {settings.oracle.rule!r} (config.oracle.rule) is no custom one"
        elif known.network and not _takes(space, section, name):
            found[key] = f"the {space.name} space (config.space.name) has no use for it"
    return found


def _takes(space: SearchSpace, section: str, name: str) -> bool:
    function = getattr(space, {"search": "supernet", "train": "network"}[section], None)
    parameter = "auxiliary" if name == "auxiliary_weight" else name
    return function is None or parameter in inspect.signature(function).parameters


def _taken(space: SearchSpace, method: str, settings: Mapping[str, Any], section: str) -> dict[str, Any]:
    parameters = list(inspect.signature(getattr(space, method)).parameters)[2:]  # after the image's shape and classes
    if method == "network":
        parameters = parameters[1:]  # the genotype comes first
    unknown = [name for name in parameters if name not in settings]
    if unknown:
        raise ValueError(
            f"The {method} of the {space.name} space takes {', '.join(map(repr, unknown))}; expected settings of "
            f"config.{section}. Let the space take options of its own as config.space.NAME."
        )
    return {name: settings[name] for name in parameters}
