"""components/parameters.py."""

import pytest

from components.parameters import parse_settings
from models.settings import ConfigError, Data, Search

PARAMETERS = {
    "search": Search(epochs=3, cells=2).to_json(),
    "data": Data(image_size=8).to_json(),
    "deterministic": 0,
    "tuned_kernels": 1,
    "seed": 5,
    "checkpoint_dir": "not a setting",
}


def test_sections_and_runtime_parameters_become_settings():
    settings = parse_settings({**PARAMETERS, "search_epochs": 7}, "search", "data")
    assert settings.search == Search(epochs=7, cells=2) and settings.data == Data(image_size=8)
    assert (settings.seed, settings.deterministic, settings.tuned_kernels) == (5, False, True)
    assert parse_settings(PARAMETERS, "search").search.epochs == 3


def test_an_impossible_runtime_parameter_is_refused():
    with pytest.raises(ConfigError, match=r"config\.search\.epochs: found 0"):
        parse_settings({**PARAMETERS, "search_epochs": 0}, "search")
