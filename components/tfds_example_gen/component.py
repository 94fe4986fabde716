"""The interface of the TfdsExampleGen component."""

from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.tfds_example_gen import executor, source
from models.settings import Data


class TfdsExampleGenSpec(component_spec.ComponentSpec):
    """Parameters and output of TfdsExampleGen."""

    PARAMETERS = {
        "data": component_spec.ExecutionParameter(type=str),
        # Settings that can be set anew at each start of a compiled pipeline. They replace the values in `data`.
        "data_dir": component_spec.ExecutionParameter(type=str),
        "data_version": component_spec.ExecutionParameter(type=str),
        "image_folder": component_spec.ExecutionParameter(type=str),
        "data_seed": component_spec.ExecutionParameter(type=int),
        "data_fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class TfdsExampleGen(base_beam_component.BaseBeamComponent):
    """Brings labelled images into the pipeline, from a TFDS data set or from a folder.

    The split `train` trains the weights, `val` validates architectures, and `test` is used only for the final model. If
    the source lacks `test` or `val`, this component cuts it from the training images. Each class is cut separately, by
    a hash of the images' ids: first the share test_fraction of the images becomes test, then the share val_fraction of
    the remaining images becomes val.

        TfdsExampleGen(name="digits")
        TfdsExampleGen(image_folder="photos", image_size=64)

    The output `examples` also contains the facts about the data set (models/data/dataset_info.py), beside its splits.
    """

    SPEC_CLASS = TfdsExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, **data: Any):
        """Checks the source, so that a mistake is found before the pipeline starts.

        A fingerprint of the data becomes a parameter, so TFX does not use cached examples of other data.

        Args:
            data: Settings of `config.data` (models/settings.py) whose values differ from the defaults.

        Raises:
            ConfigError: A setting is unknown or out of bounds.
            DataError: The source cannot be used.
        """
        settings = Data.parse(data, "data")
        images = source.Source(settings)
        images.check()
        super().__init__(
            spec=TfdsExampleGenSpec(
                data=settings.to_json(with_effect=True),
                data_dir=settings.data_dir,
                data_version=settings.version,
                image_folder=settings.image_folder,
                data_seed=settings.seed,
                data_fingerprint=images.fingerprint(),
                examples=channel.Channel(type=standard_artifacts.Examples),
            )
        )
