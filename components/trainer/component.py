"""The interface of the Trainer component."""

from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import channel, component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components import artifacts
from components.trainer import executor


class TrainerSpec(standard_component_specs.TrainerSpec):
    """The specification of TFX's Trainer, with two more inputs."""

    INPUTS = {
        **standard_component_specs.TrainerSpec.INPUTS,
        "soft_labels": component_spec.ChannelParameter(type=artifacts.SoftLabels, optional=True),
        "supernet": component_spec.ChannelParameter(type=artifacts.SupernetWeights, optional=True),
    }


class Trainer(base_component.BaseComponent):
    """Trains the network of an architecture on the splits `train` and `val`.

    The component calls `models.trainer.run_fn`, as TFX's Trainer does. The two inputs that TFX's Trainer does not have
    are folders in the `custom_config` of this function.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        hyperparameters: channel.BaseChannel,
        soft_labels: channel.BaseChannel | None = None,
        supernet: channel.BaseChannel | None = None,
        *,
        custom_config: Mapping[str, Any],
    ):
        """Takes the inputs and the settings of the training.

        Args:
            examples: Examples with splits `train`, `val` and `test`.
            hyperparameters: The architecture, as ArchitectureDeriver, ArchitectureImporter or TrainingPlanner write it.
            soft_labels: The result of Teacher; None without a teacher.
            supernet: The weights with which the network starts; None for fresh ones.
            custom_config: The settings, as `models.trainer.run_fn` takes them.
        """
        super().__init__(
            spec=TrainerSpec(
                examples=examples,
                hyperparameters=hyperparameters,
                soft_labels=soft_labels,
                supernet=supernet,
                run_fn="models.trainer.run_fn",
                train_args=trainer_pb2.TrainArgs(splits=["train", "val"]),
                eval_args=trainer_pb2.EvalArgs(splits=["test"]),
                custom_config=json_utils.dumps(dict(custom_config)),
                model=channel.Channel(type=standard_artifacts.Model),
                model_run=channel.Channel(type=standard_artifacts.ModelRun),
            )
        )
