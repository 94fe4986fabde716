"""A standalone Flink cluster: a job manager, two task managers, Beam's job server."""

import os

from pipeline.engines import engine, java, state
from pipeline.engines.hosts import MASTER, WORKERS, Network

_REST_PORT = 8081
_HEAP_MB = 512
_NETWORK_MB = 512  # with 128, StatisticsGen has too few network buffers at parallelism 2
_OFF_HEAP_MB = 128  # of Flink itself, and as much again for Netty in Beam's gRPC

_LOG4J = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.type = CONSOLE
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %-5p %c{1}: %m%n
"""


class Flink:
    """Flink 1.19.3 of the package apache-flink-libraries, which has jars and no scripts."""

    def __init__(self):
        self.network = Network("flink")
        self._folder = state.folder("flink")
        self._conf = os.path.join(self._folder, "conf")

    def configure(self) -> None:
        """Writes Flink's configuration. What differs between task managers is in their command lines."""
        os.makedirs(self._conf, exist_ok=True)
        options = {
            "jobmanager.rpc.address": self.network.address(MASTER),
            # All addresses of the host: the job manager hands out jars by localhost too.
            "jobmanager.bind-host": "0.0.0.0",
            "rest.address": self.network.address(MASTER),
            "rest.bind-address": "0.0.0.0",
            "rest.port": _REST_PORT,
            # Two slots each: when one task manager is lost, the other one has room for a job with parallelism 2.
            "taskmanager.numberOfTaskSlots": 2,
            "taskmanager.load-balance.mode": "SLOTS",
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 3,
            "restart-strategy.fixed-delay.delay": "5 s",
            # The second heartbeat that cannot be delivered says that a task manager is lost.
            "heartbeat.interval": 2000,
            # Flink's scripts compute these from one size. They are not in the package.
            "taskmanager.cpu.cores": 1.0,
            "taskmanager.memory.framework.heap.size": "128m",
            "taskmanager.memory.task.heap.size": f"{_HEAP_MB - 128}m",
            "taskmanager.memory.framework.off-heap.size": f"{_OFF_HEAP_MB}m",
            "taskmanager.memory.task.off-heap.size": f"{_OFF_HEAP_MB}m",
            "taskmanager.memory.managed.size": "128m",
            "taskmanager.memory.network.min": f"{_NETWORK_MB}m",
            "taskmanager.memory.network.max": f"{_NETWORK_MB}m",
            "taskmanager.memory.jvm-metaspace.size": "512m",
            "taskmanager.memory.jvm-overhead.min": "192m",
            "taskmanager.memory.jvm-overhead.max": "192m",
        }
        with open(os.path.join(self._conf, "config.yaml"), "w") as file:
            file.writelines(f"{key}: {value}\n" for key, value in options.items())
        with open(os.path.join(self._conf, "log4j2.properties"), "w") as file:
            file.write(_LOG4J)

    def daemons(self) -> list[engine.Daemon]:
        """See Engine."""
        runtime = "org.apache.flink.runtime"
        master = self._java(f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint", 512)
        direct = [f"-XX:MaxDirectMemorySize={_NETWORK_MB + 2 * _OFF_HEAP_MB}m", "-XX:MaxMetaspaceSize=512m"]
        runner = f"{runtime}.taskexecutor.TaskManagerRunner"
        return [
            engine.Daemon("job-manager", MASTER, master, _REST_PORT),
            *(
                engine.Daemon(host, host, self._java(runner, _HEAP_MB, direct, self._of_worker(host)))
                for host in WORKERS
            ),
            engine.Daemon("job-server", MASTER, self._job_server(), engine.JOB_PORT),
        ]

    def workers(self) -> int:
        """See Engine."""
        return len(self._ask("taskmanagers")["taskmanagers"])

    def jobs(self) -> list[dict[str, str]]:
        """See Engine."""
        found = sorted(self._ask("jobs/overview")["jobs"], key=lambda job: job["start-time"])
        return [{"name": job["name"], "state": job["state"]} for job in found]

    def _ask(self, what: str):
        return engine.ask(f"http://{self.network.address(MASTER)}:{_REST_PORT}/{what}")

    def _java(self, main: str, heap_mb: int, options: list[str] | None = None, arguments: list[str] | None = None):
        library = os.path.join(self._folder, "packages", "pyflink", "lib", "*")
        log = f"-Dlog4j.configurationFile={self._conf}/log4j2.properties"
        return java.command(
            main, [library], heap_mb, [log, *(options or [])], ["--configDir", self._conf, *(arguments or [])]
        )

    def _of_worker(self, host: str) -> list[str]:
        own = {
            "taskmanager.host": self.network.address(host),
            "taskmanager.resource-id": host,
            "io.tmp.dirs": os.path.join(self._folder, "scratch", host),
        }
        return [part for key, value in own.items() for part in ("-D", f"{key}={value}")]

    def _job_server(self) -> list[str]:
        master = self.network.address(MASTER)
        arguments = [
            f"--flink-master={master}:{_REST_PORT}",
            f"--flink-conf-dir={self._conf}",
            f"--job-host={master}",
            f"--job-port={engine.JOB_PORT}",
            f"--artifacts-dir={self._folder}/scratch/artifacts",
            "--expansion-port=-1",
        ]
        main = "org.apache.beam.runners.flink.FlinkJobServerDriver"
        return java.command(main, [engine.job_server(self._folder)], 512, [], arguments)
