"""Checks the flag --root before anything is read or written."""

import os
import re


class UsageError(Exception):
    """Reports a mistake of the person who started the run. The message needs no traceback."""


# The entries of a root -> whether the entry is a folder.
_CONTENTS = {
    "artifacts": True,
    "checkpoints": True,
    "engine.json": False,
    "serving_model": True,
    "metadata.json": False,
    "metadata.sqlite": False,
    "pipeline.log": False,
    "summary.json": False,
}


def resolve(root: str, image_folder: str) -> str:
    """Returns the absolute path of a run's folder with all links resolved. The folder need not exist.

    Args:
        root: The value of the flag. A leading ~ means the home directory; a shell does not expand it after --root=.
        image_folder: `config.data.image_folder`.

    Raises:
        UsageError: The path cannot be the root of a run.
    """
    path = os.path.realpath(os.path.expanduser(root))
    if not root:
        raise UsageError("--root is empty. Give the folder of the run, for example --root=runs/mine.")
    if not _is_utf8(path):
        raise UsageError(f"--root={path!r} is not UTF-8, which ML Metadata needs. Choose another name.")
    if "://" in root:
        raise UsageError(
            f"--root={root} is an address, but a run on this machine needs a folder. pipeline.kubeflow_runner takes "
            "addresses."
        )
    if root.startswith("~") and os.path.expanduser(root) == root:
        raise UsageError(f"--root={root}: there is no user {root.split('/')[0][1:]!r}.")
    found = re.search(r"[*?\[\]\\\x00-\x1f]", path)
    if found:
        raise UsageError(
            f"--root={path} contains the character {found.group()!r}, with which TFX cannot find files. Choose another "
            "name."
        )
    if os.path.exists(path) and not os.path.isdir(path):
        raise UsageError(f"--root={path} is a file. Give a folder, or a path that does not exist.")
    for name, is_folder in _CONTENTS.items():
        inside = os.path.join(path, name)
        if os.path.lexists(inside) and (os.path.isdir(inside) != is_folder or not os.access(inside, os.W_OK)):
            kind = "folder" if is_folder else "file"
            raise UsageError(f"{inside} is not a {kind} that can be written. Rename it, or choose another --root.")
    if image_folder and "://" not in image_folder:
        folder = os.path.realpath(image_folder)
        if os.path.commonpath([path, folder]) == folder:
            raise UsageError(
                f"--root={path} is inside config.data.image_folder={image_folder}, so the run's files would mix with "
                "the images. Choose a root outside of this folder."
            )
    return path


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
