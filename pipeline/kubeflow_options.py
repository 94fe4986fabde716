"""Checks the options of a compilation for Kubeflow. This module starts fast: it imports neither TensorFlow nor TFX."""

import os
import posixpath
import re
from collections.abc import Mapping, Sequence

from models.settings import ConfigError
from pipeline.roots import UsageError

_BUCKETS = ("gs://", "s3://", "minio://")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")  # Kubeflow's rule for names
# Registry, path, tag and digest, as the container runtimes read them.
_IMAGE = re.compile(
    r"([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_CLAIM = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
# A volume at one of these paths would hide files of the image or of Kubeflow's launcher, or cannot be mounted.
_TAKEN = ("/", "/app", "/opt/venv", "/gcs", "/s3", "/minio", "/kfp-launcher")


def pipeline_name(name: str) -> str:
    """Returns `config.name` as Kubeflow accepts it: in lower case, with hyphens for blanks, dots and underscores.

    Raises:
        ConfigError: Kubeflow does not accept the result either.
    """
    mapped = re.sub(r"[\s._]", "-", name.lower())
    if not _NAME.fullmatch(mapped):
        raise ConfigError(
            f"config.name: found {name!r}, which becomes {mapped!r} on Kubeflow; expected at most 128 of the "
            "characters a-z, 0-9 and -, without a hyphen at the start. Set another --config.name."
        )
    return mapped


def check_image(image: str) -> None:
    """Checks the name of the container image. Without a name, TFX would use its own image.

    Raises:
        UsageError: The text is not the name of an image.
    """
    if not _IMAGE.fullmatch(image):
        raise UsageError(
            f"--image={image} is not the name of an image. Give the image that was built from Dockerfile, as "
            "REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST."
        )


def check_output(path: str) -> None:
    """Checks the path of the pipeline file to write.

    Raises:
        UsageError: The path does not end in .yaml or .yml, is a folder, or is in a folder that does not exist.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if not path.endswith((".yaml", ".yml")):
        raise UsageError(f"--output={path} will contain YAML documents. Give a name that ends in .yaml or .yml.")
    if os.path.isdir(path):
        raise UsageError(f"--output={path} is a folder: give the name of a file.")
    if not os.path.isdir(folder):
        raise UsageError(f"--output={path}: there is no folder {folder}. Create this folder, or choose another.")


def volumes(flags: Sequence[str]) -> dict[str, str]:
    """Returns the mount path of each PersistentVolumeClaim: claim -> path.

    Args:
        flags: The values of --volume, each of the form CLAIM:PATH.

    Raises:
        UsageError: A value has another form, a path is used by the image or the launcher, or a claim or a path is
            given twice.
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
                f"--volume={flag}: the pods already use {path}. Choose another path, such as /mnt/{claim}."
            )
        if claim in found or path in found.values():
            twice = claim if claim in found else path
            raise UsageError(f"--volume={flag}: {twice} is given twice. Give each claim and each path only once.")
        found[claim] = path
    return found


def check_place(name: str, place: str, mounted: Mapping[str, str]) -> None:
    """Checks that the pods can access a place.

    Args:
        name: The name of the flag or setting that gives the place, for the message.
        place: A URI or a path.
        mounted: PersistentVolumeClaim -> mount path.

    Raises:
        UsageError: The place is neither in a bucket nor on a volume.
    """
    if place.startswith(_BUCKETS) and place.partition("://")[2].strip("/"):
        return
    if "://" in place:
        raise UsageError(f"{name}={place} names no bucket: give gs://BUCKET/..., s3://BUCKET/... or minio://BUCKET/...")
    path = posixpath.normpath(place)
    if not any(path == mount or path.startswith(mount + "/") for mount in mounted.values()):
        raise UsageError(
            f"{name}={place} is a folder of this machine, which the pods cannot access. Give gs://, s3:// or "
            "minio://, or a path on a --volume."
        )
