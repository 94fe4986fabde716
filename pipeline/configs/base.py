"""The defaults of all settings, as a config. models/settings.py declares the settings, docs/settings.md lists them.

The other configs of this folder start from this config and change some of its values.
"""

import typing

import ml_collections
from ml_collections import config_dict

from models.runtime.section import Section, leaves
from models.search_spaces.registry import unused
from models.settings import Settings


def get_config() -> ml_collections.ConfigDict:
    """Returns a config in which every setting has its default."""
    return _config(Settings())


def search_by_spectrum(config: ml_collections.ConfigDict, epochs: int) -> None:
    """Changes a config to a search by spectral scores, the best search that this project measured (docs/search.md).

    Args:
        config: The config, changed in place.
        epochs: The number of architectures that are scored.
    """
    config.search.objective = "spectrum"
    config.search.epochs = epochs
    config.oracle.rule = "interactions"
    config.oracle.interactions.trend = False  # unlike accuracies on shared weights, scores do not change


def drop_unused(config: ml_collections.ConfigDict) -> None:
    """Resets settings that a config inherits, but does not use in its search space, to their defaults, in place."""
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
