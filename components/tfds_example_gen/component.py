"""The TfdsExampleGen component: its interface."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.tfds_example_gen import executor, source


class TfdsExampleGenSpec(component_spec.ComponentSpec):
    """Parameters and output of TfdsExampleGen."""

    PARAMETERS = {
        "name": component_spec.ExecutionParameter(type=str),
        "version": component_spec.ExecutionParameter(type=str),
        "data_dir": component_spec.ExecutionParameter(type=str),
        "download": component_spec.ExecutionParameter(type=int),
        "image_folder": component_spec.ExecutionParameter(type=str),
        "test_split": component_spec.ExecutionParameter(type=str),
        "image_feature": component_spec.ExecutionParameter(type=str),
        "label_feature": component_spec.ExecutionParameter(type=str),
        "test_fraction": component_spec.ExecutionParameter(type=float),
        "val_fraction": component_spec.ExecutionParameter(type=float),
        "seed": component_spec.ExecutionParameter(type=int),
        "image_size": component_spec.ExecutionParameter(type=int),
        "channels": component_spec.ExecutionParameter(type=int),
        "resize": component_spec.ExecutionParameter(type=str),
        "background": component_spec.ExecutionParameter(type=str),
        "store": component_spec.ExecutionParameter(type=str),
        "max_corrupt_share": component_spec.ExecutionParameter(type=float),
        "fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class TfdsExampleGen(base_beam_component.BaseBeamComponent):
    """Brings labelled images into the pipeline, from a TFDS data set or from a folder.

    The split `train` trains the weights, `val` judges architectures, `test` is for the final model alone. What the
    source lacks of them is cut from its training images, in each class by itself, by a hash of the images' ids: first
    test_fraction to test, then val_fraction of the others to val.

        TfdsExampleGen(name="digits")
        TfdsExampleGen(image_folder="photos", image_size=64)

    The output `examples` has a file `dataset_info.json` beside its splits (models/data/dataset_info.py).
    """

    SPEC_CLASS = TfdsExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        name: str = "",
        *,
        version: str = "",
        data_dir: str = "",
        download: bool = False,
        image_folder: str = "",
        test_split: str = "",
        image_feature: str = "",
        label_feature: str = "",
        test_fraction: float = 0.2,
        val_fraction: float = 0.5,
        seed: int = 0,
        image_size: int = 0,
        channels: int = 0,
        resize: str = "crop",
        background: str = "white",
        store: str = "resized",
        max_corrupt_share: float = 0.0,
    ):
        """Looks at the source, so that a mistake is found before the pipeline starts.

        A fingerprint of the data becomes a parameter: other data are not taken for cached ones.

        Args:
            name: A TFDS data set, such as "cifar10"; "digits" comes with this project.
            version: Its version; empty for the newest.
            data_dir: TFDS's directory; empty for TFDS's default. Digits without one leave nothing behind.
            download: Whether TFDS may download and prepare the data set, when the component runs.
            image_folder: A folder of images, used instead of `name`; components/tfds_example_gen/folder.py says how it
                may be laid out.
            test_split: TFDS split to test on; empty for test, or validation where test has no labels or is not there.
            image_feature: TFDS feature that holds the image; empty for the one called image, or the only one.
            label_feature: TFDS feature that holds the class; empty for the one called label, or the only one.
            test_fraction: Share of each class that becomes test where the source has no test images, between 0 and 1.
            val_fraction: Share of each class's training images that becomes val, between 0 and 1 (paper: half).
            seed: Of the latter cut; an int or, on Kubeflow, a RuntimeParameter of int.
            image_size: Height and width that images are resized to, in pixels; 0 keeps them as they are.
            channels: 1 or 3 for what images are converted to; 0 keeps them as they are.
            resize: "crop", "pad" or "squash", as models/data/image_format.py says.
            background: Colour behind transparent pixels and in the bars of "pad": a name or #rrggbb.
            store: "resized" or "original": what the examples hold of an image that is resized.
            max_corrupt_share: Share of all images that may be left out because they cannot be decoded, 0 to 1.

        Raises:
            DataError: The source cannot be used.
            ValueError: A share is out of range.
        """
        for key, value in (("test_fraction", test_fraction), ("val_fraction", val_fraction)):
            if not 0 < value < 1:
                raise ValueError(f"config.data.{key} is {value}; it must lie between 0 and 1.")
        if not 0 <= max_corrupt_share < 1:
            raise ValueError(f"config.data.max_corrupt_share is {max_corrupt_share}; allowed is 0 or more, below 1.")
        images = source.Source(
            name,
            version,
            data_dir,
            download,
            image_folder,
            test_split,
            image_feature,
            label_feature,
            max_corrupt_share,
        )
        images.check()
        super().__init__(
            spec=TfdsExampleGenSpec(
                name=name,
                version=version,
                data_dir=data_dir,
                download=int(download),
                image_folder=image_folder,
                test_split=test_split,
                image_feature=image_feature,
                label_feature=label_feature,
                test_fraction=float(test_fraction),
                val_fraction=float(val_fraction),
                seed=seed,
                image_size=image_size,
                channels=channels,
                resize=resize,
                background=background,
                store=store,
                max_corrupt_share=float(max_corrupt_share),
                fingerprint=images.fingerprint(),
                examples=channel.Channel(type=standard_artifacts.Examples),
            )
        )
