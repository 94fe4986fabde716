"""The executor of the ArchitectureDeriver component."""

from collections.abc import Iterator
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.types import artifact, artifact_utils

from components.genotype_io import write_genotype
from models.oracle.distribution import Distribution
from models.runtime import artifact_files
from models.runtime.messages import some
from models.search import derivation
from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import create_space
from models.settings import Derive, Space


class Executor(base_executor.BaseExecutor):
    """Derives an architecture and writes it."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters."""
        space = create_space(Space.from_json(exec_properties["space"]))
        derive = Derive.from_json(exec_properties["derive"])
        uri = artifact_utils.get_single_uri(input_dict["distribution"])
        distribution = artifact_files.DISTRIBUTION.load(uri, Distribution.from_document)
        derived = derivation.derive(space, distribution, derive.source, derive.max_skip_connections)
        warnings = [*_undecided(len(derived.undecided), len(space.choices)), *_skips(derived, space)]
        for warning in warnings:
            logging.warning("%s", warning)
        learned = len(derived.undecided) < len(space.choices)
        write_genotype(
            output_dict,
            derived.genotype,
            f"search, {derived.origin}" if learned else "a uniform distribution, not a search",
            source=derived.origin if learned else None,
            warnings=warnings,
        )


def _undecided(undecided: int, choices: int) -> list[str]:
    if not undecided:
        return []
    if undecided == choices:
        return [
            "The distribution is still uniform: the search has learned nothing, and the architecture is no better than "
            "any other. Give it more epochs (config.search.epochs)."
        ]
    return [
        f"In {undecided} of {choices} choices the distribution prefers no operation. The derivation took one of the "
        "most probable operations."
    ]


def _skips(derived: derivation.Derived, space: SearchSpace) -> Iterator[str]:
    if derived.replaced:
        yield (
            f"config.derive.max_skip_connections: another operation replaced the skip connection of "
            f"{some(derived.replaced, 3)}. The search chose the architecture with these skip connections, not the one "
            "without them."
        )
    edges = sum(operation != derivation.NONE for operation in space.path(derived.genotype).values())
    if 2 * len(derived.skips) > edges:
        yield (
            f"More than half of the {edges} edges are skip connections: {len(derived.skips)}. Such architectures often "
            "learn fast at first, but are less accurate in the end. Limit them with "
            "config.derive.max_skip_connections, or search longer."
        )
