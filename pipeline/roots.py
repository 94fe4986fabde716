"""What --root may be: found out before anything is read or written."""

import os
import re


class UsageError(Exception):
    """A mistake of the person who started the run; its message is all they need."""


# What is in a root, and whether it is a folder.
_CONTENTS = {
    "artifacts": True,
    "checkpoints": True,
    "serving_model": True,
    "metadata.sqlite": False,
    "pipeline.log": False,
    "summary.json": False,
}


def resolve(root: str, image_folder: str) -> str:
    """Returns the absolute path of a run's folder, which need not exist, free of links.

    Args:
        root: As it was given; ~ is the home directory, which a shell does not expand behind --root=.
        image_folder: `config.data.image_folder`.

    Raises:
        UsageError: No run can be there.
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
            f"--root={path} has {found.group()!r} in it, with which files cannot be found by patterns. Choose another "
            "name."
        )
    if os.path.exists(path) and not os.path.isdir(path):
        raise UsageError(f"--root={path} is a file. Give a folder, or a name that is still free.")
    for name, is_folder in _CONTENTS.items():
        inside = os.path.join(path, name)
        if os.path.lexists(inside) and (os.path.isdir(inside) != is_folder or not os.access(inside, os.W_OK)):
            kind = "folder" if is_folder else "file"
            raise UsageError(f"{inside} is not a {kind} that can be written. Rename it, or choose another --root.")
    if image_folder and "://" not in image_folder:
        folder = os.path.realpath(image_folder)
        if os.path.commonpath([path, folder]) == folder:
            raise UsageError(
                f"--root={path} is inside config.data.image_folder={image_folder}: the run's own files would be among "
                "the images. Choose a root outside of it."
            )
    return path


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
