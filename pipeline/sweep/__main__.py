"""Runs the same pipeline for several seeds or update rules, and shows mean, deviation and the best run.

python -m pipeline.sweep --config=pipeline/configs/digits.py --root=runs/sweep --seeds=0..7 --workers=2

The runs are processes on this machine. With --kubeflow_endpoint and --package they are runs of a compiled pipeline on
Kubeflow. The same command resumes a sweep that was killed. docs/sweep.md describes the sweep.
"""

import json
import os
import signal
import sys
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from pipeline import launch, metadata_store, roots
from pipeline.command_line import CONFIG, ROOT, expand_home, keep_given, parse_flags, refuse_arguments
from pipeline.roots import UsageError
from pipeline.sweep import plan
from pipeline.terminal import one_line, say

SEEDS = flags.DEFINE_string("seeds", None, "Seeds of search and training: 0..7 (eight of them), or 1,5,20..22.")
RULES = flags.DEFINE_string("rules", "", "Update rules, separated by commas; each runs with each seed.")
WORKERS = flags.DEFINE_integer("workers", 1, "Runs at the same time.")
flags.adopt_module_key_flags(launch)


def _main(arguments: list[str]) -> int:
    del sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        refuse_arguments(arguments[1:])
        launch.require_project()
        return _on_this_machine()
    except KeyboardInterrupt:
        say("Interrupted. The same command resumes the sweep.")
        return 130
    except Exception as error:
        say(f"ERROR: {one_line(error)}")
        return 1


def _on_this_machine() -> int:
    """Checks everything, runs the processes and writes the results. Returns the exit status."""
    config = CONFIG.value
    expand_home(config)
    root = roots.resolve(ROOT.value, config.data.image_folder)
    if WORKERS.value < 1:
        raise UsageError(f"--workers={WORKERS.value}: expected 1 or more.")
    overrides = dict(config_flags.get_override_values(flags.FLAGS[CONFIG.name]))
    address = launch.METADATA.value or f"sqlite:///{os.path.join(root, 'metadata.sqlite')}"
    store = metadata_store.choose(address, launch.METADATA_PASSWORD_FILE.value, root)
    if launch.EXAMPLES_FROM.value:
        raise UsageError("--examples_from has no effect in a sweep, whose first run reads the images. Leave it out.")
    given = keep_given()
    runs = plan.plan(config, plan.seeds(SEEDS.value), plan.rules(RULES.value, config), given)
    identity = plan.identity(config)
    plan.require_same(root, identity)
    file = config_flags.get_config_filename(flags.FLAGS[CONFIG.name])
    with launch.locked(root):
        return _sweep(root, runs, identity, file, store, _command(file, overrides, address))


def _command(file: str, overrides: dict[str, Any], address: str) -> list[str]:
    """Returns what the commands of all runs have in common."""
    flags = [f"--config={file}", *(f"--config.{key}={value}" for key, value in overrides.items())]
    flags += [f"--metadata={address}", *(f"--beam_pipeline_args={value}" for value in _beam_options())]
    if launch.METADATA_PASSWORD_FILE.value:
        flags.append(f"--metadata_password_file={launch.METADATA_PASSWORD_FILE.value}")
    return [sys.executable, "-m", "pipeline.local_runner", *flags]


def _beam_options() -> list[str]:
    from pipeline.command_line import BEAM_PIPELINE_ARGS

    return BEAM_PIPELINE_ARGS.value


def _sweep(root, runs, identity, file, store, command) -> int:
    from models.runtime.files import write_atomically
    from pipeline.sweep import results
    from pipeline.sweep.processes import Processes

    rows = {run.name: results.row(run, _summary(root, run)) for run in runs}

    def write() -> dict[str, Any]:
        document = results.document(identity, file, list(rows.values()))
        write_atomically(os.path.join(root, plan.FILE_NAME), json.dumps(document, indent=2))
        return document

    def ended(run: plan.Planned, failure: str) -> None:
        rows[run.name] = results.row(run, None if failure else _summary(root, run), failure)
        write()

    write()
    if "train.hold_out_val" not in identity or not identity["train.hold_out_val"]:
        say("config.train.hold_out_val is True in a sweep: val chooses between the networks, so none is trained on it.")
    Processes(root, command, WORKERS.value).run(runs, ended)
    document = write()
    page = _page(root, identity["name"], document, store)
    print(results.table(document))
    print(f"\nsweep           {os.path.join(root, plan.FILE_NAME)}\npage            {page}")
    return int(any(row["state"] != "finished" for row in rows.values()))


def _summary(root: str, run: plan.Planned) -> dict[str, Any] | None:
    from pipeline import summary

    try:
        with open(os.path.join(root, run.name, summary.FILE_NAME)) as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def _page(root: str, name: str, document: dict[str, Any], store: metadata_store.Store) -> str:
    """Writes the page. Returns its path."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from models.runtime.files import write_atomically
    from pipeline.root_records import Identity
    from pipeline.run_record import Run
    from pipeline.sweep import page

    opened, found = store.open(), {}
    for row in document["runs"]:
        if row["state"] == "finished":
            identity = Identity.read(os.path.join(root, row["name"]))
            found[row["name"]] = page.curves(Run(opened, identity.pipeline_name(name)))
    path = os.path.join(root, page.FILE_NAME)
    write_atomically(path, page.render(name, document, found))
    return path


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "root", "seeds"])
    app.run(_main, flags_parser=parse_flags)
