"""Search spaces by name.

A search space is a module with a function `create(**options)` that returns a `SearchSpace` (base.py). Those that come
with this package are named by their file (`cell`, `mobile`), custom ones by dotted path.
"""

import importlib
import inspect
import types
from collections.abc import Mapping
from typing import Any

import pydantic

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
    module = _module(name)
    if hasattr(module, "Options"):
        try:
            options = dict(module.Options(**options))
        except pydantic.ValidationError as error:
            raise ValueError("\n".join(_told(problem) for problem in error.errors())) from error
    allowed = list(inspect.signature(module.create).parameters)
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(
            f"config.space: {name!r} has no option {', '.join(map(repr, unknown))}; expected {', '.join(allowed)}."
        )
    return module.create(**options)


def _module(name: str) -> types.ModuleType:
    """Imports the module of a search space.

    Raises:
        ValueError: There is none of this name, or it makes no search space.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(_unknown(name))
    module_name = name if "." in name else f"{__package__}.{name}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks one that it imports
        raise ValueError(_unknown(name)) from error
    if not hasattr(module, "create"):
        raise ValueError(f"{_unknown(name)} The module {module_name} has no function `create`.")
    return module


def _unknown(name: str) -> str:
    return (
        f"config.space.name: found {name!r}; expected 'cell', 'mobile', 'nasbench201' or the dotted path of a module."
    )


def _told(problem: Mapping[str, Any]) -> str:
    """Returns a problem that pydantic found in a custom space's options, in the words of all messages."""
    return f"config.space.{'.'.join(map(str, problem['loc']))}: found {problem['input']!r}; {problem['msg']}."


def supernet_options(space: SearchSpace, search: Search) -> dict[str, Any]:
    """Returns the settings of `config.search` that a space's supernet has parameters for.

    Raises:
        ValueError: It has a parameter that is no setting.
    """
    return _taken(space, "supernet", dict(search), "search")


def scored_options(space: SearchSpace, train: Train) -> dict[str, Any]:
    """Returns the settings of `config.train` that size a supernet like the final network.

    Raises:
        ValueError: The space's supernet has a parameter that is no such setting.
    """
    return _taken(space, "supernet", dict(train), "train")


def network_options(space: SearchSpace, train: Train) -> dict[str, Any]:
    """Returns the settings of `config.train` that a space's network has parameters for.

    `auxiliary` is whether the network gets an auxiliary head.

    Raises:
        ValueError: It has a parameter that is no setting.
    """
    return _taken(space, "network", {**dict(train), "auxiliary": train.auxiliary_weight > 0}, "train")


def unused(settings: Settings) -> dict[str, str]:
    """Returns the settings that a run has no use for, and why: dotted name -> reason.

    These are options of rules that are not chosen, what describes networks of other spaces, and what describes
    baselines, formats, costs or a teacher that are not asked for.

    Raises:
        ValueError: There is no such space, or no such option.
    """
    space = create_space(settings.space)
    parts = {name: getattr(settings, name) for name in ("baselines", "derive", "export", "train")}
    without_use = {section: part.unused() for section, part in parts.items()}
    found = {}
    for key, _, known in leaves(settings):
        section, _, name = key.partition(".")
        if not settings.chosen(key):
            found[key] = f"the rule {settings.oracle.rule!r} (config.oracle.rule) has no use for it"
        elif known.objective not in ("", settings.search.objective):
            found[key] = f"the objective {settings.search.objective!r} (config.search.objective) has no use for it"
        elif name in without_use.get(section, {}):
            found[key] = without_use[section][name]
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
