"""Runs Beam's worker pool, from which Flink and Spark get their Python workers, with the Python that runs this module.

    python -m pipeline.worker_pool --port=50000

Beam's own pool starts its workers as `python`, whatever the PATH makes of this name. If that Python lacks a package,
the worker ends at once, and the job waits for it without a word.
"""

import argparse
import importlib.util
import os
import shutil
import socket
import subprocess
import sys

_PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_NEEDED = ("apache_beam", "tensorflow", "tfx", "components", "models", "pipeline")


def missing() -> list[str]:
    """Returns the packages that a worker needs and this Python does not find."""
    return [name for name in _NEEDED if not importlib.util.find_spec(name)]


def environment() -> dict[str, str]:
    """Returns the variables with which `python` is this Python and finds the project's modules."""
    path = [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
    modules = [_PROJECT, os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": os.pathsep.join(part for part in modules if part),
    }


def problem(port: int) -> str:
    """Returns why the pool cannot work, in one line; "" if it can.

    Args:
        port: The port at which the pool is to listen.
    """
    variables = environment()
    python = shutil.which("python", path=os.path.dirname(sys.executable))
    if not python:
        return f"There is no `python` beside {sys.executable}, but Beam starts workers by this name. {_advice()}"
    ask = "from pipeline.worker_pool import missing; print(*missing())"
    asked = subprocess.run([python, "-c", ask], env=variables, capture_output=True, text=True)
    if asked.returncode:
        return f"{python} does not work: {(asked.stderr.strip().splitlines() or ['it said nothing'])[-1]}. {_advice()}"
    if asked.stdout.strip():
        return f"{python} has no {', '.join(asked.stdout.split())}. {_advice()}"
    with socket.socket(socket.AF_INET6) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("::", port))
        except OSError as error:
            return f"Port {port} cannot be used: {error.strerror}. Choose another one, --port=..., for pool and job."
    return ""


def _advice() -> str:
    return f"Use the project's Python: {os.path.join(_PROJECT, '.venv/bin/python')} -m pipeline.worker_pool."


def main() -> None:
    """Checks the Python, then becomes Beam's pool."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.worker_pool", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=50000, help="where the workers of the engine ask for a Python")
    port = parser.parse_args().port
    found = problem(port)
    if found:
        sys.exit(f"ERROR: {found}")
    pool = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    os.execve(sys.executable, pool, environment())


if __name__ == "__main__":
    main()
