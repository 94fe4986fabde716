"""The settings of a run: their values, and a config file with these values."""

import json
from collections.abc import Mapping
from typing import Any

from components.parameters import set_runtime_parameters
from models.runtime.section import leaves
from models.search_spaces.registry import unused
from models.settings import Settings


def used(exec_properties: Mapping[str, Any]) -> Settings:
    """Returns the settings of a run: its config, with the values of the parameters at its start.

    On Kubeflow, each start of a compiled pipeline can set some settings anew (`runtime_parameters`), and the settings
    of the training. With the other runners these parameters have the values of the config.

    Args:
        exec_properties: The parameters of ReportGen.

    Raises:
        ConfigError: A setting is unknown or out of bounds.
    """
    settings = json.loads(exec_properties["settings"])
    training = json.loads(exec_properties["training"])
    settings.update({section: training[section] for section in ("train", "serving") if section in training})
    set_runtime_parameters(settings, exec_properties)
    return Settings.parse(settings)


def flat(settings: Settings) -> dict[str, Any]:
    """Returns the settings that the run used, by dotted name."""
    without_use = unused(settings)
    found = {key: value for key, value, _ in leaves(settings) if key not in without_use}
    return dict(sorted(found.items()))


def config_file(settings: Settings) -> str:
    """Returns a Python file whose `get_config()` changes pipeline/configs/base.py to these settings.

    The file contains the settings that the plan of a budget chose. It has no budget itself, because a new plan would
    choose other values.
    """
    defaults = {key: value for key, value, _ in leaves(Settings())}
    lines = [
        f"    config.{key} = {value!r}"
        for key, value in flat(settings).items()
        if not key.startswith("budget.") and (key not in defaults or value != defaults[key])
    ]
    return "\n".join(
        [
            "from pipeline.configs import base",
            "",
            "",
            "def get_config():",
            "    config = base.get_config()",
            *lines,
            "    return config",
            "",
        ]
    )
