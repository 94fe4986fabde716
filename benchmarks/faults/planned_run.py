"""Repeats a run with a budget by the config in its report, without the budget, and compares the results bit for bit.

    python -m benchmarks.faults.planned_run --root=runs/planned --minutes=5

With `--kill=S` the run with the budget is killed (SIGKILL) S seconds after each of its components began, and the same
command is given again. If a component ends earlier, the next one is killed. Then each planner must have made one plan.
Prints, for each result, whether it is equal.
"""

import argparse
import glob
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from benchmarks.faults import chaos

_PLANNERS = ("Search", "Training")


def main() -> None:
    """Runs twice and compares; exit status 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="runs/planned", help="folder of both runs; emptied first")
    parser.add_argument("--config", default="pipeline/configs/digits.py", help="the pipeline's config")
    parser.add_argument("--minutes", type=float, default=5.0, help="the budget")
    parser.add_argument("--kill", type=float, metavar="S", help="kills the run S seconds after each component's begin")
    args = parser.parse_args()
    shutil.rmtree(args.root, ignore_errors=True)
    planned, repeated = (os.path.join(args.root, name) for name in ("planned", "repeated"))
    minutes = f"--config.budget.minutes={args.minutes}"
    if args.kill is not None:
        print("killed in", ", ".join(_run_and_kill(args.kill, args.config, planned, minutes)), flush=True)
    else:
        subprocess.run(_command(args.config, planned, minutes), check=True)
    with open(os.path.join(planned, "summary.json"), encoding="utf-8") as file:
        report = json.load(file)["report"]
    with open(report, encoding="utf-8") as file:
        config = config_of(file.read())
    path = os.path.join(args.root, "repeated.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(config)
    subprocess.run(_command(path, repeated), check=True)
    plans = [
        glob.glob(os.path.join(planned, "artifacts", f"{name}Planner", "plan", "*", "plan.json")) for name in _PLANNERS
    ]
    equal = {"one plan of each planner": [len(found) for found in plans] == [1, 1], **chaos.compare(planned, repeated)}
    for name, same in equal.items():
        print(f"{name}: {'equal' if same else 'DIFFERENT'}")
    sys.exit(not all(equal.values()))


def config_of(report: str) -> str:
    """Returns the config in a report that repeats the run: a Python file's content."""
    text = html.unescape(re.sub(r"<[^>]+>", "", report))
    (config,) = re.findall(r"from pipeline\.configs import base.*?return config", text, flags=re.DOTALL)
    return config + "\n"


def _command(config: str, root: str, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.local_runner", f"--config={config}", f"--root={root}", *overrides]


def _run_and_kill(seconds: float, *arguments: str) -> list[str]:
    """Runs until the run ends by itself; returns the components in which it was killed."""
    tried: set[str] = set()
    killed: list[str] = []
    while True:
        process = subprocess.Popen(_command(*arguments), stderr=subprocess.PIPE, text=True)
        sent, running = False, ""
        for line in process.stderr:
            sys.stderr.write(line)
            begun = re.match(r"\[[0-9:]+\] (\S+) \.\.\.$", line)
            if begun:
                running = begun[1]
                if not sent and running not in tried:
                    tried.add(running)
                    time.sleep(seconds)
                    process.send_signal(signal.SIGKILL)
                    sent = True
        status = process.wait()
        if status == 0:
            return killed
        if not sent or status != -signal.SIGKILL:
            sys.exit(f"the run ended with status {status}")
        killed.append(running)


if __name__ == "__main__":
    main()
