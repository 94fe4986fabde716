"""The start of the pipeline by the local runners: checks, lock, recovery, run, summary.

TensorFlow and TFX are imported inside functions, so that the answer to `--help` or to a mistyped flag does not wait for
these imports.
"""

import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import ml_collections
from absl import app, flags

from models.runtime import clock
from pipeline import command_line, memory_plan, metadata_store, roots, validation
from pipeline.command_line import (
    BEAM_PIPELINE_ARGS,
    BEAM_TIMEOUT_S,
    CONFIG,
    ROOT,
    expand_home,
    keep_given,
    parse_flags,
    refuse_arguments,
)
from pipeline.roots import UsageError
from pipeline.sweep.plan import FILE_NAME as SWEEP
from pipeline.terminal import log_to, one_line, say

METADATA = flags.DEFINE_string(
    "metadata",
    "",
    "Store of ML Metadata that several roots share: mysql://USER@HOST:PORT/DATABASE, or sqlite:///PATH. Default: the "
    "file metadata.sqlite in the root.",
)
METADATA_PASSWORD_FILE = flags.DEFINE_string(
    "metadata_password_file",
    "",
    f"File with the password of --metadata=mysql://...; the environment variable {metadata_store.PASSWORD} can give it "
    "instead.",
)
EXAMPLES_FROM = flags.DEFINE_string(
    "examples_from",
    "",
    "Root of an earlier run in the same --metadata, whose examples are used instead of reading the images again.",
)
flags.adopt_module_key_flags(command_line)

_PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(create_runner: Callable[[], Any]) -> None:
    """Runs the pipeline with a TFX runner and exits.

    The exit status is 0 if all components ran, even if the model was not blessed. It is 130 if the run was interrupted.
    Otherwise it is 1, and one line gives the error.

    Args:
        create_runner: Returns the runner. It is called after the checks of flags, config and memory.
    """
    clock.start()
    flags.mark_flags_as_required(["config", "root"])
    app.run(lambda arguments: _guarded(create_runner, arguments[1:]), flags_parser=parse_flags)


def run(
    config: ml_collections.ConfigDict,
    root: str,
    runner: Any,
    beam_pipeline_args: list[str],
    store: metadata_store.Store | None = None,
    examples_from: str = "",
) -> dict[str, Any]:
    """Runs the pipeline of a config in a root.

    Args:
        config: A config with the structure of pipeline/configs/base.py.
        root: Absolute path of the run's folder, which must exist. A further run in the same root reuses the cached
            results of unchanged components.
        runner: A TFX runner.
        beam_pipeline_args: Beam options.
        store: The store of ML Metadata; None for the root's own file.
        examples_from: Absolute path of the root whose examples are used; "" to read the images.

    Returns:
        The summary, which is also in `root/summary.json`.

    Raises:
        UsageError: The store cannot be used, or its server was lost.
    """
    began = time.monotonic()
    from models.runtime.files import write_atomically
    from pipeline import recovery, summary
    from pipeline.ingested import Ingested
    from pipeline.pipeline import create_pipeline
    from pipeline.root_records import Records
    from pipeline.run_record import Run

    store = store or metadata_store.of_root(root)
    with store.watched():
        identity = recovery.recover(root, store)
        name = identity.pipeline_name(config.name) if identity else config.name
        try:
            runner.run(
                create_pipeline(
                    config,
                    pipeline_root=os.path.join(root, "artifacts"),
                    serving_dir=os.path.join(root, "serving_model"),
                    checkpoint_dir=os.path.join(root, "checkpoints"),
                    pipeline_name=name,
                    metadata_connection_config=store.connection,
                    beam_pipeline_args=beam_pipeline_args,
                    ingested=Ingested.find(examples_from, store, config.name) if examples_from else None,
                )
            )
        finally:
            # A full disk or a lost server is already reported. A server drops a connection that is idle for hours, so
            # the store is opened again.
            with contextlib.suppress(OSError, UsageError):
                recovery.record_files(Records(store.open(), identity), root)
        came_to = summary.summarise(Run(store.open(), name), config.deploy.tensorflow_serving_tag)
    came_to["seconds"]["total"] = round(time.monotonic() - began, 1)
    if came_to["budget"]:  # also what passes between the stages
        came_to["budget"]["used_s"] = max(came_to["budget"]["used_s"], round(clock.seconds() or 0.0, 1))
    write_atomically(os.path.join(root, summary.FILE_NAME), json.dumps(came_to, indent=2))
    return came_to


def require_project() -> None:
    """Refuses to start elsewhere: configs, components and models are found from the project's folder.

    Raises:
        UsageError: The current folder is another one.
    """
    if not os.path.isdir("components"):
        raise UsageError(f"Start the run in the project's folder, {_PROJECT}, not in {os.getcwd()}.")


def _guarded(create_runner: Callable[[], Any], unused: list[str]) -> int:
    # TFX parses sys.argv again for every Beam component, but ml_collections cannot parse it twice.
    del sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        refuse_arguments(unused)
        require_project()
        expand_home(CONFIG.value)
        root = roots.resolve(ROOT.value, CONFIG.value.data.image_folder)
        store = metadata_store.choose(METADATA.value, METADATA_PASSWORD_FILE.value, root)
        others = _other_root(EXAMPLES_FROM.value, root, store)
        given = keep_given()
        validation.validate(CONFIG.value)
        with locked(root):
            _refuse_sweep(root)  # before the log, which would make the root that of a single run
            log_to(os.path.join(root, "pipeline.log"))
            try:
                from pipeline import beam_engine, recovery

                recovery.require_metadata(root, store)  # before `memory_plan` writes a file
                with beam_engine.checked(BEAM_PIPELINE_ARGS.value, root, BEAM_TIMEOUT_S.value) as beam_args:
                    for line in memory_plan.fit(CONFIG.value, root, given):
                        say(line)
                    came_to = run(CONFIG.value, root, create_runner(), beam_args, store, others)
            except Exception:
                # The log gets the traceback; the terminal shows only one line.
                logging.getLogger().info("%s", traceback.format_exc())
                raise
    except KeyboardInterrupt:
        say("Interrupted. The same command resumes from the last checkpoint.")
        return 130
    except Exception as error:
        say(f"ERROR: {one_line(error)}")
        return 1
    from pipeline import summary

    print(summary.text(came_to, root))
    return 0


def _refuse_sweep(root: str) -> None:
    """Refuses the root of a sweep: its `metadata.sqlite` has the records of the sweep's runs, and is not this run's."""
    if os.path.exists(os.path.join(root, SWEEP)):
        raise UsageError(
            f"--root={root} is the root of a sweep. Choose another --root, or give the command of the sweep "
            "(python -m pipeline.sweep)."
        )


def _other_root(examples_from: str, root: str, store: metadata_store.Store) -> str:
    """Returns the absolute path of the flag --examples_from, or ""."""
    if not examples_from:
        return ""
    other = os.path.realpath(os.path.expanduser(examples_from))
    if other == root:
        raise UsageError(f"--examples_from={examples_from} is the --root itself. Leave it out.")
    if not store.shared:
        raise UsageError("--examples_from needs a store that both roots share. Give the same --metadata to both runs.")
    return other


@contextlib.contextmanager
def locked(root: str) -> Iterator[None]:
    """Locks the run's folder. The lock ends with the process, even if the process is killed."""
    try:
        os.makedirs(root, exist_ok=True)
        file = open(os.path.join(root, ".lock"), "a+")  # noqa: SIM115 - the file is open while the lock is held
    except OSError as error:
        raise UsageError(
            f"--root={root} cannot be written: {error.strerror}. Choose a folder in which you may write."
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
