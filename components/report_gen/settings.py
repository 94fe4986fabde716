"""The settings of a run: which were used, and a config file that asks for them again."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Settings = Mapping[str, Any]


def used(exec_properties: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings a run had: its config, but for what it was started with in place of that.

    On Kubeflow a compiled pipeline can be started with another seed, number of search epochs, training or source
    of the data. Elsewhere these parameters are as in the config.

    Args:
        exec_properties: ReportGen's.
    """
    settings = json.loads(exec_properties["config"])
    training = json.loads(exec_properties["training"])
    settings.update({section: training[section] for section in ("train", "serving") if section in training})
    settings["seed"] = exec_properties["seed"]
    settings["search"]["epochs"] = exec_properties["search_epochs"]
    settings["data"].update(
        data_dir=exec_properties["data_dir"],
        version=exec_properties["data_version"],
        image_folder=exec_properties["image_folder"],
    )
    return settings


def flat(settings: Settings) -> dict[str, Any]:
    """Returns all settings by dotted name."""
    return dict(_flat(settings))


def config_file(settings: Settings, defaults: Settings) -> str:
    """Returns a Python file whose `get_config()` returns the settings, as a change of pipeline/configs/base.py.

    Args:
        settings: The settings.
        defaults: Those of pipeline/configs/base.py.
    """
    known = flat(defaults)
    lines = [
        f"    config.{name} = {value!r}"
        for name, value in _flat(settings, defaults)
        if name not in known or value != known[name]
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


def _flat(settings: Settings, defaults: Settings | None = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields dotted names and values; a mapping that the defaults do not know as a section is a value."""
    for name, value in sorted(settings.items()):
        known = value if defaults is None else defaults.get(name)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            yield from _flat(value, None if defaults is None else known, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
