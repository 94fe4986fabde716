"""The time since a run started, for what has to end within a budget."""

import time

_started: float | None = None


def start() -> None:
    """Notes that the run starts now. A runner that executes all components in its own process calls it first."""
    global _started
    _started = time.monotonic()


def seconds() -> float | None:
    """Returns the seconds since the start of the run; None if this process executes one component of it."""
    return None if _started is None else time.monotonic() - _started
