"""Resident memory of a long search, epoch by epoch, as figures and a plot.

    python -m benchmarks.faults.memory --epochs=300 --root=runs/memory

Runs the digits search in the small mobile space, a new architecture per epoch, and reads the process's resident set
(Linux) whenever an epoch's line appears. Prints the growth after epoch 50 and writes ROOT/memory.png.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

_SETTLED = 50  # epochs after which memory is expected to be flat


def main() -> None:
    """Runs, prints, draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=300, help="search epochs, more than 50")
    parser.add_argument("--root", default="runs/memory", help="folder of the run; emptied first")
    args = parser.parse_args()
    shutil.rmtree(args.root, ignore_errors=True)
    resident = measure(args.root, args.epochs)
    settled, last = resident[_SETTLED], resident[-1]
    highest = max(resident[_SETTLED:])
    print(f"resident MB after epoch {_SETTLED}: {settled:.0f}, last: {last:.0f}, highest: {highest:.0f}")
    print(f"growth since epoch {_SETTLED}: {last / settled - 1:+.1%} (highest {highest / settled - 1:+.1%})")
    figure, axes = pyplot.subplots(figsize=(8, 4))
    axes.plot(range(1, len(resident) + 1), resident)
    axes.axhspan(settled, settled * 1.05, alpha=0.2, label=f"epoch {_SETTLED} and 5 % more")
    axes.set(xlabel="search epoch", ylabel="resident memory, MB", ylim=(0, None), title="Memory of a search")
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(os.path.join(args.root, "memory.png"), dpi=120)


def measure(root: str, epochs: int) -> list[float]:
    """Returns the resident memory in MB after each search epoch."""
    command = [sys.executable, "-m", "pipeline.local_runner", "--config=pipeline/configs/digits_mobile.py"]
    overrides = [f"--config.search.epochs={epochs}", "--config.train.epochs=1"]
    process = subprocess.Popen(
        [*command, f"--root={root}", *overrides], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    resident = []
    for line in process.stderr:
        if re.match(r"search +\d+/", line):
            with open(f"/proc/{process.pid}/statm") as file:
                resident.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
        if line.startswith(f"search {epochs}/"):
            break
    process.kill()
    process.wait()
    return resident


if __name__ == "__main__":
    main()
