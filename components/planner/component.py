"""The interfaces of the SearchPlanner and TrainingPlanner components."""

import json
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.planner import executor
from models.architectures import presets
from models.settings import Settings

_PARAMETERS = {
    **{name: component_spec.ExecutionParameter(type=str) for name in (*executor.SECTIONS, "architecture")},
    "budget_minutes": component_spec.ExecutionParameter(type=float),
    **{
        name: component_spec.ExecutionParameter(type=int)
        for name in ("search_epochs", "seed", "deterministic", "tuned_kernels")
    },
}


class SearchPlannerSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of SearchPlanner."""

    PARAMETERS = _PARAMETERS
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "image_report": component_spec.ChannelParameter(type=artifacts.ImageReport),
        "soft_labels": component_spec.ChannelParameter(type=artifacts.SoftLabels, optional=True),
        "latency_table": component_spec.ChannelParameter(type=artifacts.LatencyTable, optional=True),
    }
    OUTPUTS = {"plan": component_spec.ChannelParameter(type=artifacts.Plan)}


class TrainingPlannerSpec(component_spec.ComponentSpec):
    """Inputs, parameters and outputs of TrainingPlanner."""

    PARAMETERS = _PARAMETERS
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "search_plan": component_spec.ChannelParameter(type=artifacts.Plan),
        "derived": component_spec.ChannelParameter(type=standard_artifacts.HyperParameters),
        "distribution": component_spec.ChannelParameter(type=artifacts.Distribution, optional=True),
    }
    OUTPUTS = {
        "plan": component_spec.ChannelParameter(type=artifacts.Plan),
        "hyperparameters": component_spec.ChannelParameter(type=standard_artifacts.HyperParameters),
    }


class SearchPlanner(base_component.BaseComponent):
    """Plans a run with a budget.

    The component measures how fast this machine works with these images. From this it chooses the size of the network,
    the epochs and the recipe of the training. The plan depends on measured times, so another execution would give
    another plan. A resumed or repeated run takes the plan of the first execution from ML Metadata's cache, like all
    results.
    """

    SPEC_CLASS = SearchPlannerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.SearchPlanner)

    def __init__(
        self,
        examples: channel.BaseChannel,
        image_report: channel.BaseChannel,
        soft_labels: channel.BaseChannel | None = None,
        latency_table: channel.BaseChannel | None = None,
        *,
        settings: Settings,
    ):
        """Takes all settings. The component's parameters contain only those that affect the plan.

        Args:
            examples: Examples with the splits `train` and `val`.
            image_report: The report of the ImageValidator. It does not exist if the data were refused, and then there
                is no plan.
            soft_labels: The result of Teacher, which records its seconds; None without a teacher.
            latency_table: The result of LatencyTable, which records its seconds; None without a table.
            settings: All settings.
        """
        super().__init__(
            spec=SearchPlannerSpec(
                examples=examples,
                image_report=image_report,
                soft_labels=soft_labels,
                latency_table=latency_table,
                **_values(settings),
                plan=channel.Channel(type=artifacts.Plan),
            )
        )


class TrainingPlanner(base_component.BaseComponent):
    """Corrects the plan between search and training.

    The component measures the derived network and counts the seconds that were really used. The output
    `hyperparameters` contains three things: the content of the input `derived`; the settings that the plan chooses for
    the Trainer; and the seconds that are planned for the stages after the training.
    """

    SPEC_CLASS = TrainingPlannerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.TrainingPlanner)

    def __init__(
        self,
        examples: channel.BaseChannel,
        search_plan: channel.BaseChannel,
        derived: channel.BaseChannel,
        distribution: channel.BaseChannel | None = None,
        *,
        settings: Settings,
    ):
        """Takes the inputs of the planning.

        Args:
            examples: Examples with the splits `train` and `val`.
            search_plan: The plan of the SearchPlanner.
            derived: The architecture, as ArchitectureDeriver or ArchitectureImporter write it for the Trainer.
            distribution: The result of the search, which records its seconds; None if the architecture was given.
            settings: All settings.
        """
        super().__init__(
            spec=TrainingPlannerSpec(
                examples=examples,
                search_plan=search_plan,
                derived=derived,
                distribution=distribution,
                **_values(settings),
                plan=channel.Channel(type=artifacts.Plan),
                hyperparameters=channel.Channel(type=standard_artifacts.HyperParameters),
            )
        )


def _values(settings: Settings) -> dict[str, Any]:
    """Returns the values of the parameters.

    Raises:
        GenotypeError: `config.architecture` is unknown, cannot be read or is malformed.
    """
    architecture = ""
    if settings.architecture:
        genotype, _ = presets.resolve_architecture(settings.architecture)
        architecture = json.dumps(genotype.to_dict(), sort_keys=True)
    return {
        **{name: getattr(settings, name).to_json(with_effect=True) for name in executor.SECTIONS},
        "architecture": architecture,
        "budget_minutes": settings.budget.minutes,
        "search_epochs": settings.search.epochs,
        "seed": settings.seed,
        "deterministic": int(settings.deterministic),
        "tuned_kernels": int(settings.tuned_kernels),
    }
