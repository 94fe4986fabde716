"""The interface of the Exporter component."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.exporter import executor
from models import settings


class ExporterSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of Exporter."""

    PARAMETERS = {
        "export": component_spec.ExecutionParameter(type=str),
        "data": component_spec.ExecutionParameter(type=str),
        "seed": component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {"exports": component_spec.ChannelParameter(type=artifacts.Exports)}


class Exporter(base_component.BaseComponent):
    """Converts the trained model to other formats, and verifies each file on test images (models/exports)."""

    SPEC_CLASS = ExporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        model: channel.BaseChannel,
        *,
        export: settings.Export,
        data: settings.Data,
        seed: int,
    ):
        """Takes the model, the images and the formats.

        Args:
            examples: Examples with splits `val` (for the calibration of int8) and `test`.
            model: The final network, as the Trainer exported it.
            export: `config.export`.
            data: `config.data`.
            seed: Decides which images are used.
        """
        super().__init__(
            spec=ExporterSpec(
                examples=examples,
                model=model,
                export=export.to_json(),
                data=data.to_json(),
                seed=seed,
                exports=channel.Channel(type=artifacts.Exports),
            )
        )
