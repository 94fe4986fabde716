"""The interface of the ImageValidator component."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.image_validator import executor

# The schema of the examples; ImportSchemaGen passes it to ExampleValidator. The path is relative to the project's root,
# in which pipelines are started, because this root has another absolute path on Kubeflow.
SCHEMA_FILE = "components/image_validator/schema.pbtxt"


class ImageValidatorSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of ImageValidator."""

    PARAMETERS = {
        "image_size": component_spec.ExecutionParameter(type=int),
        "resize": component_spec.ExecutionParameter(type=str),
        "background": component_spec.ExecutionParameter(type=str),
        "channels": component_spec.ExecutionParameter(type=int),
        "smallest_side": component_spec.ExecutionParameter(type=int),
        "needed_by": component_spec.ExecutionParameter(type=str),
        "max_imbalance": component_spec.ExecutionParameter(type=float),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
    }
    OUTPUTS = {"image_report": component_spec.ChannelParameter(type=artifacts.ImageReport)}


class ImageValidator(base_beam_component.BaseBeamComponent):
    """Checks every image before the search and the training, and fails if the data cannot be used.

    These findings are errors: anomalies that ExampleValidator found, labels outside the classes, classes without images
    in `train` or `val`, fewer than two classes, images that are too small for the networks, images that differ in size
    or channels without a setting that converts them, images with 16 bits per channel that only use the dark end of the
    range, and images with so few different pictures that nothing can be learned. These findings are warnings: the same
    picture in two splits, classes with few different pictures or with images of one colour, classes without test
    images, and very unequal classes. The output `image_report` contains all findings.

    Images that cannot be decoded do not reach this component: TfdsExampleGen refuses them or leaves them out.
    """

    SPEC_CLASS = ImageValidatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        anomalies: channel.BaseChannel | None = None,
        *,
        image_size: int = 0,
        resize: str = "crop",
        background: str = "white",
        channels: int = 0,
        smallest_side: int = 0,
        needed_by: str = "",
        max_imbalance: float = 10.0,
    ):
        """Checks the arguments.

        Args:
            examples: Examples of TfdsExampleGen.
            anomalies: The anomalies that ExampleValidator found in the examples.
            image_size: `config.data.image_size`: the side to which training resizes images; 0 if it does not.
            resize: `config.data.resize`: how images of another aspect ratio are resized.
            background: `config.data.background`: the colour behind transparent pixels.
            channels: `config.data.channels`: the number of channels to which training converts images; 0 if it does
                not.
            smallest_side: The smallest number of pixels of each side of an image, if images are not resized.
            needed_by: The name of the network that needs this size, for the message.
            max_imbalance: The ratio of the sizes of the largest and the smallest class above which there is a warning.

        Raises:
            ValueError: An argument is out of range.
        """
        if image_size < 0:
            raise ValueError(
                f"config.data.image_size: found {image_size}; expected 0 (as the images are), or a number of pixels."
            )
        if channels not in (0, 1, 3):
            raise ValueError(f"config.data.channels: found {channels}; expected 0 (as the images are), 1 or 3.")
        super().__init__(
            spec=ImageValidatorSpec(
                examples=examples,
                anomalies=anomalies,
                image_size=image_size,
                resize=resize,
                background=background,
                channels=channels,
                smallest_side=smallest_side,
                needed_by=needed_by,
                max_imbalance=float(max_imbalance),
                image_report=channel.Channel(type=artifacts.ImageReport),
            )
        )
