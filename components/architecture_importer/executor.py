"""The executor of the ArchitectureImporter component."""

import json
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact

from components.genotype_io import write_genotype
from models.architectures.genotype import genotype_from_dict


class Executor(base_executor.BaseExecutor):
    """Writes the given architecture as artifacts."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters."""
        # The image report is an input only to start this component after the ImageValidator, and the source is one for
        # the lineage.
        del input_dict
        architecture = genotype_from_dict(json.loads(exec_properties["architecture"]))
        write_genotype(output_dict, architecture, exec_properties["origin"])
