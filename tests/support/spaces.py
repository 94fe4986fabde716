"""Search spaces as a config asks for them."""

from collections.abc import Mapping
from typing import Any

from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import create_space
from models.settings import Settings


def make_space(space: Mapping[str, Any]) -> SearchSpace:
    """Returns the space of a section `config.space`."""
    return create_space(Settings.parse({"space": space}).space)
