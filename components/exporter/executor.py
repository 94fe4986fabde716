"""The executor of the Exporter component."""

import dataclasses
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.types import artifact, artifact_utils
from tfx.utils import path_utils

from components.examples import load_split
from models.exports import verified
from models.runtime import artifact_files
from models.settings import Data, Export


class Executor(base_executor.BaseExecutor):
    """Converts the model, verifies the files, and writes those that passed the verification."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters."""
        asked, data = Export.from_json(exec_properties["export"]), Data.from_json(exec_properties["data"])
        uri = artifact_utils.get_single_uri(output_dict["exports"])
        rows = verified.export(
            path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"])),
            asked.formats,
            load_split(input_dict["examples"], "test", data),
            load_split(input_dict["examples"], "val", data),
            calibration_images=asked.calibration_images,
            threads=asked.threads,
            seed=exec_properties["seed"],
            save=lambda name, content: artifact_files.EXPORTED[name].write(uri, content),
        )
        for warning in verified.warnings(rows):
            logging.warning("%s", warning)
        artifact_files.EXPORTS.save(uri, [dataclasses.asdict(row) for row in rows])
