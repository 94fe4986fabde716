"""Settings from the parameters of a component."""

import json
from collections.abc import Mapping
from typing import Any

from models.settings import Settings, runtime_parameters


def parse_settings(exec_properties: Mapping[str, Any], *sections: str) -> Settings:
    """Returns the settings of an executor; settings that are not among the parameters have their defaults.

    Args:
        exec_properties: The parameters: each section as JSON, `deterministic` and `tuned_kernels` as 0 or 1, and some
            runtime parameters.
        sections: The names of the sections among the parameters.

    Raises:
        ConfigError: A setting is unknown or out of bounds.
    """
    values = {name: json.loads(exec_properties[name]) for name in sections}
    values |= {name: bool(exec_properties[name]) for name in ("deterministic", "tuned_kernels")}
    set_runtime_parameters(values, exec_properties)
    return Settings.parse(values)


def set_runtime_parameters(values: dict[str, Any], exec_properties: Mapping[str, Any]) -> None:
    """Replaces settings by the runtime parameters among a component's parameters.

    Args:
        values: Names and values of settings, nested for sections; changed in place.
        exec_properties: The parameters of the component.
    """
    for name, key in runtime_parameters().items():
        if name in exec_properties:
            *sections, setting = key.split(".")
            section = values
            for part in sections:
                section = section[part]
            section[setting] = exec_properties[name]
