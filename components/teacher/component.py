"""The interface of the Teacher component."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.teacher import executor
from models import settings
from models.baselines import pretrained


class TeacherSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of Teacher."""

    PARAMETERS = {
        "pretrained": component_spec.ExecutionParameter(type=str),
        "weights": component_spec.ExecutionParameter(type=str),
        "files": component_spec.ExecutionParameter(type=str),
        "data": component_spec.ExecutionParameter(type=str),
        "deterministic": component_spec.ExecutionParameter(type=int),
        "tuned_kernels": component_spec.ExecutionParameter(type=int),
        "checkpoint_dir": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "image_report": component_spec.ChannelParameter(type=artifacts.ImageReport),
    }
    OUTPUTS = {"soft_labels": component_spec.ChannelParameter(type=artifacts.SoftLabels)}


class Teacher(base_component.BaseComponent):
    """Computes what a pretrained network says about the training images, so that the final network can learn from it.

    The teacher is a linear classifier on the features of the pretrained network. It is trained on `train`, with the
    regularisation that is best on `val`. Its logits for the images of `train` and `val` are the soft labels.
    """

    SPEC_CLASS = TeacherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        image_report: channel.BaseChannel,
        *,
        baselines: settings.Baselines,
        data: settings.Data,
        deterministic: bool,
        tuned_kernels: bool,
        checkpoint_dir: str,
    ):
        """Takes the pretrained network, and the form of the images.

        Args:
            examples: Examples with splits `train`, `val` and `test`.
            image_report: The report of the ImageValidator; it does not exist if the data were refused.
            baselines: `config.baselines`, which names the pretrained network.
            data: `config.data`.
            deterministic: Whether TensorFlow's op determinism is on.
            tuned_kernels: Whether the tuned layers are used (models/networks/kernels.py).
            checkpoint_dir: The folder of the checkpoints, from which an interrupted computation resumes.
        """
        super().__init__(
            spec=TeacherSpec(
                examples=examples,
                image_report=image_report,
                pretrained=baselines.pretrained,
                weights=baselines.weights,
                files=pretrained.fingerprint(baselines.pretrained, baselines.weights),
                data=data.to_json(),
                deterministic=int(deterministic),
                tuned_kernels=int(tuned_kernels),
                checkpoint_dir=checkpoint_dir,
                soft_labels=channel.Channel(type=artifacts.SoftLabels),
            )
        )
