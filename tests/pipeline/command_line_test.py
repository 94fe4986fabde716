"""pipeline/command_line.py: options that no default declares, and overrides that cannot be."""

import os
import subprocess
import sys

import pytest

from tests.support import paths

_RULE = """
import dataclasses

from models.oracle.rules.base import Rule, option


@dataclasses.dataclass
class Own(Rule):
    rate: float = option(0.1, "above 0")

    def __post_init__(self):
        if self.rate <= 0:
            raise ValueError(f"rate: found {self.rate!r}; expected above 0")
"""
_SPACE = """
from models.search_spaces.cell import CellSpace


def create(names=("skip_connect", "sep_conv_3x3"), wide=False):
    assert wide
    return CellSpace(names)
"""
_SCRIPT = """
import sys

from pipeline import command_line, validation

command_line.parse_flags(sys.argv)
config = command_line.CONFIG.value
try:
    settings = validation.validate(config)
    print(settings.oracle.custom, settings.space, config.is_locked)
except validation.ConfigError as error:
    sys.exit(str(error))
"""
BASE = "--config=pipeline/configs/base.py"
RULE = "--config.oracle.rule=own.rule.Own"
MOBILE = ("--config=pipeline/configs/imagenet_mobile.py",)


def _parse(folder, *flags):
    (folder / "own").mkdir()
    (folder / "own" / "rule.py").write_text(_RULE)
    (folder / "own" / "space.py").write_text(_SPACE)
    command = [sys.executable, "-c", _SCRIPT, *flags]
    environment = {**os.environ, "PYTHONPATH": f"{paths.PROJECT}{os.pathsep}{folder}"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=paths.PROJECT, env=environment, check=False
    )


@pytest.mark.parametrize(
    "flags, found",
    [
        ((BASE, RULE, "--config.oracle.custom.rate=0.3"), "{'rate': 0.3}"),
        ((BASE, "--config.space.name=own.space", "--config.space.wide=True"), "wide=True"),
        ((BASE, "--config.space.name=own.space", "--config.space.wide"), "wide=True"),
        ((*MOBILE, "--config.space.backbone=mdenas_cpu"), "backbone='mdenas_cpu'"),
        (("--config=pipeline/configs/digits_mobile.py", "--config.space.backbone.stem=8"), "'stem': 8"),
    ],
)
def test_the_command_line_sets_options_of_custom_rules_and_spaces(tmp_path, flags, found):
    done = _parse(tmp_path, *flags)
    assert found in done.stdout and "True" in done.stdout.split()[-1], done.stderr


@pytest.mark.parametrize(
    "flags, said",
    [
        ((BASE, RULE, "--config.oracle.custom.rat=0.3"), "found 'rat'; expected one of rate (did you mean 'rate'?)"),
        ((BASE, RULE, "--config.oracle.custom.rate=-1"), "config.oracle.rule: rate: found -1; expected above 0."),
        ((BASE, "--config.oracle.custom.rate=0.3"), "config.oracle.custom: found {'rate': 0.3}; expected {}"),
        ((BASE, "--config.search.epoch=3"), "config.search.epoch: there is no such setting; expected objective, "),
        ((BASE, "--config.space.backbone=mdenas_cpu"), "config.space.backbone: "),
        (
            (*MOBILE, "--config.space.backbone.stem=8"),
            "ERROR: config.space.backbone.stem: config.space.backbone is not a section of the settings",
        ),
        ((BASE, "--config.bogus.epochs=3"), "ERROR: config.bogus.epochs: config.bogus is not a section"),
        ((BASE, "--config.seed.x=3"), "ERROR: config.seed.x: config.seed is not a section"),
    ],
)
def test_an_override_that_cannot_be_is_named_in_one_line(tmp_path, flags, said):
    done = _parse(tmp_path, *flags)
    assert done.returncode == 1 and not done.stdout
    (line,) = [line for line in done.stderr.splitlines() if "config." in line]
    assert said in line and "Traceback" not in done.stderr


_KEPT = """
import sys

from pipeline import command_line

command_line.parse_flags(sys.argv)
print(sorted(command_line.keep_given()), command_line.CONFIG.value.budget.keep)
"""


@pytest.mark.parametrize(
    "flags, kept",
    [
        (("--config.budget.minutes=5",), ("train.cells",)),
        (("--config.budget.minutes=5", "--config.budget.keep=('train.cutout',)"), ("train.cutout", "train.cells")),
        ((), ()),
    ],
)
def test_a_budget_keeps_the_settings_of_the_command_line_that_it_would_plan(flags, kept):
    given = ("--config.train.cells=4", "--config.train.pad=1", *flags)
    command = [sys.executable, "-c", _KEPT, BASE, *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=paths.PROJECT)
    names = sorted(flag.removeprefix("--config.").partition("=")[0] for flag in given)
    assert done.stdout == f"{names} {kept}\n", done.stderr
