"""Starts and stops the cluster of an engine on this machine."""

import contextlib
import fcntl
import functools
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator

from pipeline.engines import EngineError, engine, java, processes, state
from pipeline.engines.flink import Flink
from pipeline.engines.hosts import WORKERS
from pipeline.engines.spark import Spark

ENGINES: dict[str, type[engine.Engine]] = {"flink": Flink, "spark": Spark}
_PATIENCE_S = 120.0
_LOCKS = "/run"  # of the machine, as the names and addresses of the hosts are


def check(name: str) -> None:
    """Refuses a machine on which a cluster cannot be started, before anything is fetched or started.

    Args:
        name: "flink" or "spark".

    Raises:
        EngineError: Java, Maven, `ip` or the rights of root are missing, a cluster runs, or its addresses are taken.
    """
    if os.geteuid():
        raise EngineError(
            "Not root. The hosts of the cluster are network namespaces, which only root can create: give the "
            "command as root."
        )
    java.require()
    for program, package in (("mvn", "maven"), ("ip", "iproute2")):
        if not shutil.which(program):
            raise EngineError(f"No {program} found. Install it: `apt-get install {package}`.")
    if state.load(name):
        raise EngineError(f"The {name} cluster is started already. `make {name}-stop` ends it.")
    ENGINES[name]().network.refuse_taken()


def start(name: str) -> None:
    """Starts a cluster, and waits until its REST API says that both workers are registered.

    Args:
        name: "flink" or "spark".

    Raises:
        EngineError: It did not start. What had started is stopped.
    """
    check(name)
    with _alone(name):
        check(name)  # again: another program may just have started a cluster
        _start(name)


def _start(name: str) -> None:
    cluster = ENGINES[name]()
    folder = state.folder(name)
    if not os.path.exists(engine.job_server(folder)):
        raise EngineError(
            f"{engine.job_server(folder)} is missing. Start the cluster by `make {name}`, which builds it."
        )
    shutil.rmtree(os.path.join(folder, "scratch"), ignore_errors=True)
    for made in ("logs", "scratch/driver", "scratch/artifacts", *(f"scratch/{host}" for host in WORKERS)):
        os.makedirs(os.path.join(folder, made), exist_ok=True)
    cluster.configure()
    started = state.State(name)
    started.save()  # first: what fails from here on is stopped by the state
    try:
        cluster.network.create()
        daemons = _pools() + cluster.daemons()
        for daemon in daemons:
            log = os.path.join(folder, "logs", f"{daemon.name}.log")
            command = cluster.network.inside(daemon.host, daemon.command)
            started.add(processes.start(daemon.name, command, daemon.environment, log, os.getcwd()))
        for daemon in daemons:
            if daemon.port:
                address = cluster.network.address(daemon.host), daemon.port
                _wait(started, f"{daemon.name} to listen", functools.partial(_listens, address))
        _wait(started, "both workers to register", lambda: cluster.workers() == len(WORKERS))
    except BaseException:
        _stop(started)
        raise


def options(name: str) -> list[str]:
    """Returns the Beam options with which a pipeline runs on a started cluster.

    Args:
        name: "flink" or "spark".

    Raises:
        EngineError: No cluster is started.
    """
    _require_started(name)
    return engine.beam_options(ENGINES[name]().network)


def stop(name: str) -> bool:
    """Ends all processes of a cluster and deletes its network; does nothing if there is none.

    Args:
        name: "flink" or "spark".

    Returns:
        Whether there was a cluster.

    Raises:
        EngineError: Something cannot be deleted.
    """
    if not state.load(name):
        return False
    with _alone(name):
        started = state.load(name)
        if started:
            _stop(started)
    return started is not None


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Returns a context in which no other program of this machine starts or stops a cluster of an engine.

    Raises:
        EngineError: Another one does.
    """
    with open(os.path.join(_LOCKS, f"mdenas-{name}.lock"), "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(
                f"Another program starts or stops a {name} cluster on this machine at the moment. Wait for its end."
            ) from None
        yield


def _stop(started: state.State) -> None:
    """Ends what a start has made and deletes its state. The caller must be alone."""
    network = ENGINES[started.engine]().network
    processes.stop([found for one in started.processes if (found := one.process)])
    while left := network.processes():  # what they started: executors of Spark, Pythons of the pools
        processes.stop(processes.find(left))
    network.delete()
    os.unlink(state.path(started.engine))


def jobs(name: str) -> list[dict[str, str]]:
    """Returns `name` and `state` of each job that a cluster's REST API knows, the newest last.

    Args:
        name: "flink" or "spark".

    Raises:
        EngineError: No cluster is started: another machine may have its addresses.
        OSError: The cluster does not answer.
    """
    _require_started(name)
    return ENGINES[name]().jobs()


def _require_started(name: str) -> None:
    if not state.load(name):
        raise EngineError(f"No {name} cluster is started. `make {name}` starts one.")


def _pools() -> list[engine.Daemon]:
    command = [sys.executable, "-m", "pipeline.worker_pool", f"--port={engine.POOL_PORT}"]
    return [engine.Daemon(f"pool-{number}", host, command, engine.POOL_PORT) for number, host in enumerate(WORKERS, 1)]


def _wait(started: state.State, what: str, is_ready: Callable[[], bool]) -> None:
    """Waits for something while all processes of a cluster live."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            if is_ready():
                return
        except OSError:
            pass  # does not answer yet
        for one in started.processes:
            if not one.process:
                raise EngineError(f"{one.name} ended: {one.last_words() or 'it said nothing'} (log: {one.log})")
        if time.monotonic() > until:
            raise EngineError(
                f"Waited {_PATIENCE_S:.0f} s for {what}. Logs: {os.path.dirname(started.processes[-1].log)}"
            )
        time.sleep(0.3)


def _listens(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, timeout=2):
        return True
