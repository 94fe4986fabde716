"""The image's content, read from Dockerfile and .dockerignore: what a container would find, without Docker."""

import fnmatch
import os
import pathlib
import re
import shutil
import subprocess

from tests.support import paths

ROOT = paths.PROJECT


def instructions() -> list[tuple[str, str]]:
    """Returns Dockerfile's instructions as (keyword, arguments), continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def environment() -> dict[str, str]:
    """Returns what the last stage sets with ENV."""
    found = {}
    for keyword, arguments in instructions():
        if keyword == "FROM":
            found = {}
        elif keyword == "ENV":
            found.update(pair.split("=", 1) for pair in arguments.split())
    return found


def ignored(path: str) -> bool:
    """Returns whether .dockerignore keeps a file out of the build; the last line that matches decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keep, pattern = pattern.startswith("!"), pattern.lstrip("!")
        parts = path.split("/")
        candidates = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
        if pattern.startswith("**/"):
            matches = any(fnmatch.fnmatch(part, pattern[3:]) for part in parts)
        else:
            matches = any(fnmatch.fnmatch(candidate, pattern) for candidate in candidates)
        if matches:
            verdict = not keep
    return verdict


def copied() -> dict[str, str]:
    """Returns the folders and files that the last stage takes from the repository, by their place below WORKDIR."""
    found, stage = {}, 0
    for keyword, arguments in instructions():
        if keyword == "FROM":
            found, stage = {}, stage + 1
        elif keyword == "COPY" and not arguments.startswith("--from"):
            *sources, target = re.sub(r"--\S+\s+", "", arguments).split()
            assert len(sources) == 1, "COPY one at a time: that is what this module reads"
            found[target] = sources[0]
    return found


def build(directory: pathlib.Path) -> None:
    """Lays out in `directory` what would be in the image's WORKDIR: the files a clean checkout has, and no more."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    files = [file for file in listed.stdout.decode().split("\0") if file and (ROOT / file).exists()]
    for target, source in copied().items():
        for file in files:
            if (file == source or file.startswith(source + "/")) and not ignored(file):
                destination = directory / (target + file[len(source) :])
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, destination)


def container_environment(home: pathlib.Path, python: str, workdir: pathlib.Path) -> dict[str, str]:
    """Returns a container's environment variables, with the image's folders replaced by those given."""
    variables = {**environment(), "HOME": str(home), "PYTHONPATH": str(workdir)}
    variables["PATH"] = f"{os.path.dirname(python)}:/usr/local/bin:/usr/bin:/bin"
    return variables
