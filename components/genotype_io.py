"""How the two components that bring an architecture write it."""

import json
import os
from typing import Any

import tensorflow as tf
from tfx.types import artifact, artifact_utils

from models.architectures.genotype import Genotype

GENOTYPE_FILE = "genotype.json"


def write_genotype(
    output_dict: dict[str, list[artifact.Artifact]], genotype: Genotype, origin: str, **notes: Any
) -> None:
    """Writes the outputs `genotype` and `hyperparameters`.

    Args:
        output_dict: The executor's.
        genotype: What to write.
        origin: Where it came from, for the lineage: a custom property of the Genotype artifact.
        notes: JSON-able facts about the derivation, kept beside the genotype in `derivation.json`.
    """
    (artifact_,) = output_dict["genotype"]
    artifact_.set_string_custom_property("origin", origin)
    artifact_.set_string_custom_property("genotype", genotype.text())
    content = genotype.to_dict()
    _write(artifact_.uri, GENOTYPE_FILE, content)
    _write(artifact_.uri, "derivation.json", {"origin": origin, **notes})
    # The Trainer hands on the content of the only file there.
    hyperparameters = artifact_utils.get_single_uri(output_dict["hyperparameters"])
    _write(hyperparameters, "hyperparameters.json", {"genotype": content})


def _write(directory: str, name: str, content: Any) -> None:
    tf.io.gfile.makedirs(directory)
    with tf.io.gfile.GFile(os.path.join(directory, name), "w") as file:
        file.write(json.dumps(content, indent=2))
