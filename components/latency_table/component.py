"""The interface of the LatencyTable component."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.latency_table import executor
from models import settings


class LatencyTableSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of LatencyTable."""

    PARAMETERS = {
        "space": component_spec.ExecutionParameter(type=str),
        "derive": component_spec.ExecutionParameter(type=str),
        "training": component_spec.ExecutionParameter(type=str),
        "given": component_spec.ExecutionParameter(type=str, optional=True),
        "device": component_spec.ExecutionParameter(type=str, optional=True),
        "checkpoint_dir": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "image_report": component_spec.ChannelParameter(type=artifacts.ImageReport),
    }
    OUTPUTS = {"latency_table": component_spec.ChannelParameter(type=artifacts.LatencyTable)}


class LatencyTable(base_component.BaseComponent):
    """Measures how long each operation of the space takes on this device, or takes a table of another device.

    The deriver predicts the latency of architectures from the table (models/costs/latency_table.py). The component
    fails before the search if no architecture is within all limits of `config.derive.budget`.
    """

    SPEC_CLASS = LatencyTableSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        image_report: channel.BaseChannel,
        *,
        space: settings.Space,
        derive: settings.Derive,
        training: str,
        given: str | None,
        device: str | None,
        checkpoint_dir: str,
    ):
        """Takes what the latency of a network depends on.

        Args:
            examples: Examples of TfdsExampleGen, for the shape of the images and the number of classes.
            image_report: The report of the ImageValidator; it does not exist if the data were refused.
            space: `config.space`.
            derive: `config.derive`.
            training: The Trainer's parameter `custom_config`.
            given: The content of the file `config.derive.latency_table`, so that a changed file is not taken for the
                cached one; None: the table is measured.
            device: Describes the device that measures, so that a table of another device is not taken for the cached
                one; None if this is not known before the run.
            checkpoint_dir: The folder of an unfinished table, which the next execution continues.
        """
        super().__init__(
            spec=LatencyTableSpec(
                examples=examples,
                image_report=image_report,
                space=space.to_json(),
                derive=derive.to_json(),
                training=training,
                given=given,
                device=device,
                checkpoint_dir=checkpoint_dir,
                latency_table=channel.Channel(type=artifacts.LatencyTable),
            )
        )
