"""A standalone Spark cluster: a master, two workers, Beam's job server, which is also the driver of the jobs."""

import os

from pipeline.engines import engine, java, state
from pipeline.engines.hosts import MASTER, WORKERS, Network

_PORT = 7077
_REST_PORT = 8080
_EXECUTOR_MB = 1024


class Spark:
    """Spark 3.5.8 of the package pyspark."""

    def __init__(self):
        self.network = Network("spark")
        self._folder = state.folder("spark")
        self._home = os.path.join(self._folder, "packages", "pyspark")
        self._jars = os.path.join(self._home, "jars", "*")

    def configure(self) -> None:
        """Does nothing: all options are in the command lines."""

    def daemons(self) -> list[engine.Daemon]:
        """See Engine."""
        address, deploy = self.network.address, "org.apache.spark.deploy"
        at_master = ["--host", address(MASTER), "--port", str(_PORT), "--webui-port", str(_REST_PORT)]
        master = java.command(f"{deploy}.master.Master", [self._jars], 384, [], at_master)
        return [
            engine.Daemon("master", MASTER, master, _REST_PORT, self._environment(MASTER)),
            *(
                engine.Daemon(
                    host,
                    host,
                    java.command(f"{deploy}.worker.Worker", [self._jars], 384, [], self._of_worker(host)),
                    environment=self._environment(host),
                )
                for host in WORKERS
            ),
            engine.Daemon("job-server", MASTER, self._job_server(), engine.JOB_PORT, self._environment(MASTER)),
        ]

    def workers(self) -> int:
        """See Engine."""
        return sum(worker["state"] == "ALIVE" for worker in self._ask()["workers"])

    def jobs(self) -> list[dict[str, str]]:
        """See Engine."""
        found = self._ask()
        jobs = sorted(found["activeapps"] + found["completedapps"], key=lambda job: job["starttime"])
        return [{"name": job["name"], "state": job["state"]} for job in jobs]

    def _ask(self):
        return engine.ask(f"http://{self.network.address(MASTER)}:{_REST_PORT}/json/")

    def _environment(self, host: str) -> dict[str, str]:
        return {
            "SPARK_HOME": self._home,
            "SPARK_LOCAL_IP": self.network.address(host),
            "SPARK_SCALA_VERSION": "2.12",  # else workers look for it in the folders of a build of Spark
        }

    def _of_worker(self, host: str) -> list[str]:
        return [
            *("--host", self.network.address(host), "--cores", "1", "--memory", f"{_EXECUTOR_MB}m"),
            *("--work-dir", os.path.join(self._folder, "scratch", host)),
            f"spark://{self.network.address(MASTER)}:{_PORT}",
        ]

    def _job_server(self) -> list[str]:
        master = self.network.address(MASTER)
        options = [
            f"-Dspark.driver.host={master}",
            f"-Dspark.executor.memory={_EXECUTOR_MB}m",
            f"-Dspark.local.dir={self._folder}/scratch/driver",
            "-Dspark.ui.enabled=false",
            # Beam keeps a Python worker that was lost for this executor: four attempts there fail within a second.
            "-Dspark.excludeOnFailure.enabled=true",
        ]
        arguments = [
            f"--spark-master-url=spark://{master}:{_PORT}",
            f"--job-host={master}",
            f"--job-port={engine.JOB_PORT}",
            f"--artifacts-dir={self._folder}/scratch/artifacts",
            "--expansion-port=-1",
        ]
        main = "org.apache.beam.runners.spark.SparkJobServerDriver"
        return java.command(main, [engine.job_server(self._folder), self._jars], 768, options, arguments)
