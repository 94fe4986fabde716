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
        "val_fraction": component_spec.ExecutionParameter(type=float),
        "seed": component_spec.ExecutionParameter(type=int),
        "max_corrupt_share": component_spec.ExecutionParameter(type=float),
        "fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class TfdsExampleGen(base_beam_component.BaseBeamComponent):
    """Brings labelled images into the pipeline, from a TFDS data set or from a folder.

    The source's split `train` is cut into `train`, which trains the weights, and `val`, which judges architectures:
    exactly round(val_fraction * count) images, those whose hash of id and seed is lowest. `test` is the source's
    `test`, or `validation` where it has none.

        TfdsExampleGen(name="digits")
        TfdsExampleGen(image_folder="photos", val_fraction=0.2)

    The output `examples` has a file `dataset_info.json` beside its splits (models/dataset_info.py).
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
        val_fraction: float = 0.5,
        seed: int = 0,
        max_corrupt_share: float = 0.0,
    ):
        """Looks at the source, so that a mistake is found before the pipeline starts.

        A fingerprint of the data becomes a parameter: other data are not taken for cached ones.

        Args:
            name: A TFDS data set, such as "cifar10"; "digits" comes with this project.
            version: Its version; empty for the newest.
            data_dir: TFDS's directory; empty for TFDS's default. Digits without one leave nothing behind.
            download: Whether TFDS may download and prepare the data set, when the component runs.
            image_folder: A directory with `train/<class>/*.png|jpg|jpeg` and `test/<class>/*`, used instead of `name`.
            val_fraction: Share of the training images that become val, between 0 and 1 (paper: half).
            seed: Of that cut; an int or, on Kubeflow, a RuntimeParameter of int.
            max_corrupt_share: Share of all images that may be left out because they cannot be decoded, 0 to 1.

        Raises:
            DataError: The source cannot be used.
            ValueError: A share is out of range.
        """
        if not 0 < val_fraction < 1:
            raise ValueError(f"config.data.val_fraction is {val_fraction}; it must lie between 0 and 1.")
        if not 0 <= max_corrupt_share < 1:
            raise ValueError(f"config.data.max_corrupt_share is {max_corrupt_share}; allowed is 0 or more, below 1.")
        images = source.Source(name, version, data_dir, download, image_folder)
        images.check()
        super().__init__(
            spec=TfdsExampleGenSpec(
                name=name,
                version=version,
                data_dir=data_dir,
                download=int(download),
                image_folder=image_folder,
                val_fraction=float(val_fraction),
                seed=seed,
                max_corrupt_share=float(max_corrupt_share),
                fingerprint=images.fingerprint(),
                examples=channel.Channel(type=standard_artifacts.Examples),
            )
        )
