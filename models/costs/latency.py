"""Measures the latency of a model on this machine."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np

_WARMUP = 3  # calls that are not measured, because they trace, allocate memory or fill caches


@dataclasses.dataclass(frozen=True)
class Latency:
    """The milliseconds of one call.

    Attributes:
        median: Half of the measured calls were faster.
        low, high: A tenth of the measured calls was faster than `low`, a tenth slower than `high`.
        calls: The number of measured calls.
    """

    median: float
    low: float
    high: float
    calls: int


def measure(call: Callable[[], object], seconds: float = 1.0, least: int = 20) -> Latency:
    """Measures a call again and again.

    Args:
        call: Runs the model and returns when its answer is in the memory of this process. On a GPU the call must copy
            the answer to this memory, because an operation returns before the GPU has finished.
        seconds: How long to measure.
        least: The smallest number of measured calls.
    """
    for _ in range(_WARMUP):
        call()
    took: list[float] = []
    end = time.perf_counter() + seconds
    while len(took) < least or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        took.append(1e3 * (time.perf_counter() - began))
    low, median, high = np.quantile(took, (0.1, 0.5, 0.9))
    return Latency(float(median), float(low), float(high), len(took))
