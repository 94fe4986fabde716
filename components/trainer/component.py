"""The Trainer component: TFX's Trainer with two more inputs."""

from typing import Any

from tfx.components.trainer import component
from tfx.dsl.components.base import executor_spec
from tfx.types import channel, component_spec, standard_component_specs

from components import artifacts
from components.trainer import executor


class TrainerSpec(standard_component_specs.TrainerSpec):
    """The inputs of TFX's Trainer, and two more."""

    INPUTS = {
        **standard_component_specs.TrainerSpec.INPUTS,
        "soft_labels": component_spec.ChannelParameter(type=artifacts.SoftLabels, optional=True),
        "supernet": component_spec.ChannelParameter(type=artifacts.SupernetWeights, optional=True),
    }


class Trainer(component.Trainer):
    """Trains the network of an architecture, as TFX's Trainer does, with two more inputs for `run_fn`.

    `custom_config` contains the folders of the inputs as `soft_labels` and `supernet`.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        soft_labels: channel.BaseChannel | None = None,
        supernet: channel.BaseChannel | None = None,
        **arguments: Any,
    ):
        """Takes the two inputs, and the arguments of TFX's Trainer.

        Args:
            soft_labels: The result of Teacher; None without a teacher.
            supernet: The weights with which the network starts; None for fresh ones.
            arguments: As for TFX's Trainer.
        """
        super().__init__(**arguments)
        for name, found in (("soft_labels", soft_labels), ("supernet", supernet)):
            if found:
                self.spec.inputs[name] = found
