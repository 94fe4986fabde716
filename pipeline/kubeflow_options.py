"""Checks how a pipeline is to be compiled for Kubeflow, in seconds: imports neither TensorFlow nor TFX."""

import os
import posixpath
import re
from collections.abc import Mapping, Sequence

from models.settings import ConfigError
from pipeline.roots import UsageError

_BUCKETS = ("gs://", "s3://", "minio://")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")  # Kubeflow's own rule
# Registry, path, tag and digest, as the container runtimes read them.
_IMAGE = re.compile(
    r"([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_CLAIM = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
# What the image and Kubeflow's launcher have at these places would be hidden, or is no place for a volume.
_TAKEN = ("/", "/app", "/opt/venv", "/gcs", "/s3", "/minio", "/kfp-launcher")


def pipeline_name(name: str) -> str:
    """Returns `config.name` as Kubeflow takes it: in lower case, with hyphens for blanks, dots and underscores.

    Raises:
        ConfigError: Kubeflow would not take that either.
    """
    mapped = re.sub(r"[\s._]", "-", name.lower())
    if not _NAME.fullmatch(mapped):
        raise ConfigError(
            f"config.name is {name!r}, for Kubeflow {mapped!r}; allowed are up to 128 of a-z, 0-9 and -, the first of "
            "them no hyphen: give another --config.name."
        )
    return mapped


def check_image(image: str) -> None:
    """Refuses what is no name of a container image; without one, TFX would take its own.

    Raises:
        UsageError: It is none.
    """
    if not _IMAGE.fullmatch(image):
        raise UsageError(
            f"--image={image} is no name of an image; give REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST of the one "
            "built from Dockerfile."
        )


def check_output(path: str) -> None:
    """Refuses a file that cannot be written, or whose ending is not that of its content.

    Raises:
        UsageError: It is one.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if not path.endswith((".yaml", ".yml")):
        raise UsageError(f"--output={path} is to hold two YAML documents: give a name that ends in .yaml or .yml.")
    if os.path.isdir(path):
        raise UsageError(f"--output={path} is a folder: give the name of a file.")
    if not os.path.isdir(folder):
        raise UsageError(f"--output={path}: there is no folder {folder}. Make it, or choose another.")


def volumes(flags: Sequence[str]) -> dict[str, str]:
    """Returns the mount paths by claim.

    Args:
        flags: CLAIM:PATH each.

    Raises:
        UsageError: One of them is something else, or cannot be mounted beside the others.
    """
    found: dict[str, str] = {}
    for flag in flags:
        claim, _, path = flag.partition(":")
        path = posixpath.normpath(path) if path.startswith("/") else ""
        if not _CLAIM.fullmatch(claim) or not path or ":" in path:
            raise UsageError(
                f"--volume={flag} is not CLAIM:PATH with the name of a PersistentVolumeClaim (a-z, 0-9, - and .) and "
                "an absolute path."
            )
        if path in _TAKEN:
            raise UsageError(
                f"--volume={flag}: {path} is taken in the pods. Choose another path, such as /mnt/{claim}."
            )
        if claim in found or path in found.values():
            raise UsageError(f"--volume={flag}: {claim if claim in found else path} is there twice; once is possible.")
        found[claim] = path
    return found


def check_place(name: str, place: str, mounted: Mapping[str, str]) -> None:
    """Refuses a place that the pods do not see.

    Args:
        name: Of the flag or setting.
        place: A URI or a path.
        mounted: Mount paths by claim.

    Raises:
        UsageError: It is neither in a bucket nor on a volume.
    """
    if place.startswith(_BUCKETS) and place.partition("://")[2].strip("/"):
        return
    if "://" in place:
        raise UsageError(f"{name}={place} names no bucket: give gs://BUCKET/..., s3://BUCKET/... or minio://BUCKET/...")
    path = posixpath.normpath(place)
    if not any(path == mount or path.startswith(mount + "/") for mount in mounted.values()):
        raise UsageError(
            f"{name}={place} is a folder of this machine, which the pods do not see. Give gs://, s3:// or minio://, or "
            "a path on a --volume."
        )
