"""What the oracle's tests run in processes of their own, and the searches they share.

    python -m tests.support.oracle_processes kill DIRECTORY
    python -m tests.support.oracle_processes workers DIRECTORY

Each imports KerasTuner once and forks before anything has started a thread.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import sys
import time
import types

import keras_tuner

from models.oracle import oracle as oracle_module
from models.oracle.oracle import MultinomialOracle
from models.oracle.rules.registry import RULES

# Trials after which a search is killed, and where in a save it is killed: that of a trial's start or of its end.
KILL_AFTER = (1, 7, 20)
KILL_IN_SAVE = ("half-written start", "written start", "half-written end", "written end")


def cell(choices=4, operations=5):
    hp = keras_tuner.HyperParameters()
    for choice in range(choices):
        hp.Choice(f"edge_{choice}", [f"op_{operation}" for operation in range(operations)])
    return hp


def make_oracle(directory, hp=None, objective="val_accuracy", max_trials=200, seed=3, **options):
    oracle = MultinomialOracle(objective, max_trials, seed=seed, hyperparameters=hp or cell(), **options)
    oracle.verbose = 0
    oracle._set_project_dir(str(directory), "project")
    return oracle


def score(values):
    """The sum of the operations' numbers, at most 1."""
    return sum(int(operation[-1]) for operation in values.values()) / 20


def run(oracle, trials, worker="worker", name="val_accuracy"):
    """Runs trials through the oracle's own interface and returns the values that were sampled."""
    sampled = []
    for _ in range(trials):
        trial = oracle.create_trial(worker)
        sampled.append(dict(trial.hyperparameters.values))
        oracle.update_trial(trial.trial_id, {name: score(sampled[-1])})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return sampled


# Searches that are killed. #


def kill(directory):
    """Starts and kills a search in DIRECTORY/RULE/MOMENT for every rule and moment."""
    os.fsync = lambda _: None  # slow, and only a power failure loses what a process wrote
    for rule in RULES:
        for moment in (*KILL_AFTER, *KILL_IN_SAVE):
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                try:
                    _victim(directory / rule / str(moment), rule, moment, writer)
                finally:
                    os._exit(1)
            os.close(writer)
            assert os.read(reader, 1) == b"x", f"{rule}, {moment}: ended before it was killed"
            os.close(reader)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _victim(directory, rule, moment, writer):
    def wait_for_death():
        os.write(writer, b"x")
        time.sleep(600)

    oracle = make_oracle(directory, rule=rule)
    if moment in KILL_AFTER:
        run(oracle, moment)
        wait_for_death()

    @contextlib.contextmanager
    def half_file(path, *_, **__):
        with open(path, "w") as file:

            def write(text):
                file.write(text[: len(text) // 2])
                file.flush()
                wait_for_death()

            yield types.SimpleNamespace(write=write)

    run(oracle, 11)
    trial = None
    if moment.endswith("end"):
        trial = oracle.create_trial("worker")
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
        trial.status = "COMPLETED"
    if moment.startswith("written"):
        os.replace = lambda *_: wait_for_death()
    else:
        oracle_module.open = half_file
    oracle.end_trial(trial) if trial else oracle.create_trial("worker")


# A chief and two workers. #


class Tuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Notes the trials it runs in a file of its own; may hang in its third."""

    hangs = False
    ran = 0

    def run_trial(self, trial):
        name = os.environ["KERASTUNER_TUNER_ID"]
        with open(pathlib.Path(self.directory) / f"{name}.txt", "a") as file:
            file.write(f"{trial.trial_id}\n")
        self.ran += 1
        if self.hangs and self.ran == 3:
            time.sleep(600)
        time.sleep(0.03)
        return score(trial.hyperparameters.values)


def workers(directory):
    """Two searches of 30 trials: in the second, a worker is killed in its third trial."""
    for scenario in ("calm", "killed"):
        place = directory / scenario
        place.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            os.environ.update(KERASTUNER_ORACLE_IP="127.0.0.1", KERASTUNER_ORACLE_PORT=str(free.getsockname()[1]))
        started = {name: _start(name, place, scenario) for name in ("chief", "first", "second")}
        if scenario == "killed":
            notes = place / "second.txt"
            while not notes.exists() or len(notes.read_text().split()) < 3:
                time.sleep(0.01)
            os.kill(started.pop("second"), signal.SIGKILL)
        for name, child in started.items():
            assert os.waitpid(child, 0)[1] == 0, f"{name} failed"


def _start(name, place, scenario):
    child = os.fork()
    if child:
        return child
    os.environ["KERASTUNER_TUNER_ID"] = name
    from keras_tuner.src.distribute import oracle_chief

    # It looks every second, and then every 20, whether all is done.
    oracle_chief.time = types.SimpleNamespace(sleep=lambda _: time.sleep(0.2))
    objective = keras_tuner.Objective("default_objective", "max")
    oracle = make_oracle(place, objective=objective, max_trials=30, lost_after=2.0)
    tuner = Tuner(oracle=oracle, directory=str(place), project_name="project")
    tuner.hangs = scenario == "killed" and name == "second"
    tuner.search(verbose=0) if name == "chief" else tuner.search()
    if name == "chief":
        statuses = {trial.trial_id: trial.status for trial in oracle.trials.values()}
        result = {"statuses": statuses, "document": oracle.distribution_document()}
        (place / "result.json").write_text(json.dumps(result))
    os._exit(0)


if __name__ == "__main__":
    {"kill": kill, "workers": workers}[sys.argv[1]](pathlib.Path(sys.argv[2]))
