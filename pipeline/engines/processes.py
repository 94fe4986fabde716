"""Processes that continue after the program that started them has ended, and that are stopped by their ids."""

import contextlib
import dataclasses
import os
import re
import subprocess
from collections.abc import Callable, Iterable

import psutil

_PATIENCE_S = 10.0  # from a request to end to its enforcement


@dataclasses.dataclass(frozen=True)
class Started:
    """A process that was started.

    Attributes:
        name: What the process is in the cluster, for example "worker-1".
        pid: Its id.
        created: The second in which it was created: ids are used again, the pair is not.
        log: The path of the file with its output.
    """

    name: str
    pid: int
    created: float
    log: str

    @property
    def process(self) -> psutil.Process | None:
        """The process; None if it has ended."""
        try:
            process = psutil.Process(self.pid)
            ended = process.create_time() != self.created or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return None if ended else process

    def last_words(self) -> str:
        """Returns the last line of the log that looks like an error, else its last line."""
        try:
            with open(self.log, errors="replace") as file:
                lines = [line.strip() for line in file if line.strip()]
        except OSError:
            return ""
        told = [line for line in lines if re.search(r"Error|Exception", line) and not re.match(r"at |\.\.\. ", line)]
        return (told or lines or [""])[-1][:300]


def start(name: str, command: list[str], environment: dict[str, str], log: str, cwd: str) -> Started:
    """Starts a process in a session of its own, so that it outlives this program and its terminal.

    Args:
        name: What the process is in the cluster.
        command: The program and its arguments.
        environment: Variables in addition to those of this program.
        log: The path of the file for its output. An earlier one is kept as LOG.1: a start often follows a failure.
        cwd: The folder in which it runs.

    Returns:
        The process.
    """
    with contextlib.suppress(FileNotFoundError):
        os.replace(log, f"{log}.1")
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    return Started(name, process.pid, psutil.Process(process.pid).create_time(), log)


def find(pids: Iterable[int]) -> list[psutil.Process]:
    """Returns those of the processes that have not ended."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def stop(processes: list[psutil.Process]) -> None:
    """Ends processes: first asks them, then kills those that are left."""
    for process in processes:
        _signal(process.terminate)
    _, left = psutil.wait_procs(processes, timeout=_PATIENCE_S)
    for process in left:
        _signal(process.kill)
    psutil.wait_procs(left, timeout=_PATIENCE_S)


def _signal(send: Callable[[], None]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        send()  # psutil compares the time of creation, so that no other process of the same id is meant
