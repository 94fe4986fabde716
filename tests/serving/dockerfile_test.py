"""The Dockerfile: a linter's view, what it must not do, and that what it copies is enough and no more."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.support import image


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("image") / "app"
    workdir.mkdir()
    image.build(workdir)
    return workdir


def _run(workdir, home, *command):
    environment = image.container_environment(home, sys.executable, workdir)
    return subprocess.run(
        [sys.executable, *command], cwd=workdir, env=environment, capture_output=True, text=True, timeout=300
    )


def test_the_linter_finds_nothing():
    linter = shutil.which("hadolint", path=os.path.dirname(sys.executable))
    assert linter, "hadolint is missing; run `make venv`"
    done = subprocess.run([linter, str(image.ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_last_user_is_not_root_and_the_base_is_an_argument():
    instructions = image.instructions()
    users = [arguments for keyword, arguments in instructions if keyword == "USER"]
    # A number, since Kubernetes cannot tell of a name that it is not root.
    assert users and users[-1].isdigit() and int(users[-1]) > 0
    after = [keyword for keyword, _ in instructions[instructions.index(("USER", users[-1])) :]]
    assert "RUN" not in after
    assert ("ARG", "BASE_IMAGE=python:3.10-slim-bookworm") in instructions
    assert next(arguments for keyword, arguments in instructions if keyword == "FROM") == "${BASE_IMAGE} AS base"


def test_dependencies_are_the_pinned_ones_with_their_hashes():
    installs = [
        arguments for keyword, arguments in image.instructions() if keyword == "RUN" and "pip install" in arguments
    ]
    (install,) = installs
    assert "--require-hashes --requirement /tmp/requirements.txt" in install
    assert ("COPY", "requirements.txt /tmp/requirements.txt") in image.instructions()


def test_legacy_keras_is_off_even_on_a_base_that_sets_it():
    assert image.environment()["TF_USE_LEGACY_KERAS"] == "0"


@pytest.mark.parametrize("path", [".git/config", ".venv/bin/python", "runs/digits/x", "key.json", ".env", "tests/x.py"])
def test_nothing_but_the_program_gets_into_the_build(path):
    assert image.ignored(path)


@pytest.mark.parametrize("path", ["requirements.txt", "models/networks/layers.py", "pipeline/configs/digits.py"])
def test_what_is_copied_is_not_ignored(path):
    assert not image.ignored(path)


def test_no_instruction_names_a_secret():
    for keyword, arguments in image.instructions():
        if keyword in ("ARG", "ENV"):
            assert not any(word in arguments.upper() for word in ("SECRET", "TOKEN", "PASSWORD", "CREDENTIAL"))


def test_every_module_that_is_copied_can_be_imported_there(workdir, tmp_path):
    """A module left out of the image would be missing for whoever imports it."""
    names = sorted(
        str(path.relative_to(workdir).with_suffix("")).replace(os.sep, ".")
        for path in workdir.rglob("*.py")
        if path.name != "__init__.py"
    )
    assert {"models.trainer", "components.supernet_search.executor", "pipeline.kubeflow_entrypoint"} <= set(names)
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    done = _run(workdir, tmp_path, "-c", code, *names)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_images_own_command_runs(workdir, tmp_path):
    (command,) = [arguments for keyword, arguments in image.instructions() if keyword == "CMD"]
    program, *arguments = json.loads(command)
    assert program == "python"
    done = _run(workdir, tmp_path, *arguments)
    assert "--config" in done.stdout
