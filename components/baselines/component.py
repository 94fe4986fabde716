"""The interface of the Baselines component."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.baselines import executor
from models import settings
from models.baselines import pretrained


class BaselinesSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of Baselines."""

    PARAMETERS = {
        "baselines": component_spec.ExecutionParameter(type=str),
        "files": component_spec.ExecutionParameter(type=str),
        "checkpoint_dir": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
        "distribution": component_spec.ChannelParameter(type=artifacts.Distribution, optional=True),
        "soft_labels": component_spec.ChannelParameter(type=artifacts.SoftLabels, optional=True),
    }
    OUTPUTS = {"comparison": component_spec.ChannelParameter(type=artifacts.Baselines)}


class Baselines(base_component.BaseComponent):
    """Trains simple networks on the same images, and shows whether the final network is better than they are.

    All networks are tested on the same test images. McNemar's exact test compares their predictions
    (models/baselines/verdict.py).
    """

    SPEC_CLASS = BaselinesSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        model: channel.BaseChannel,
        model_run: channel.BaseChannel,
        distribution: channel.BaseChannel | None = None,
        soft_labels: channel.BaseChannel | None = None,
        *,
        baselines: settings.Baselines,
        checkpoint_dir: str,
    ):
        """Takes the final network, and the settings of the baselines.

        Args:
            examples: Examples with splits `train`, `val` and `test`.
            model: The final network, as the Trainer exported it.
            model_run: The Trainer's record of the training: the settings, the seconds, the multiply-adds.
            distribution: The result of SupernetSearch, which contains the seconds of the search; None without a search.
            soft_labels: The result of Teacher, which contains the features of the pretrained network; None without a
                teacher.
            baselines: `config.baselines`.
            checkpoint_dir: The folder of the baselines' checkpoints, from which an interrupted baseline resumes.
        """
        super().__init__(
            spec=BaselinesSpec(
                examples=examples,
                model=model,
                model_run=model_run,
                distribution=distribution,
                soft_labels=soft_labels,
                baselines=baselines.to_json(),
                files=pretrained.fingerprint(baselines.pretrained, baselines.weights),
                checkpoint_dir=checkpoint_dir,
                comparison=channel.Channel(type=artifacts.Baselines),
            )
        )
