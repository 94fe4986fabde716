"""The wheel multinomial-oracle: the oracle's folder needs nothing of the project around it (`make wheel` builds it)."""

import ast
import re
import subprocess
import sys

import keras_tuner
import pytest
import tomli

import models.oracle
from models.oracle.rules import registry
from tests.support import paths

FOLDER = paths.PROJECT / "models" / "oracle"
FILES = sorted(FOLDER.rglob("*.py"))
EXAMPLES = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), flags=re.DOTALL)
PROJECT = tomli.loads((paths.PROJECT / "pyproject.toml").read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_imports_are_relative_or_those_of_the_dependencies(path):
    allowed = {*sys.stdlib_module_names, "numpy"} | ({"keras_tuner"} if path.name == "oracle.py" else set())
    depth = len(path.relative_to(FOLDER).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {name.name.split(".")[0] for name in node.names} <= allowed, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= depth, f"{ast.unparse(node)} leaves the folder"
        elif isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] in allowed, ast.unparse(node)


@pytest.mark.parametrize(
    "module",
    ["models.oracle", "models.oracle.rules.registry", "models.oracle.multinomial", "models.oracle.distribution"],
)
def test_rules_and_distribution_do_without_keras(module):
    heavy = "{'keras', 'keras_tuner', 'tensorflow', 'jax', 'torch'}"
    code = f"import sys, {module}; found = {heavy} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT, check=True, timeout=60)


def test_the_oracle_is_there_when_it_is_asked_for():
    for name in models.oracle.__all__:
        assert getattr(models.oracle, name).__module__ == "models.oracle.oracle"
    with pytest.raises(AttributeError, match="no attribute 'MultinomialOracel'"):
        models.oracle.MultinomialOracel  # noqa: B018


def test_every_folder_of_the_oracle_is_a_package_of_the_wheel():
    built = PROJECT["tool"]["setuptools"]
    folders = {path.parent.relative_to(FOLDER).parts for path in FILES}
    assert built["packages"] == sorted(".".join(("multinomial_oracle", *parts)) for parts in folders)
    assert built["package-dir"] == {"multinomial_oracle": "models/oracle"}
    assert all((FOLDER.joinpath(*parts) / "__init__.py").exists() for parts in folders)


def test_the_wheel_depends_on_no_backend():
    project = PROJECT["project"]
    names = {re.match(r"[\w-]+", dependency)[0] for dependency in project["dependencies"]}
    # The last three are KerasTuner's, which does not name them.
    assert names == {"keras-tuner", "numpy", "grpcio", "protobuf", "six"}
    assert f"multinomial_oracle-{project['version']}-" in (FOLDER / "README.md").read_text()


def test_examples_of_the_readme_run(tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[:2] == ["models", "oracle"]]:
        monkeypatch.setitem(sys.modules, name.replace("models.oracle", "multinomial_oracle"), sys.modules[name])
    monkeypatch.chdir(tmp_path)
    assert "max_trials=6" in EXAMPLES[0] and "epochs=3" in EXAMPLES[0]
    search = EXAMPLES[0].replace("max_trials=6", "max_trials=2").replace("epochs=3", "epochs=1")
    search, alone, several, rule = (compile(example, "README.md", "exec") for example in (search, *EXAMPLES[1:]))
    exec(search, {})
    exec(alone, {})
    front: dict = {"__name__": "readme"}
    exec(several, front)
    costs = [trial.values["macs"] for trial in front["oracle"].pareto_front()]
    assert len(costs) > 1 and costs == sorted(costs, reverse=True) and costs[0] <= 12e6
    assert re.search(
        r"best evaluated: {'units_0': .*\n{'block_0': 'conv', 'block_1': 'conv'} 2", capsys.readouterr().out
    )
    # A module that the oracle can import by its name.
    (tmp_path / "readme_rule.py").write_text(EXAMPLES[-1])
    monkeypatch.syspath_prepend(tmp_path)
    exec(rule, {"__name__": "readme"})
    greedy = registry.create_rule("readme_rule.Greedy", {"share": 0.8})
    assert greedy.options() == {"share": 0.8}
    hp = keras_tuner.HyperParameters()
    hp.Choice("kernel", [3, 5])
    oracle = models.oracle.MultinomialOracle("val_accuracy", rule="readme_rule.Greedy", hyperparameters=hp)
    oracle.multinomial.observe({"kernel": 5}, 0.5)
    assert oracle.multinomial.probabilities.tolist() == [[pytest.approx(0.05), pytest.approx(0.95)]]


def test_the_readme_names_every_rule():
    text = (FOLDER / "README.md").read_text()
    assert not [name for name in registry.RULES if f"`{name}`" not in text]
