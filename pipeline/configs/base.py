"""The default of every setting, as a config; models/settings.py declares them, docs/settings.md lists them.

The other configs of this folder start from this one and change what differs.
"""

import typing

import ml_collections
from ml_collections import config_dict

from models.runtime.section import Section, leaves
from models.search_spaces.registry import unused
from models.settings import Settings


def get_config() -> ml_collections.ConfigDict:
    """Returns the settings shared by all configs, with the paper's figures where it gives any."""
    return _config(Settings())


def search_by_spectrum(config: ml_collections.ConfigDict, epochs: int) -> None:
    """Changes a config to the search that this project measured to be the best (docs/search.md).

    Args:
        config: The config, changed in place.
        epochs: The number of architectures that are scored.
    """
    config.search.objective = "spectrum"
    config.search.epochs = epochs
    config.oracle.rule = "interactions"
    config.oracle.interactions.trend = False  # scores do not change during a search, unlike shared weights


def drop_unused(config: ml_collections.ConfigDict) -> None:
    """Puts back the defaults of settings that a config inherits and has no use for in its space; changes the config."""
    defaults = {key: value for key, value, _ in leaves(Settings())}
    found = {key: defaults[key] for key in unused(Settings.parse(config)) if key in defaults}
    config.update_from_flattened_dict(found)


def _config(section: Section) -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    for name, value in section:
        if isinstance(value, Section):
            config[name] = _config(value)
        elif value is None:
            kind, _ = typing.get_args(type(section).model_fields[name].annotation)
            config[name] = config_dict.placeholder(kind)
        else:
            config[name] = value
    return config
