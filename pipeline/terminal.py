"""The output of a run: progress, warnings and one line per error in the terminal; everything in the log file."""

import errno
import itertools
import logging
import os
import re
import sys
import threading
import time

from absl import logging as absl_logging


class _Terminal(logging.Handler):
    """Shows the progress of the components and the warnings of this project. The log file contains all records."""

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
            say(f"[{time.strftime('%H:%M:%S')}] {event.group(1)} ...")
        elif event:
            seconds = time.monotonic() - self._began[event.group(1)]
            how = "cached" if self._cached else f"done, {seconds:.1f} s"
            say(f"[{time.strftime('%H:%M:%S')}] {event.group(1)} {how}")
        elif self._CACHED.fullmatch(record.getMessage()):
            self._cached = True
        elif record.levelno >= logging.WARNING and _ours(record.pathname):
            say(f"{record.levelname}: {record.getMessage()}")


def _ours(path: str) -> bool:
    return os.path.relpath(path, os.path.dirname(os.path.dirname(__file__))).split(os.sep)[0] in (
        "components",
        "models",
        "pipeline",
    )


def log_to(path: str) -> None:
    """Sends the log of this process to a file, and progress and warnings also to the terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GLOG_minloglevel", "3")  # ML Metadata's errors are exceptions, too
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
    # Beam's threads end with an error when a job server is lost; the run says so itself.
    threading.excepthook = lambda thread: logging.getLogger().info(
        "Thread %s ended.", thread.thread and thread.thread.name, exc_info=thread.exc_value
    )
    import tensorflow as tf

    tf.get_logger().handlers = []
    tf.get_logger().propagate = True


def one_line(error: BaseException) -> str:
    """Returns the message of an error in one line, with advice if the disk is full."""
    # str(error) of a KeyError is the repr of the message.
    told = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    message = getattr(error, "message", None) or told or type(error).__name__
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message += ". Make room there or in the folder for temporary files, and give the same command again."
    # An engine answers with the traceback of its Python worker. The lines after the last frame are the error.
    _, frame, rest = message.rpartition('\n  File "')
    if frame:
        after = itertools.dropwhile(lambda line: line.startswith("    "), rest.splitlines()[1:])
        message = re.sub(r"^(\w+\.)+\w+: ", "", "\n".join(after))
    # Beam appends the step in which the error occurred.
    message = re.sub(r"\s*\[while running .*?\]", "", message, flags=re.DOTALL)
    # The message of ml_collections about a mistyped setting is nested in several quotations.
    meant = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', message)
    if meant:
        return f"--config has no setting {meant[2]!r}. Did you mean {meant[1]!r}?"
    message = re.sub(r"\n\s+at \S+\(.*\)(?=\n|$)", "", message)  # the frames of Java
    lines = [" ".join(line.split()).removeprefix("- ") for line in message.splitlines()]
    told, *more = [line for line in lines if line] or [message]
    for line in more:
        told += f" {line}" if told.endswith((":", ".", ",")) else f"; {line}"
    return told


def say(line: str) -> None:
    """Shows a line on stderr."""
    print(line, file=sys.stderr, flush=True)
