"""The command line that the runners share."""

import os
import sys

import ml_collections
from absl import app, flags
from ml_collections import config_flags

from pipeline.roots import UsageError
from pipeline.terminal import one_line, say

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Python file with get_config(); --config.KEY=VALUE overrides.", lock_config=True
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
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError, TypeError, ValueError, OSError, SyntaxError, ImportError) as error:
        say(f"ERROR: {one_line(error)}")
        sys.exit(1)


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
