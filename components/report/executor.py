"""The ReportGen component: what it does."""

import json
import os
from typing import Any

import tensorflow as tf
from tfx.dsl.components.base import base_executor
from tfx.types import artifact, artifact_utils

from components.report import inputs, page, settings

REPORT_FILE = "report.html"


class Executor(base_executor.BaseExecutor):
    """Reads what the other components wrote, and shows it."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters.

        Raises:
            ReportError: A file of an input is missing or malformed; the message names it.
        """
        used = settings.used(exec_properties)
        html = page.render(inputs.read(input_dict, used["data"]), used, json.loads(exec_properties["defaults"]))
        uri = artifact_utils.get_single_uri(output_dict["report"])
        tf.io.gfile.makedirs(uri)
        with tf.io.gfile.GFile(os.path.join(uri, REPORT_FILE), "w") as file:
            file.write(html)
