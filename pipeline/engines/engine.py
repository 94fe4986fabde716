"""What the starter of clusters needs to know of an engine."""

import dataclasses
import json
import os
import urllib.request
from typing import Any, Protocol

from pipeline.engines.hosts import MASTER, Network

# Proxies lead to other networks: the programs of a cluster are on this machine, or in the network of the run.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

JOB_PORT = 8099
POOL_PORT = 50000


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A program of a cluster.

    Attributes:
        name: What it is in the cluster; its log has this name too.
        host: The host on which it runs.
        command: The program and its arguments.
        port: It is ready when it accepts connections on this port of its host; None: others say when it is ready.
        environment: Variables in addition to those of the starter.
    """

    name: str
    host: str
    command: list[str]
    port: int | None = None
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


class Engine(Protocol):
    """An engine: its programs, and what its REST API says."""

    network: Network

    def configure(self) -> None:
        """Writes the files that the programs read."""
        ...

    def daemons(self) -> list[Daemon]:
        """Returns the programs in the order of their start: master, workers, job server."""
        ...

    def workers(self) -> int:
        """Returns the number of workers that are registered at the master.

        Raises:
            OSError: The master does not answer.
        """
        ...

    def jobs(self) -> list[dict[str, str]]:
        """Returns `name` and `state` of each job, the newest last.

        Raises:
            OSError: The master does not answer.
        """
        ...


def beam_options(network: Network) -> list[str]:
    """Returns the Beam options with which a pipeline runs on a cluster."""
    return [
        "--runner=PortableRunner",
        f"--job_endpoint={network.address(MASTER)}:{JOB_PORT}",
        "--environment_type=EXTERNAL",
        f"--environment_config=localhost:{POOL_PORT}",
        # Otherwise each stage waits for a new Python that imports TensorFlow.
        "--environment_cache_millis=60000",
        "--parallelism=2",
        # Otherwise TFX packs its own source for the workers, which have it.
        "--requirements_file=requirements.txt",
        "--requirements_cache=skip",
    ]


def ask(url: str) -> Any:
    """Returns the JSON document at an address, which is asked without a proxy.

    Raises:
        OSError: There is no answer.
    """
    with direct.open(url, timeout=5) as answer:
        return json.load(answer)


def job_server(folder: str) -> str:
    """Returns the path of the job server's jar in an engine's folder."""
    return os.path.join(folder, "job-server.jar")
