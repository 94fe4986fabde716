"""The command line that the runners share."""

import os
import sys

import ml_collections
from absl import app, flags
from ml_collections import config_flags

from models.runtime.section import Section
from models.settings import Settings
from pipeline.roots import UsageError
from pipeline.terminal import one_line, say

# With new attributes the command line can also set options of custom rules and spaces, which no default declares. An
# unknown key is then refused by the check of the settings (pipeline/validation.py).
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
    # The last keeps TFX from packing its own source for workers on other machines, some seconds for each component.
    ["--direct_running_mode=in_memory", "--direct_num_workers=1", "--requirements_file=/dev/null"],
    "Beam option of ExampleGen, StatisticsGen, ImageValidator and Evaluator; may be given several times.",
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
    """Refuses what is left of a command line besides its flags, rather than do without it.

    Raises:
        UsageError: There is something.
    """
    if unused:
        raise UsageError(f"Found {' '.join(unused)!r}, which is no flag: settings are given as --config.KEY=VALUE.")


def expand_home(config: ml_collections.ConfigDict) -> None:
    """Puts the home directory for ~ in a config's paths: no shell does so behind --config.KEY=."""
    config.architecture = os.path.expanduser(config.architecture)
    for name in ("image_folder", "data_dir"):
        config.data[name] = os.path.expanduser(config.data[name])
    for name in ("pretrained", "weights"):
        config.baselines[name] = os.path.expanduser(config.baselines[name])
