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

from absl import app, flags, logging
from ml_collections import config_flags

from pipeline import launch, metadata_store, roots
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
from pipeline.sweep import plan, results
from pipeline.terminal import one_line, say

SEEDS = flags.DEFINE_string("seeds", None, "Seeds of search and training: 0..7 (eight of them), or 1,5,20..22.")
RULES = flags.DEFINE_string("rules", "", "Update rules, separated by commas; each runs with each seed.")
WORKERS = flags.DEFINE_integer("workers", 1, "Number of runs at the same time.")
ENDPOINT = flags.DEFINE_string("kubeflow_endpoint", "", "Address of Kubeflow Pipelines, on which the runs are started.")
PACKAGE = flags.DEFINE_string("package", "", "Pipeline file of pipeline.kubeflow_runner, for --kubeflow_endpoint.")
flags.adopt_module_key_flags(launch)


def _main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.set_verbosity(logging.WARNING)
    try:
        refuse_arguments(arguments[1:])
        launch.require_project()
        if WORKERS.value < 1:
            raise UsageError(f"--workers={WORKERS.value}: found {WORKERS.value}; expected 1 or more.")
        seeds = plan.seeds(SEEDS.value)
        return _on_kubeflow(seeds) if ENDPOINT.value or PACKAGE.value else _on_this_machine(seeds)
    except KeyboardInterrupt:
        say("Interrupted. The same command resumes the sweep.")
        return 130
    except Exception as error:
        say(f"ERROR: {one_line(error)}")
        return 1


def _on_this_machine(seeds: list[int]) -> int:
    """Checks the flags, and runs the sweep as processes. Returns the exit status."""
    config = CONFIG.value
    if config is None:
        raise UsageError("--config is missing. Give the config of the runs, such as pipeline/configs/digits.py.")
    expand_home(config)
    root = roots.resolve(ROOT.value, config.data.image_folder)
    overrides = dict(config_flags.get_override_values(flags.FLAGS[CONFIG.name]))
    address = launch.METADATA.value or f"sqlite:///{os.path.join(root, 'metadata.sqlite')}"
    store = metadata_store.choose(address, launch.METADATA_PASSWORD_FILE.value, root)
    if launch.EXAMPLES_FROM.value:
        raise UsageError("--examples_from has no effect in a sweep, whose first run reads the images. Leave it out.")
    given = keep_given()
    if "train.hold_out_val" not in given:
        overrides["train.hold_out_val"] = config.train.hold_out_val = True  # val chooses between the networks
    runs = plan.plan(config, seeds, plan.rules(RULES.value, config), given)
    identity = plan.identity(config)
    plan.require_same(root, identity)
    file = config_flags.get_config_filename(flags.FLAGS[CONFIG.name])
    with launch.locked(root):
        from pipeline.sweep.processes import Processes

        store.open()  # a run must not begin without its store
        processes = Processes(root, _command(file, overrides, address), WORKERS.value, store, config.name)
        return _sweep(root, config.name, identity, runs, processes)


def _on_kubeflow(seeds: list[int]) -> int:
    """Checks the flags, and runs the sweep on a cluster. Returns the exit status."""
    from pipeline.sweep.kubeflow import Kubeflow, Package

    if not ENDPOINT.value or not PACKAGE.value:
        raise UsageError("A sweep on Kubeflow needs both --kubeflow_endpoint and --package.")
    for name, value in (("--config", CONFIG.value), ("--rules", RULES.value), ("--metadata", launch.METADATA.value)):
        if value:
            raise UsageError(
                f"{name} has no effect on a compiled pipeline. Leave it out, and compile --package with other settings."
            )
    package = Package(PACKAGE.value)
    root = roots.resolve(ROOT.value, "")
    identity = {"package": package.fingerprint}
    plan.require_same(root, identity)
    import kfp

    with launch.locked(root):
        runs = [plan.Planned(plan.run_name(package.rule, seed), package.rule, seed, ()) for seed in seeds]
        cluster = Kubeflow(kfp.Client(host=ENDPOINT.value), package, WORKERS.value, results.submitted(root))
        return _sweep(root, package.name, identity, runs, cluster)


def _command(file: str, overrides: dict[str, Any], address: str) -> list[str]:
    """Returns what the commands of all runs have in common."""
    flags = [f"--config={file}", *(f"--config.{key}={value}" for key, value in overrides.items())]
    flags += [f"--metadata={address}", *(f"--beam_pipeline_args={value}" for value in BEAM_PIPELINE_ARGS.value)]
    flags += [f"--beam_timeout_s={BEAM_TIMEOUT_S.value}"]
    if launch.METADATA_PASSWORD_FILE.value:
        flags.append(f"--metadata_password_file={launch.METADATA_PASSWORD_FILE.value}")
    return [sys.executable, "-m", "pipeline.local_runner", *flags]


def _sweep(root: str, name: str, identity: dict[str, Any], runs: list[plan.Planned], engine: Any) -> int:
    """Runs a sweep and writes its results.

    Args:
        root: Absolute path of the sweep's root.
        name: The name of the pipeline.
        identity: The settings or the package that identify the sweep.
        runs: The runs.
        engine: Processes or Kubeflow.

    Returns:
        The exit status: 1 if a run failed.
    """
    from models.runtime.files import write_atomically

    path = os.path.join(root, plan.FILE_NAME)
    rows = {run.name: results.row(run, engine.summary(run)) for run in runs}

    def write() -> dict[str, Any]:
        document = results.document(identity, list(rows.values()), getattr(engine, "submitted", {}))
        write_atomically(path, json.dumps(document, indent=2))
        return document

    def ended(run: plan.Planned, failure: str) -> None:
        rows[run.name] = results.row(run, None if failure else engine.summary(run), failure)
        write()

    write()
    engine.run(runs, ended)
    document = write()
    print(f"{results.table(document)}\n\nsweep           {path}", flush=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from pipeline.sweep import page

    curves = _curves(engine, [run for run in runs if rows[run.name]["state"] == "finished"])
    html = os.path.join(root, page.FILE_NAME)
    write_atomically(html, page.render(name, document, curves))
    print(f"page            {html}")
    return int(any(row["state"] != "finished" for row in rows.values()))


def _curves(engine: Any, finished: list[plan.Planned]) -> dict[str, Any]:
    """Returns the curves by the name of the run. A run whose artifacts were deleted has none, and is named."""
    found = {}
    for run in finished:
        try:
            curves = engine.curves(run)
        except Exception as error:
            say(f"WARNING: {run.name}: its curves are not on the page, because they cannot be read: {one_line(error)}")
            continue
        if curves:
            found[run.name] = curves
    return found


if __name__ == "__main__":
    flags.mark_flags_as_required(["root", "seeds"])
    app.run(_main, flags_parser=parse_flags)
