"""The executor of the ArchitectureDeriver component."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.types import artifact, artifact_utils

from components.genotype_io import write_genotype
from models.costs.latency_table import LatencyTable
from models.costs.networks import network_costs
from models.data import dataset_info
from models.oracle.distribution import Distribution
from models.oracle.multinomial import Multinomial
from models.runtime import artifact_files
from models.runtime.messages import some
from models.search import derivation
from models.search.budgeted import FRONT_COST, Candidate, Selector
from models.search.front import Front, Point
from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import create_space
from models.settings import Data, Derive, Space, Train


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
        selector = _selector(space, derive, input_dict, exec_properties) if derive.needs_costs else None
        limits = derive.budget.limits
        notes: dict[str, Any] = {}
        derived = derivation.derive(space, distribution, derive.source, derive.max_skip_connections)
        if selector and limits:
            genotype = selector.best(limits).genotype
            skips = derivation.skip_connections(space, genotype)
            derived = dataclasses.replace(derived, genotype=genotype, skips=skips, replaced=())
        if selector:
            chosen = selector.candidate(space.path(derived.genotype))
            notes["budget"] = {"limits": limits, **Point.of(chosen).document()}
            if derive.front:
                _write_front(output_dict, selector, chosen, derive)
        warnings = [*_undecided(len(derived.undecided), len(space.choices)), *_skips(derived, space)]
        for warning in warnings:
            logging.warning("%s", warning)
        learned = len(derived.undecided) < len(space.choices)
        within = " within the budget" if limits else ""
        write_genotype(
            output_dict,
            derived.genotype,
            f"search, {derived.origin}{within}" if learned else "a uniform distribution, not a search",
            source=derived.origin if learned else None,
            warnings=warnings,
            **notes,
        )


def _selector(
    space: SearchSpace, derive: Derive, input_dict: dict[str, list[artifact.Artifact]], exec_properties: dict[str, Any]
) -> Selector:
    """Returns the selector of architectures by cost and predicted score, for final networks of the configured size."""
    training = json.loads(exec_properties["training"])
    train, data = Train.parse(training["train"], "train"), Data.parse(training["data"], "data")
    info = dataset_info.load(artifact_utils.get_single_uri(input_dict["examples"]))
    shape = info.image_shape(data.image_size, data.channels)
    costs = network_costs(space, train, shape, len(info.class_names))
    if input_dict.get("latency_table"):
        uri = artifact_utils.get_single_uri(input_dict["latency_table"])
        costs = (*costs, artifact_files.LATENCY_TABLE.load(uri, LatencyTable.model_validate).cost())
    uri = artifact_utils.get_single_uri(input_dict["distribution"])
    return Selector(
        space,
        artifact_files.DISTRIBUTION.load(uri, Multinomial.from_document),
        costs,
        derive.max_skip_connections,
        training["seed"],
    )


def _write_front(
    output_dict: dict[str, list[artifact.Artifact]], selector: Selector, chosen: Candidate, derive: Derive
) -> None:
    """Writes a front: its architectures, and a file that lists them."""
    uri = artifact_utils.get_single_uri(output_dict["genotype"])
    cost = next(iter(derive.budget.limits), FRONT_COST)
    points = []
    for number, candidate in enumerate(selector.front(derive.front, cost)):
        file = artifact_files.front_genotype(number)
        file.save(uri, candidate.genotype.to_dict())
        points.append(Point.of(candidate, file.name))
    artifact_files.FRONT.save(uri, Front(cost, points, Point.of(chosen)).document())


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
