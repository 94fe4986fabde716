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
    """Plans a run within a budget: measures this machine on these images and chooses sizes, epochs and the recipe.

    The plan depends on measured times, so another execution would give another plan. A resumed or repeated run takes
    the plan of the first execution from ML Metadata's cache, like all results.
    """

    SPEC_CLASS = SearchPlannerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.SearchPlanner)

    def __init__(self, examples: channel.BaseChannel, image_report: channel.BaseChannel, *, settings: Settings):
        """Takes all settings; those without effect on the plan are left out of the component's parameters.

        Args:
            examples: Examples with the splits `train` and `val`.
            image_report: The report of the ImageValidator; nothing is planned for data that it refused.
            settings: All settings.
        """
        super().__init__(
            spec=SearchPlannerSpec(
                examples=examples,
                image_report=image_report,
                **_values(settings),
                plan=channel.Channel(type=artifacts.Plan),
            )
        )


class TrainingPlanner(base_component.BaseComponent):
    """Corrects a plan between search and training: measures the derived network and counts the seconds really used.

    The output `hyperparameters` has the content of the input `derived` and the settings that the Trainer is to use.
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
        """Takes what the SearchPlanner takes, and what has come since.

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
