"""The executor of the ReportGen component."""

from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact, artifact_utils

from components.report_gen import inputs, page, settings
from models.runtime import artifact_files


class Executor(base_executor.BaseExecutor):
    """Reads the artifacts of the other components and writes the page."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters.

        Raises:
            ArtifactError: A file of an input is missing or malformed; the message names it.
        """
        used = settings.used(exec_properties)
        found = inputs.read(input_dict, used.data, used.search.objective)
        if found.plan:
            used = found.plan.apply(used)
        html = page.render(found, used)
        artifact_files.REPORT.write(artifact_utils.get_single_uri(output_dict["report"]), html)
