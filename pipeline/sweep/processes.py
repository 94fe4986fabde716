"""Runs the pipeline several times on this machine, in processes, some of them at the same time."""

import concurrent.futures
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline import memory_plan, summary
from pipeline.metadata_store import Store
from pipeline.root_records import Identity
from pipeline.sweep.plan import Planned
from pipeline.terminal import say

_PARENT_DIED = 1  # PR_SET_PDEATHSIG
_STAGE = re.compile(r"\[[\d:]{8}\] (\S+) (\.\.\.|cached|done, .*)")
_INGESTED = "ImageValidator"


class Processes:
    """The processes of a sweep.

    Args:
        root: Absolute path of the sweep's root. Each run has a folder in it as its root.
        command: The command of a run without --root and the run's own flags.
        workers: Number of runs at the same time.
        store: The store of ML Metadata in which all runs are recorded.
        name: `config.name`.
    """

    def __init__(self, root: str, command: Sequence[str], workers: int, store: Store, name: str):
        self._root = root
        self._command = command
        self._workers = workers
        self._store = store
        self._name = name
        self._lock = threading.Lock()
        self._live: set[subprocess.Popen] = set()
        self._took: list[float] = []
        self._over = 0
        self._count = 0
        self._ingested = False

    def run(self, runs: Sequence[Planned], ended: Callable[[Planned, str], None]) -> None:
        """Runs those that are not finished.

        The first run of all reads the images. The others use its examples, so they wait until these are checked.

        Args:
            runs: The runs.
            ended: Called after each run with the reason of its failure, "" if it is finished. Calls do not overlap.
        """
        self._count = len(runs)
        self._move_records(runs)
        waiting = [run for run in runs if not self.is_finished(run)]
        self._over = self._count - len(waiting)
        if self._over:
            say(f"{self._over} of {self._count} runs are finished already.")
        first = runs[0]
        ready = threading.Event()
        if first not in waiting:
            self._ingested = True
            ready.set()
        with concurrent.futures.ThreadPoolExecutor(self._workers) as pool:
            futures = {pool.submit(self._run, run, first, ready): run for run in waiting}
            try:
                for future in concurrent.futures.as_completed(futures):
                    ended(futures[future], future.result())
            except BaseException:
                ready.set()
                for future in futures:
                    future.cancel()
                self._stop()
                raise

    def _move_records(self, runs: Sequence[Planned]) -> None:
        """Tells ML Metadata where the files of finished runs are, if the root of the sweep has been moved."""
        for run in runs:
            root = os.path.join(self._root, run.name)
            identity = Identity.read(root)
            if identity and identity.root != root and self.is_finished(run):
                from pipeline import recovery  # slow

                recovery.recover(root, self._store)

    def is_finished(self, run: Planned) -> bool:
        """Returns whether a run has ended well."""
        return os.path.exists(os.path.join(self._root, run.name, summary.FILE_NAME))

    def summary(self, run: Planned) -> dict[str, Any] | None:
        """Returns the summary.json of a run; None if it is not finished."""
        if not self.is_finished(run):
            return None
        with open(os.path.join(self._root, run.name, summary.FILE_NAME)) as file:
            return json.load(file)

    def curves(self, run: Planned) -> Mapping[str, Sequence[float]]:
        """Returns the curves of a finished run."""
        from pipeline.run_record import Run
        from pipeline.sweep import page  # slow

        identity = Identity.read(os.path.join(self._root, run.name))
        record = Run(self._store.open(), identity.pipeline_name(self._name))
        results = record.outputs("SupernetSearch").get("results")
        return page.curves(record.outputs("Trainer")["model_run"].uri, results.uri if results else None)

    def _run(self, run: Planned, first: Planned, ready: threading.Event) -> str:
        """Returns the reason of a failure, or ""."""
        root = os.path.join(self._root, run.name)
        flags = [*run.flags]
        if run != first:
            ready.wait()
            if not self._ingested:
                return f"not started: {first.name}, whose examples it would use, failed before they were checked"
            flags.append(f"--examples_from={os.path.join(self._root, first.name)}")
            self._take_over(first, root)
        try:
            return self._watch(run, [*self._command, f"--root={root}", *flags], ready if run == first else None)
        finally:
            if run == first:
                ready.set()

    def _take_over(self, first: Planned, root: str) -> None:
        """Gives a run the batch sizes of the first one, which otherwise depend on the memory that is free now."""
        os.makedirs(root, exist_ok=True)
        chosen = os.path.join(root, memory_plan.FILE_NAME)
        if not os.path.exists(chosen):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(os.path.join(self._root, first.name, memory_plan.FILE_NAME), chosen)

    def _watch(self, run: Planned, command: Sequence[str], ready: threading.Event | None) -> str:
        """Runs a command to its end, and shows its stages."""
        began = time.monotonic()
        error = ""
        log = os.path.join(self._root, f"{run.name}.log")
        with open(log, "a") as file, self._started(command) as process:
            for line in process.stderr:
                file.write(line)
                file.flush()
                stage = _STAGE.match(line)
                if stage and stage[2] == "...":
                    self._say(run, f"{stage[1]} ...")
                elif stage and stage[1] == _INGESTED and ready:
                    self._ingested = True
                    ready.set()
                elif line.startswith("WARNING: "):
                    self._say(run, line.strip())
                elif line.startswith("ERROR: "):
                    error = line.removeprefix("ERROR: ").strip()
        with self._lock:
            self._over += 1
            if not process.returncode:
                self._took.append(time.monotonic() - began)
        if process.returncode:
            error = error or f"it ended with exit status {process.returncode}; see {log}"
            self._say(run, f"FAILED: {error}")
            return error
        self._say(run, f"finished, {time.monotonic() - began:.0f} s")
        return ""

    @contextlib.contextmanager
    def _started(self, command: Sequence[str]):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Ctrl-C is for the sweep alone, which asks its runs to end. A second signal would break off their clean-up.
            start_new_session=True,
            preexec_fn=_end_with_the_parent,
        )
        with self._lock:
            self._live.add(process)
        try:
            with process:
                yield process
        finally:
            with self._lock:
                self._live.discard(process)

    def _stop(self) -> None:
        with self._lock:
            for process in self._live:
                process.terminate()

    def _say(self, run: Planned, what: str) -> None:
        say(f"[{time.strftime('%H:%M:%S')}] {run.name}: {what}{self._left()}")

    def _left(self) -> str:
        """Returns how many runs are over and, if one has ended, the time that the others need."""
        over = f" ({self._over} of {self._count} runs are over"
        if not self._took:
            return f"{over})"
        # A run that goes on counts as a whole one.
        rounds = -(-(self._count - self._over) // self._workers)
        minutes = rounds * sum(self._took) / len(self._took) / 60
        return f"{over}, at most {minutes:.0f} min left)" if minutes >= 1 else f"{over})"


def _end_with_the_parent() -> None:
    """Has the kernel kill this process when the sweep is killed: a run that goes on would hold its root."""
    ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
