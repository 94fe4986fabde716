"""One row of supernet_step.py in a process of its own: prepares it, then measures when asked over stdin.

Without TensorFlow, as the row of another framework runs in another environment.
"""

import json
import os
import resource
import statistics
import sys
import time


def pin(core):
    """Leaves one core to this process; to be called before the framework starts its threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def serve(row, architectures, steps):
    """Measures `row` until stdin ends.

    A line of JSON goes out when all architectures have run once, and one for each line "round" that comes in; a last
    one with the peak of the resident memory follows on the line "end".

    Args:
        row: has `train(architecture, steps)`, which trains that many steps, the first of which may have to prepare
            the architecture, and returns the seconds of each; and perhaps `evaluate`, likewise.
        architectures: number of architectures.
        steps: steps of each architecture in a round, 2 or more; the first is not counted as one.
    """
    firsts = [row.train(architecture, steps) for architecture in range(architectures)]
    evaluate = getattr(row, "evaluate", None)
    if evaluate:
        for architecture in range(architectures):
            evaluate(architecture, 1)
    _reply(new_architecture_s=[seconds[0] - statistics.median(seconds[1:]) for seconds in firsts])
    for line in sys.stdin:
        if line.strip() == "end":
            break
        trained = [row.train(architecture, steps) for architecture in range(architectures)]
        reply = {
            "ms": [1e3 * statistics.median(seconds[1:]) for seconds in trained],
            "repeat_s": [seconds[0] - statistics.median(seconds[1:]) for seconds in trained],
        }
        if evaluate:
            judged = [evaluate(architecture, steps) for architecture in range(architectures)]
            reply["evaluation_ms"] = [1e3 * statistics.median(seconds[1:]) for seconds in judged]
        _reply(**reply)
    _reply(rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def timed(step, steps):
    """The seconds of each of `steps` calls of `step`."""
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


def _reply(**values):
    print("row: " + json.dumps(values), flush=True)
