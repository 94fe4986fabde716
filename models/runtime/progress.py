"""What long work shows of itself: a line per epoch and, on a terminal, a bar within it; or a line every few seconds."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

import tqdm

_EVERY = 5.0  # seconds between two lines of `watching` at least
_after: float | None = None  # seconds of the run after the job that is shown


@contextlib.contextmanager
def followed_by(seconds: float | None) -> Iterator[None]:
    """Has the lines of the block show the time left for the whole run, too.

    Args:
        seconds: What comes after the job of the block should take so long; None if this is not known.
    """
    global _after
    _after = seconds
    try:
        yield
    finally:
        _after = None


class Progress:
    """Shows how far an epoch-wise job is.

    Args:
        label: What is going on, such as "search".
        epochs: How many epochs there are.
        start: The first epoch to come, 0-based; more than 0 after a resume.
    """

    def __init__(self, label: str, epochs: int, start: int = 0):
        self._label, self._epochs, self._start = label, epochs, start
        self._began = time.monotonic()
        self._shown = 0.0
        self._bar: tqdm.tqdm | None = None
        if start:
            say(f"{label}: resumed after epoch {start} of {epochs}")

    def step(self, step: int, steps: int, loss) -> None:
        """Shows, on a terminal only, that `step` of `steps` of the current epoch are done.

        Args:
            step: Steps done.
            steps: Steps of the epoch.
            loss: Scalar; a tensor is read only when it is shown, since reading it makes a GPU's queue run dry.
        """
        if self._bar is None:
            # Short epochs need no bar of their own: it shows from the third second on.
            self._bar = tqdm.tqdm(total=steps, desc=f"  {self._label}", unit="step", leave=False, disable=None, delay=3)
        if self._bar.disable:
            return
        if time.monotonic() - self._shown > 0.5:
            self._shown = time.monotonic()
            self._bar.set_postfix(loss=f"{float(loss):.3f}", refresh=False)
        self._bar.update(step - self._bar.n)

    def epoch(self, epoch: int, **figures: str | float) -> None:
        """Prints the line of a finished epoch (0-based), its figures and the time left."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        done = epoch + 1 - self._start
        left = (time.monotonic() - self._began) / done * (self._epochs - epoch - 1)
        shown = "  ".join(
            f"{name.replace('_', ' ')} {value if isinstance(value, str) else format(value, '.4f')}"
            for name, value in figures.items()
        )
        ends = f"{_clock(left)} left" if _after is None else f"{_clock(left)} left, {_clock(left + _after)} of the run"
        say(f"{self._label} {epoch + 1:>{len(str(self._epochs))}}/{self._epochs}  {shown}  {ends}")


@contextlib.contextmanager
def watching(what: str, total: int, done: Callable[[], int]) -> Iterator[None]:
    """Shows, while the block runs, how much of some work others have done: a line every few seconds.

    There is at most a line for each percent, and none for work that takes a few seconds only.

    Args:
        what: What is counted, in the plural.
        total: How many there are.
        done: Returns how many are done; it is called from a thread of its own.
    """
    began, ended = time.monotonic(), threading.Event()

    def watch():
        shown = 0
        while not ended.wait(_EVERY):
            count, seconds = done(), time.monotonic() - began
            if count - shown >= total / 100:
                shown, left = count, seconds / count * (total - count)
                say(f"{what} {count:,}/{total:,}  {count / seconds:,.1f}/s  {_clock(left)} left")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    seconds = time.monotonic() - began
    if seconds > _EVERY:
        say(f"{what} {total:,}/{total:,}  {total / seconds:,.1f}/s  {_clock(seconds)} in all")


def say(line: str) -> None:
    """Prints a line for whoever watches the run."""
    print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
