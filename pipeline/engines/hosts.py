"""Hosts of a cluster on one machine: network namespaces, each with an address of its own, on one bridge.

Two workers need two hosts. Each has a worker pool at localhost:50000 and asks it for a worker of the same name, so two
workers on one localhost would get each other's. A program that listens on all addresses of a host can be reached only
from this machine, and it takes no port of this machine.
"""

import dataclasses
import ipaddress
import json
import os
import subprocess
from typing import Any

from pipeline.engines import EngineError

MASTER = "master"
WORKERS = ("worker-1", "worker-2")
# Of 198.18.0.0/15, which is set aside for measurements (RFC 2544), so that no real network is hidden.
_NETWORKS = {"flink": "198.18.81.0/24", "spark": "198.18.77.0/24"}


@dataclasses.dataclass(frozen=True)
class Network:
    """The bridge and the hosts of one engine's cluster.

    Attributes:
        engine: "flink" or "spark".
    """

    engine: str

    @property
    def bridge(self) -> str:
        """The name of the bridge, which is also the prefix of all other names."""
        return f"mdenas-{self.engine}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts within the cluster."""
        return (MASTER, *WORKERS)

    def namespace(self, host: str) -> str:
        """Returns the name of a host's network namespace."""
        return f"{self.bridge}-{host}"

    def address(self, host: str) -> str:
        """Returns the address of a host. The bridge has the first address of the network, the hosts the next ones."""
        return str(self._network[self.hosts.index(host) + 2])

    def inside(self, host: str, command: list[str]) -> list[str]:
        """Returns a command that runs another one on a host."""
        return ["ip", "netns", "exec", self.namespace(host), *command]

    def refuse_taken(self) -> None:
        """Refuses names and addresses that are in use.

        Raises:
            EngineError: A namespace or the bridge exists, or this machine has a route into the network.
        """
        taken = [name for name in map(self.namespace, self.hosts) if name in _namespaces()]
        taken += [link["ifname"] for link in _ask("link") if link["ifname"] == self.bridge]
        if taken:
            raise EngineError(
                f"The network of another {self.engine} cluster is there: {', '.join(taken)}. Stop that cluster first "
                f"(make {self.engine}-stop, in the folder in which it was started)."
            )
        for route in _ask("route"):
            if route["dst"] == "default":
                continue
            if ipaddress.ip_network(route["dst"], strict=False).overlaps(self._network):
                raise EngineError(
                    f"The addresses {self._network}, which the {self.engine} cluster needs, are taken: this machine "
                    f"has a route to {route['dst']} by {route.get('dev', 'no device')}."
                )

    def create(self) -> None:
        """Creates bridge and hosts.

        Raises:
            EngineError: The system refuses.
        """
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("address", "add", f"{self._network[1]}/{self._network.prefixlen}", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")
        for number, host in enumerate(self.hosts):
            namespace, link = self.namespace(host), f"{self.bridge}-{number}"
            _ip("netns", "add", namespace)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _ip("link", "set", link, "master", self.bridge, "up")
            _ip("-netns", namespace, "link", "set", "lo", "up")
            _ip("-netns", namespace, "address", "add", f"{self.address(host)}/{self._network.prefixlen}", "dev", "eth0")
            _ip("-netns", namespace, "link", "set", "eth0", "up")

    def processes(self) -> list[int]:
        """Returns the ids of all processes on the hosts that exist."""
        there = _namespaces()
        names = [name for name in map(self.namespace, self.hosts) if name in there]
        return [int(line) for name in names for line in _ip("netns", "pids", name).split()]

    def delete(self) -> None:
        """Deletes what exists of bridge and hosts.

        The links come first: the end of a host deletes its link too, but some moments later.
        """
        for number in range(len(self.hosts)):
            self._delete_link(f"{self.bridge}-{number}")
        there = _namespaces()
        for name in map(self.namespace, self.hosts):
            if name in there:
                _ip("netns", "delete", name)
        self._delete_link(self.bridge)

    def _delete_link(self, name: str) -> None:
        if not _link_exists(name):
            return
        try:
            _ip("link", "delete", name)
        except EngineError:
            if _link_exists(name):  # otherwise the end of its host has deleted it
                raise

    @property
    def _network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(_NETWORKS[self.engine])


def _namespaces() -> set[str]:
    return set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()


def _link_exists(name: str) -> bool:
    return any(link["ifname"] == name for link in _ask("link"))


def _ask(what: str) -> list[dict[str, Any]]:
    return json.loads(_ip("-json", what, "show") or "[]")


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise EngineError(f"`ip {' '.join(arguments)}` failed: {' '.join(done.stderr.split()) or done.returncode}.")
    return done.stdout
