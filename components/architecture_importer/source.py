"""Where an architecture that another run derived comes from, for the lineage."""

import os

from models.architectures.presets import PRESETS
from models.runtime import artifact_files


def artifact_of(architecture: str) -> str | None:
    """Returns the URI of the artifact of an earlier run in which a genotype's file lies.

    Args:
        architecture: `config.architecture`.

    Returns:
        The folder; None for a preset and for a file that lies elsewhere.
    """
    if architecture in PRESETS:
        return None
    folder = os.path.dirname(os.path.abspath(architecture))
    # The genotypes of a front lie in a folder of the artifact.
    return next((found for found in (folder, os.path.dirname(folder)) if artifact_files.DERIVATION.exists(found)), None)


def origin_of(architecture: str) -> str:
    """Returns how an earlier run came to the architecture of a file, in words; "" if it lies in no artifact."""
    uri = artifact_of(architecture)
    if not uri:
        return ""
    derived = artifact_files.GENOTYPE.path(uri) == os.path.abspath(architecture)
    return artifact_files.DERIVATION.load(
        uri, lambda found: found["origin"] if derived else f"front of {found['origin']}"
    )
