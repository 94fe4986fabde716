"""Starts and stops clusters on this machine: `make flink`, `make spark`, `make flink-stop`, `make spark-stop`.

    python -m pipeline.engines start flink

`check` says whether a cluster can be started here. `options` prints the flags with which a run uses the started one,
and `jobs` lists the jobs that the engine's REST API knows.
"""

import argparse
import os
import sys

from pipeline.engines import EngineError, cluster


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.engines", description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("check", "start", "options", "jobs", "stop"))
    parser.add_argument("engine", choices=tuple(cluster.ENGINES))
    given = parser.parse_args()
    try:
        if given.action == "check":
            cluster.check(given.engine)
        elif given.action == "start":
            cluster.start(given.engine)
            options = f"$({os.path.relpath(sys.executable)} -m pipeline.engines options {given.engine})"
            print(f"{given.engine}: two workers are registered. A run on it, where RUN is the command of a local run:")
            print(f"    OPTIONS={options} && RUN $OPTIONS")
        elif given.action == "options":
            print(" ".join(f"--beam_pipeline_args={option}" for option in cluster.options(given.engine)))
        elif given.action == "jobs":
            for job in cluster.jobs(given.engine):
                print(f"{job['state']:<9} {job['name']}")
        elif not cluster.stop(given.engine):
            print(f"{given.engine}: no cluster is started.")
    except (EngineError, OSError) as error:
        print(f"{given.engine}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
