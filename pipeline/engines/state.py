"""What a started cluster consists of, in `.engines/<engine>/state.json`."""

import dataclasses
import json
import os

from models.runtime.files import write_atomically
from pipeline.engines.processes import Started

FOLDER = ".engines"


@dataclasses.dataclass
class State:
    """A cluster that was started, also one whose start failed half-way.

    Attributes:
        engine: "flink" or "spark".
        processes: The processes, in the order in which they were started.
    """

    engine: str
    processes: list[Started] = dataclasses.field(default_factory=list)

    def save(self) -> None:
        """Writes the state, whole or not at all."""
        write_atomically(path(self.engine), json.dumps(dataclasses.asdict(self), indent=2))

    def add(self, process: Started) -> None:
        """Adds a process and writes the state."""
        self.processes.append(process)
        self.save()


def load(engine: str) -> State | None:
    """Returns the state of an engine's cluster; None if none was started, or if it was stopped."""
    try:
        with open(path(engine)) as file:
            found = json.load(file)
    except FileNotFoundError:
        return None
    return State(found["engine"], [Started(**process) for process in found["processes"]])


def path(engine: str) -> str:
    """Returns the path of an engine's state."""
    return os.path.join(folder(engine), "state.json")


def folder(engine: str) -> str:
    """Returns the absolute path of the folder with an engine's packages, logs and state."""
    return os.path.abspath(os.path.join(FOLDER, engine))
