"""The ArchitectureImporter component: its interface."""

import json

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.architecture_importer import executor
from models.architectures import presets


class ArchitectureImporterSpec(component_spec.ComponentSpec):
    """Inputs, parameters and outputs of ArchitectureImporter."""

    PARAMETERS = {
        "architecture": component_spec.ExecutionParameter(type=str),
        "origin": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"image_report": component_spec.ChannelParameter(type=artifacts.ImageReport)}
    OUTPUTS = {
        "genotype": component_spec.ChannelParameter(type=artifacts.Genotype),
        "hyperparameters": component_spec.ChannelParameter(type=standard_artifacts.HyperParameters),
    }


class ArchitectureImporter(base_component.BaseComponent):
    """Brings a known architecture into the pipeline in place of a search, with a note of where it came from."""

    SPEC_CLASS = ArchitectureImporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, image_report: channel.BaseChannel, *, architecture: str):
        """Reads and checks the architecture at once, so that a mistake shows before anything runs.

        Args:
            image_report: What the ImageValidator found; training does not start on data it refused.
            architecture: The name of a preset (models/architectures/presets.py) or the path of a genotype's JSON file.

        Raises:
            GenotypeError: Unknown preset, unreadable file or malformed genotype.
        """
        genotype, origin = presets.resolve_architecture(architecture)
        super().__init__(
            spec=ArchitectureImporterSpec(
                image_report=image_report,
                # The content, not the path: a changed file is another execution, and Kubeflow has no such file.
                architecture=json.dumps(genotype.to_dict(), sort_keys=True),
                origin=origin,
                genotype=channel.Channel(type=artifacts.Genotype),
                hyperparameters=channel.Channel(type=standard_artifacts.HyperParameters),
            )
        )
