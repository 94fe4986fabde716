"""Repeats a run with a budget by the config in its report, without the budget, and compares the results bit for bit.

    python -m benchmarks.faults.planned_run --root=runs/planned --minutes=5

Prints, for each result, whether it is equal.
"""

import argparse
import html
import json
import os
import re
import shutil
import subprocess
import sys

from benchmarks.faults import chaos


def main() -> None:
    """Runs twice and compares; exit status 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="runs/planned", help="folder of both runs; emptied first")
    parser.add_argument("--config", default="pipeline/configs/digits.py", help="the pipeline's config")
    parser.add_argument("--minutes", type=float, default=5.0, help="the budget")
    args = parser.parse_args()
    shutil.rmtree(args.root, ignore_errors=True)
    planned, repeated = (os.path.join(args.root, name) for name in ("planned", "repeated"))
    _run(args.config, planned, f"--config.budget.minutes={args.minutes}")
    with open(os.path.join(planned, "summary.json"), encoding="utf-8") as file:
        report = json.load(file)["report"]
    with open(report, encoding="utf-8") as file:
        config = config_of(file.read())
    path = os.path.join(args.root, "repeated.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(config)
    _run(path, repeated)
    equal = chaos.compare(planned, repeated)
    for name, same in equal.items():
        print(f"{name}: {'equal' if same else 'DIFFERENT'}")
    sys.exit(not all(equal.values()))


def config_of(report: str) -> str:
    """Returns the config in a report that repeats the run: a Python file's content."""
    text = html.unescape(re.sub(r"<[^>]+>", "", report))
    (config,) = re.findall(r"from pipeline\.configs import base.*?return config", text, flags=re.DOTALL)
    return config + "\n"


def _run(config: str, root: str, *overrides: str) -> None:
    command = [sys.executable, "-m", "pipeline.local_runner", f"--config={config}", f"--root={root}", *overrides]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
