"""The interface of the ArchitectureImporter component."""

import json

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.architecture_importer import executor
from components.architecture_importer.source import origin_of
from models.architectures import presets


class ArchitectureImporterSpec(component_spec.ComponentSpec):
    """Inputs, parameters and outputs of ArchitectureImporter."""

    PARAMETERS = {
        "architecture": component_spec.ExecutionParameter(type=str),
        "origin": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "image_report": component_spec.ChannelParameter(type=artifacts.ImageReport),
        "source": component_spec.ChannelParameter(type=artifacts.Genotype, optional=True),
    }
    OUTPUTS = {
        "genotype": component_spec.ChannelParameter(type=artifacts.Genotype),
        "hyperparameters": component_spec.ChannelParameter(type=standard_artifacts.HyperParameters),
    }


class ArchitectureImporter(base_component.BaseComponent):
    """Brings a known architecture into the pipeline in place of a search, and records its source."""

    SPEC_CLASS = ArchitectureImporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self, image_report: channel.BaseChannel, source: channel.BaseChannel | None = None, *, architecture: str
    ):
        """Reads and checks the architecture at once, so that a mistake is reported before anything runs.

        Args:
            image_report: The report of the ImageValidator; training does not start with data that the ImageValidator
                refused.
            source: The artifact of an earlier run in which the genotype's file lies; None if it lies elsewhere.
            architecture: The name of a preset (models/architectures/presets.py) or the path of a genotype's JSON file.

        Raises:
            GenotypeError: The preset is unknown, the file cannot be read, or the genotype is malformed.
        """
        genotype, origin = presets.resolve_architecture(architecture)
        if how := origin_of(architecture):
            origin += f" ({how})"
        super().__init__(
            spec=ArchitectureImporterSpec(
                image_report=image_report,
                source=source,
                # The parameter is the content of the file, not its path: a changed file is not taken for the cached
                # one, and Kubeflow's pods do not have the file.
                architecture=json.dumps(genotype.to_dict(), sort_keys=True),
                origin=origin,
                genotype=channel.Channel(type=artifacts.Genotype),
                hyperparameters=channel.Channel(type=standard_artifacts.HyperParameters),
            )
        )
