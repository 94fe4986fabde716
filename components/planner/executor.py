"""The executors of the SearchPlanner and TrainingPlanner components."""

import functools
import json
from collections.abc import Iterable
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.types import artifact, artifact_utils

from components.examples import load_splits
from components.parameters import parse_settings
from models.architectures.genotype import genotype_from_dict
from models.data import dataset_info
from models.planning import plan, planner
from models.planning.plan import Plan
from models.runtime import artifact_files, clock, progress
from models.settings import Settings

# The sections of the settings on which a plan depends.
SECTIONS = ("budget", "space", "search", "oracle", "data", "train", "baselines")


class SearchPlanner(base_executor.BaseExecutor):
    """Plans a run before its search."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters.

        Raises:
            ConfigError: The budget or the memory is too small for the smallest network.
        """
        settings = _settings(exec_properties)
        (examples,) = input_dict["examples"]
        made = Plan(0.0)
        if settings.budget.minutes:
            used = clock.seconds()
            before = [examples, *input_dict.get("soft_labels", ()), *input_dict.get("latency_table", ())]
            architecture = settings.architecture
            made = planner.plan_search(
                settings,
                functools.partial(load_splits, [examples], data=settings.data),
                genotype_from_dict(json.loads(architecture)) if architecture else None,
                sum(dataset_info.load(examples.uri).counts["test"]),
                # On Kubeflow each component has a process of its own, and the start of a pod does not count.
                _seconds(before) if used is None else used,
            )
        _write(made, output_dict)


class TrainingPlanner(base_executor.BaseExecutor):
    """Corrects the plan between search and training."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters."""
        settings = _settings(exec_properties)
        before = artifact_files.PLAN.load(artifact_utils.get_single_uri(input_dict["search_plan"]), Plan.from_document)
        derived = artifact_files.HYPERPARAMETERS.load(artifact_utils.get_single_uri(input_dict["derived"]), dict)
        searched = _seconds(input_dict.get("distribution", ()))
        made = before
        if before.minutes:
            made = planner.plan_training(
                settings,
                functools.partial(load_splits, input_dict["examples"], data=settings.data),
                genotype_from_dict(derived["genotype"]),
                before,
                searched,
                # After a kill, the clock of this process does not count the seconds of earlier processes.
                max(before.used + searched, clock.seconds() or 0.0),
            )
        _write(made, output_dict)
        content = {**derived, "settings": dict(made.choices), "seconds_after": made.after(plan.TRAINING)}
        artifact_files.HYPERPARAMETERS.save(artifact_utils.get_single_uri(output_dict["hyperparameters"]), content)


def _seconds(artifacts: Iterable[artifact.Artifact]) -> float:
    return sum(found.get_float_custom_property("seconds") for found in artifacts)


def _settings(exec_properties: dict[str, Any]) -> Settings:
    """Returns the settings in the component's parameters; the setting `architecture` is the JSON of a genotype."""
    settings = parse_settings(exec_properties, *SECTIONS)
    return settings.model_copy(update={"architecture": exec_properties["architecture"]})


def _write(made: Plan, output_dict: dict[str, list[artifact.Artifact]]) -> None:
    """Writes a plan and shows it."""
    artifact_files.PLAN.save(artifact_utils.get_single_uri(output_dict["plan"]), made.document())
    if made.minutes:
        for line in made.lines():
            progress.say(line)
    for warning in made.warnings:
        logging.warning("%s", warning)
