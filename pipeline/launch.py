"""What every local runner does around the pipeline: flags, lock, logs, errors, summary.

Imports of TensorFlow and TFX are made inside functions, so that `--help` and a mistyped flag are answered at once.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import ml_collections
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from pipeline import memory_plan, roots, validation
from pipeline.roots import UsageError

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


_PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(create_runner: Callable[[], Any]) -> None:
    """Runs the pipeline under a TFX runner and exits.

    Exit status 0 when the pipeline ran to its end, also when the model was not blessed; else 1 and one line that says
    what went wrong.

    Args:
        create_runner: Makes the runner; called after the flags were found right.
    """
    flags.mark_flags_as_required(["config", "root"])
    app.run(lambda arguments: _guarded(create_runner, arguments[1:]), flags_parser=parse_flags)


def run(config: ml_collections.ConfigDict, root: str, runner: Any, beam_pipeline_args: list[str]) -> dict[str, Any]:
    """Runs the pipeline that a config describes in a folder.

    Args:
        config: As pipeline/configs/base.py lays it out.
        root: Absolute path of the run's folder, which exists. A second run in it takes unchanged components from the
            first.
        runner: A TFX runner.
        beam_pipeline_args: Beam options.

    Returns:
        The summary, which is also in `root/summary.json`.

    Raises:
        UsageError: The root's `metadata.sqlite` is not a database of ML Metadata.
    """
    began = time.monotonic()
    from tfx.orchestration import metadata

    from models.runtime.files import write_atomically
    from pipeline import recovery
    from pipeline import summary as summaries
    from pipeline.pipeline import create_pipeline

    store = recovery.open_store(root)
    recovery.recover(store, root)
    try:
        runner.run(
            create_pipeline(
                config,
                pipeline_root=os.path.join(root, "artifacts"),
                serving_dir=os.path.join(root, "serving_model"),
                checkpoint_dir=os.path.join(root, "checkpoints"),
                metadata_connection_config=metadata.sqlite_metadata_connection_config(
                    os.path.join(root, "metadata.sqlite")
                ),
                beam_pipeline_args=beam_pipeline_args,
            )
        )
    finally:
        with contextlib.suppress(OSError):  # a full disk has been told of already
            recovery.record_files(store, root)
    summary = summaries.summarise(summaries.Run(store, config.name))
    summary["seconds"]["total"] = round(time.monotonic() - began, 1)
    write_atomically(os.path.join(root, summaries.FILE_NAME), json.dumps(summary, indent=2))
    return summary


def _guarded(create_runner: Callable[[], Any], unused: list[str]) -> int:
    # TFX parses sys.argv again for every Beam component, which ml_collections does not take twice.
    del sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        refuse_arguments(unused)
        if not os.path.isdir("components"):
            raise UsageError(f"Start it in the project's folder, {_PROJECT}, not in {os.getcwd()}.")
        expand_home(CONFIG.value)
        root = roots.resolve(ROOT.value, CONFIG.value.data.image_folder)
        validation.validate(CONFIG.value)
        with _locked(root):
            _log_to(os.path.join(root, "pipeline.log"))
            try:
                from pipeline import recovery

                recovery.require_metadata(root)  # before a decision on memory is written
                given = config_flags.get_override_values(flags.FLAGS[CONFIG.name])
                for line in memory_plan.fit(CONFIG.value, root, given):
                    _say(line)
                summary = run(CONFIG.value, root, create_runner(), BEAM_PIPELINE_ARGS.value)
            except Exception:
                # The whole story is for the log; the terminal gets the line that matters.
                logging.getLogger().info("%s", traceback.format_exc())
                raise
    except KeyboardInterrupt:
        _say("Interrupted. The same command resumes from the last checkpoint.")
        return 130
    except Exception as error:
        _say(f"ERROR: {one_line(error)}")
        return 1
    from pipeline import summary as summaries

    print(summaries.text(summary, root))
    return 0


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line for `app.run`; a mistake ends the process with one line."""
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError, TypeError, ValueError, OSError, SyntaxError, ImportError) as error:
        _say(f"ERROR: {one_line(error)}")
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


@contextlib.contextmanager
def _locked(root: str) -> Iterator[None]:
    """Holds the run's folder; the lock goes with the process, whatever ends it."""
    try:
        os.makedirs(root, exist_ok=True)
        file = open(os.path.join(root, ".lock"), "a+")  # noqa: SIM115 - it is open as long as the lock is held
    except OSError as error:
        raise UsageError(
            f"--root={root} cannot be written: {error.strerror}. Choose a folder that is yours."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another run"
            raise UsageError(f"--root={root} is in use by {holder}. Wait for it, or choose another root.") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        yield


class _Terminal(logging.Handler):
    """Shows which component runs, and warnings of this project; the rest is in the log file."""

    _NODE = re.compile(r"(?:Component|node) (\S+) is (running|finished)\.")
    _CACHED = re.compile(r"A cached execution \d+ is used\.")

    def __init__(self):
        super().__init__()
        self._began: dict[str, float] = {}
        self._cached = False

    def emit(self, record: logging.LogRecord) -> None:
        event = self._NODE.fullmatch(record.getMessage())
        if event and event.group(2) == "running":
            self._began[event.group(1)] = time.monotonic()
            self._cached = False
            _say(f"[{time.strftime('%H:%M:%S')}] {event.group(1)} ...")
        elif event:
            seconds = time.monotonic() - self._began[event.group(1)]
            how = "cached" if self._cached else f"done, {seconds:.1f} s"
            _say(f"[{time.strftime('%H:%M:%S')}] {event.group(1)} {how}")
        elif self._CACHED.fullmatch(record.getMessage()):
            self._cached = True
        elif record.levelno >= logging.WARNING and _ours(record.pathname):
            _say(f"{record.levelname}: {record.getMessage()}")


def _ours(path: str) -> bool:
    return os.path.relpath(path, os.path.dirname(os.path.dirname(__file__))).split(os.sep)[0] in (
        "components",
        "models",
        "pipeline",
    )


def _log_to(path: str) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A full disk must not print a traceback for every line of the log.
    logging.raiseExceptions = False
    file = logging.FileHandler(path)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers = [file, _Terminal()]
    root.setLevel(logging.INFO)
    absl_logging.get_absl_logger().handlers = []
    absl_logging.get_absl_logger().propagate = True
    absl_logging.set_verbosity(absl_logging.INFO)
    logging.captureWarnings(True)
    import tensorflow as tf

    tf.get_logger().handlers = []
    tf.get_logger().propagate = True


def one_line(error: BaseException) -> str:
    """Returns what a person needs to know of an error."""
    # str of a KeyError is its message's repr.
    told = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    message = getattr(error, "message", None) or told or type(error).__name__
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message += ". Make room there, or for temporary files, and give the same command again."
    # Beam appends where it was when the error came.
    message = re.sub(r"\s*\[while running .*?\]", "", message, flags=re.DOTALL)
    # What ml_collections says of a mistyped setting is quoted several times over.
    meant = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', message)
    if meant:
        return f"--config has no setting {meant[2]!r}. Did you mean {meant[1]!r}?"
    lines = [" ".join(line.split()).removeprefix("- ") for line in message.splitlines()]
    told, *more = [line for line in lines if line] or [message]
    for line in more:
        told += f" {line}" if told.endswith((":", ".", ",")) else f"; {line}"
    return told


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
