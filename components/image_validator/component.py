"""The ImageValidator component: its interface."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.image_validator import executor

# The schema of the examples; ImportSchemaGen gives it to ExampleValidator. The path is relative to the project's root,
# in which pipelines are started: on Kubeflow the root has another absolute path than here.
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


class ImageValidator(base_component.BaseComponent):
    """Looks at every image before time is spent on training, and fails if the data cannot be used.

    These are refused: anomalies that ExampleValidator found, labels outside the classes, classes without images to
    train on, fewer than two classes, images that are too small for the networks, images that differ in size or channels
    without a setting to make them alike, 16 bits of which only the dark end is used, and images that look so alike to a
    network that nothing can be learned from them. These lead to a warning: the same picture in two splits, classes of
    few different pictures or of one colour, classes without test images, and very unequal classes. The output
    `image_report` has all of it.

    Images that cannot be decoded do not get here: TfdsExampleGen names them, and refuses or leaves them out.
    """

    SPEC_CLASS = ImageValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

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
            anomalies: What ExampleValidator found in them.
            image_size: `config.data.image_size`: what images are resized to in training; 0 for not at all.
            resize: `config.data.resize`: what becomes of images of another aspect ratio.
            background: `config.data.background`: the colour behind transparent pixels.
            channels: `config.data.channels`: 1 or 3, what images are converted to in training; 0 for not at all.
            smallest_side: Pixels that each side of an image needs, where images are not resized.
            needed_by: What needs them, for the message.
            max_imbalance: Images of the largest class per image of the smallest, above which a warning is given.

        Raises:
            ValueError: An argument is out of range.
        """
        if image_size < 0:
            raise ValueError(
                f"config.data.image_size is {image_size}; allowed are 0 (as the images are) or more pixels."
            )
        if channels not in (0, 1, 3):
            raise ValueError(f"config.data.channels is {channels}; allowed are 0 (as the images are), 1 and 3.")
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
