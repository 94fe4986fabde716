"""Writes an architecture, for ArchitectureDeriver and ArchitectureImporter."""

from typing import Any

from tfx.types import artifact, artifact_utils

from models.architectures.genotype import Genotype
from models.runtime import artifact_files


def write_genotype(
    output_dict: dict[str, list[artifact.Artifact]], genotype: Genotype, origin: str, **notes: Any
) -> None:
    """Writes the outputs `genotype` and `hyperparameters`.

    Args:
        output_dict: The outputs of the executor.
        genotype: The architecture to write.
        origin: The source of the architecture. It becomes a custom property of the Genotype artifact, for the lineage.
        notes: JSON values about the derivation, stored beside the genotype.
    """
    (written,) = output_dict["genotype"]
    written.set_string_custom_property("origin", origin)
    written.set_string_custom_property("genotype", genotype.text())
    content = genotype.to_dict()
    artifact_files.GENOTYPE.save(written.uri, content)
    artifact_files.DERIVATION.save(written.uri, {"origin": origin, **notes})
    # TFX's Trainer passes the content of the only file in this folder to the module of the training.
    hyperparameters = artifact_utils.get_single_uri(output_dict["hyperparameters"])
    artifact_files.HYPERPARAMETERS.save(hyperparameters, {"genotype": content})
