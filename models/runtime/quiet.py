"""Silence for native code that writes to stderr whatever the level of the log is, such as LiteRT's converter."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops what anything in this process writes to the file descriptor of stderr in the block.

    Errors are raised as exceptions and are not affected.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
