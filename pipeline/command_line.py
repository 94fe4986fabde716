"""The command line that the runners share."""

import os
import sys

import ml_collections
from absl import app, flags
from ml_collections import config_flags

from models.planning.rules import PLANNED
from models.runtime.section import Section
from models.settings import Settings
from pipeline.roots import UsageError
from pipeline.terminal import one_line, say

# The command line may add attributes, because a config has no defaults for the options of custom rules and spaces. The
# check of the settings (pipeline/validation.py) refuses unknown keys.
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Python file with get_config(); --config.KEY=VALUE overrides.",
    lock_config=False,
    accept_new_attributes=True,
)
ROOT = flags.DEFINE_string(
    "root", None, "Folder of the run: artifacts, ML Metadata, checkpoints, the pushed model and summary.json."
)
BEAM_PIPELINE_ARGS = flags.DEFINE_multi_string(
    "beam_pipeline_args",
    # Without the last option, TFX packs its own source for workers on other machines, some seconds for each component.
    ["--direct_running_mode=in_memory", "--direct_num_workers=1", "--requirements_file=/dev/null"],
    "Beam option of TfdsExampleGen, StatisticsGen, ImageValidator, Evaluator and BulkInferrer; may be given several "
    "times.",
)
BEAM_TIMEOUT_S = flags.DEFINE_float(
    "beam_timeout_s",
    300,
    "Limit in seconds for a first job of one element, which checks that a worker answers. It is only used with a "
    "--job_endpoint among --beam_pipeline_args (Flink, Spark).",
    lower_bound=1,
)


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line for `app.run`; a mistake ends the process with one line."""
    try:
        rest = app.parse_flags_with_usage(argv)
        if CONFIG.value is not None:  # raises an OSError if the file cannot be loaded
            CONFIG.value.lock()
    except (AttributeError, KeyError, TypeError, ValueError, OSError, SyntaxError, ImportError) as error:
        line = one_line(error)
        if not isinstance(error, OSError | ImportError) and "Did you mean" not in line:
            line = _outside_a_section(argv) or line
        say(f"ERROR: {line}")
        sys.exit(1)
    return rest


def _outside_a_section(argv: list[str]) -> str:
    """Returns a message for the first override whose parent is not a section of the settings; "" if there is none."""
    for argument in argv:
        flag, _, _ = argument.lstrip("-").removeprefix("no").partition("=")
        prefix, *names = flag.split(".")
        section = Settings()
        for depth, name in enumerate(names[:-1] if prefix == "config" else (), 1):
            section = getattr(section, name, None)
            if not isinstance(section, Section | dict):
                parent = ".".join(["config", *names[:depth]])
                return (
                    f"{flag}: {parent} is not a section of the settings (docs/settings.md). If it takes a mapping, set "
                    f"the mapping as a whole: --{parent}=\"{{'KEY': VALUE}}\"."
                )
    return ""


def refuse_arguments(unused: list[str]) -> None:
    """Refuses arguments that are not flags, because ignoring them would hide a mistake.

    Args:
        unused: The arguments of the command line that are not flags.

    Raises:
        UsageError: There is such an argument.
    """
    if unused:
        raise UsageError(f"Found {' '.join(unused)!r}, which is not a flag. Write a setting as --config.KEY=VALUE.")


def expand_home(config: ml_collections.ConfigDict) -> None:
    """Replaces ~ by the home directory in the paths of a config: a shell does not expand ~ after --config.KEY=."""
    config.architecture = os.path.expanduser(config.architecture)
    config.derive.latency_table = os.path.expanduser(config.derive.latency_table)
    for name in ("image_folder", "data_dir"):
        config.data[name] = os.path.expanduser(config.data[name])
    for name in ("pretrained", "weights"):
        config.baselines[name] = os.path.expanduser(config.baselines[name])


def keep_given() -> list[str]:
    """Has a budget's planner keep the settings that the command line gave.

    Returns:
        The names of all settings that the command line gave, such as "train.epochs".
    """
    given = list(config_flags.get_override_values(flags.FLAGS[CONFIG.name]))
    budget = CONFIG.value.budget
    if budget.minutes:
        budget.keep = (*budget.keep, *(name for name in PLANNED if name in given and name not in budget.keep))
    return given
