"""One line per epoch and, on a terminal, a bar within it: what long work shows of itself."""

import sys
import time

import tqdm


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
            self._write(f"{label}: resumed after epoch {start} of {epochs}")

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
        self._write(f"{self._label} {epoch + 1:>{len(str(self._epochs))}}/{self._epochs}  {shown}  {_clock(left)} left")

    @staticmethod
    def _write(line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
