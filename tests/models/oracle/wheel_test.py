"""The folder models/oracle by itself: what it imports, what the wheel holds, and the example of its README."""

import ast
import re
import subprocess
import sys

import pytest

from tests.support import paths

FOLDER = paths.PROJECT / "models" / "oracle"
FILES = sorted(FOLDER.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_file_imports_nothing_of_the_project_but_by_relative_paths(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module]
        else:
            continue
        for module in modules:
            top = module.split(".")[0]
            allowed = {"numpy", "keras_tuner"} if path.name == "oracle.py" else {"numpy"}
            assert top in sys.stdlib_module_names | allowed, module


def test_rules_are_known_without_keras():
    code = (
        "import sys; from models.oracle.rules import registry; import models.oracle.multinomial;"
        "assert not {'keras', 'keras_tuner', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_packages_of_the_wheel_are_all_folders():
    text = (paths.PROJECT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^packages = \[(.*)\]$", text, flags=re.M)
    folders = {path.parent.relative_to(FOLDER).as_posix() for path in FILES}
    expected = {"multinomial_oracle" if name == "." else f"multinomial_oracle.{name}" for name in folders}
    assert set(re.findall(r'"([^"]+)"', listed)) == expected


def test_the_example_of_the_readme_runs_from_a_copy_elsewhere(tmp_path):
    """As from the wheel: the folder under the wheel's name, outside of the project."""
    package = tmp_path / "multinomial_oracle"
    for path in FILES:
        copy = package / path.relative_to(FOLDER)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    (example,) = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), flags=re.S)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines()[-2:]:
        assert "'layer': 'conv', 'units': 64" in line
