"""Runs Beam's worker pool, from which Flink and Spark get their Python workers, with the Python that runs this module.

    python -m pipeline.worker_pool --port=50000

Beam's own pool starts its workers with the first `python` in the PATH, and does not watch them. If that Python lacks a
package, or is killed while it starts, the job waits for it forever and shows no message. This pool starts it again. If
this does not help, it fails the job in the worker's place.

Beam's pool also knows a worker by its id alone. Every job of an engine begins to count its workers at 1-1, so of two
jobs at the same time, the end of one can end a worker of the other.
"""

import argparse
import atexit
import errno
import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

_PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_NEEDED = ("apache_beam", "tensorflow", "tfx", "components", "models", "pipeline")
_STARTS = 3
_CLOSING_S = 30.0  # An engine closes the address of a worker soon after it has given the worker back.


def missing() -> list[str]:
    """Returns the packages that a worker needs and this Python does not find."""
    return [name for name in _NEEDED if not importlib.util.find_spec(name)]


def environment() -> dict[str, str]:
    """Returns the variables with which `python` is this Python, finds the project's modules, and reaches the engine."""
    path = [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
    modules = [_PROJECT, os.environ.get("PYTHONPATH", "")]
    return {
        "grpc_proxy": "",  # otherwise gRPC would ask the proxy of http_proxy for the engine, which is beside the pool
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
    try:
        _try(port)
    except OSError as error:
        return (
            f"Port {port} cannot be used: {error.strerror}. Choose another --port, and the same one in the run's "
            "--environment_config."
        )
    return ""


def _try(port: int) -> None:
    """Listens at a port of all addresses for a moment, as Beam's pool does.

    Raises:
        OSError: The port cannot be used.
    """
    try:
        _bind(socket.AF_INET6, ("::", port))
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        _bind(socket.AF_INET, ("", port))  # a machine without IPv6


def _bind(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def start(port: int) -> Any:
    """Starts the pool in threads of this process.

    Args:
        port: The port at which it listens.

    Returns:
        The gRPC server.
    """
    # Here, as `problem` says if it is missing.
    from apache_beam.portability.api import beam_fn_api_pb2
    from apache_beam.runners.worker import worker_pool_main

    from pipeline import failed_worker

    class Pool(worker_pool_main.BeamFnExternalWorkerPoolServicer):
        """Beam's pool, which knows its workers by id and engine, and starts one that ends while its engine listens."""

        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self._lock = threading.Lock()
            self._workers = {}
            self._over = False
            atexit.register(self._end_all)

        def StartWorker(self, start_worker_request, unused_context, starts=1):
            """Called by the engine."""
            with self._lock:  # Beam keeps a worker by its id alone: two calls would overwrite each other's worker
                if self._over:
                    return beam_fn_api_pb2.StartWorkerResponse(error="the worker pool ends")
                answer = super().StartWorker(start_worker_request, unused_context)
                worker = self._worker_processes.pop(start_worker_request.worker_id, None)
                if worker:
                    self._workers[_key(start_worker_request)] = worker
            if worker:
                threading.Thread(target=self._watch, args=(worker, start_worker_request, starts), daemon=True).start()
            return answer

        def StopWorker(self, stop_worker_request, unused_context):
            """Called by the engine, which then closes the address at which the worker asked for work."""
            with self._lock:
                keys = [key for key in self._workers if key[0] == stop_worker_request.worker_id]
            for key in keys:
                threading.Thread(target=self._end, args=(key,), daemon=True).start()
            return beam_fn_api_pb2.StopWorkerResponse()

        def _end(self, key):
            if not _closes(key[1], _CLOSING_S):
                return  # the worker of another job
            with self._lock:
                worker = self._workers.pop(key, None)
            if worker:
                worker_pool_main.kill_process_gracefully(worker)
                logging.info("The worker %s of %s was given back.", *key)

        def _end_all(self):
            with self._lock:  # what is not known is not started again
                self._over = True
                workers, self._workers = list(self._workers.values()), {}
            for worker in workers:
                worker_pool_main.kill_process_gracefully(worker)

        def _watch(self, worker, request, starts):
            status = worker.wait()
            with self._lock:
                if self._workers.get(_key(request)) is not worker:
                    return  # it was given back
                del self._workers[_key(request)]
            # A worker that its engine no longer needs ends like this too.
            may_be_over = status in (0, -signal.SIGTERM)
            if _closes(request.control_endpoint.url, _CLOSING_S if may_be_over else 0.0):
                return
            if starts < _STARTS:
                logging.warning("Worker %s ended with status %s; it is started again.", request.worker_id, status)
                if not self.StartWorker(request, None, starts + 1).error:
                    return
            reason = (
                f"the Python worker {request.worker_id} ended with status {status}, the last of {starts} times; the "
                f"log of the worker pool on {socket.gethostname()} says why"
            )
            logging.error("%s. The jobs that wait for it fail.", reason)
            failed_worker.answer(request, reason)

    _, server = Pool.start(use_process=True, port=port)
    return server


def _key(request: Any) -> tuple[str, str]:
    return request.worker_id, request.control_endpoint.url


def _closes(address: str, patience_s: float) -> bool:
    """Returns whether nobody listens at an address, at the latest after some seconds."""
    until = time.monotonic() + patience_s
    while _listens(address):
        if time.monotonic() >= until:
            return False
        time.sleep(0.2)
    return True


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True  # a busy machine; only a refusal says that nobody listens


def _advice() -> str:
    return f"Use the project's Python: {os.path.join(_PROJECT, '.venv/bin/python')} -m pipeline.worker_pool."


def main() -> None:
    """Checks the Python, then runs the pool until it is told to end; its workers end with it."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.worker_pool", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=50000, help="where the engine asks for a Python worker (50000)")
    port = parser.parse_args().port
    found = problem(port)
    if found:
        sys.exit(f"ERROR: {found}")
    os.environ.update(environment())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s:%(name)s:%(message)s")
    start(port).wait_for_termination()


if __name__ == "__main__":
    main()
