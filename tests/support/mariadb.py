"""A MariaDB server for tests: Debian's package, on the loopback address, with a data folder of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

PASSWORD = "pass: word@1"
USER = "searcher"


class MariaDb:
    """A server that can be stopped and started again. Its processes are ended by their ids."""

    def __init__(self, folder: str):
        self._folder = folder
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        # mariadbd refuses to run as root.
        self._user = ["--user=mysql"] if os.getuid() == 0 else []
        self._process: subprocess.Popen | None = None
        data = f"--datadir={folder}/data"
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", *self._user, data, "--skip-test-db"],
            check=True,
            capture_output=True,
            timeout=300,
        )

    def start(self) -> None:
        """Starts the server. Returns when it accepts connections."""
        log = open(os.path.join(self._folder, "log"), "ab")  # noqa: SIM115 - the server holds it open
        self._process = subprocess.Popen(
            [
                "mariadbd",
                "--no-defaults",
                *self._user,
                f"--datadir={self._folder}/data",
                f"--socket={self._folder}/data/socket",
                f"--pid-file={self._folder}/data/pid",
                "--bind-address=127.0.0.1",
                f"--port={self.port}",
            ],
            stdout=log,
            stderr=log,
        )
        log.close()
        for _ in range(600):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            assert self._process.poll() is None, f"the server ended; see {self._folder}/log"
            time.sleep(0.1)
        raise TimeoutError(f"the server does not answer; see {self._folder}/log")

    def stop(self) -> None:
        """Stops the server, and waits for its end."""
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
            self._process = None

    def create(self, database: str) -> str:
        """Creates a database for the user. Returns its address, the value of --metadata."""
        self.sql(
            f"CREATE DATABASE {database}; "
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'; "
            f"GRANT ALL ON {database}.* TO '{USER}'@'%'"
        )
        return self.address(database)

    def address(self, database: str) -> str:
        """Returns the address of a database, which need not exist."""
        return f"mysql://{USER}@127.0.0.1:{self.port}/{database}"

    def sql(self, statements: str) -> str:
        """Runs SQL as the server's administrator. Returns the rows."""
        command = ["mariadb", "--no-defaults", f"--socket={self._folder}/data/socket", "-N", "-e", statements]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@contextlib.contextmanager
def served() -> Iterator[MariaDb]:
    """Installs the package if it is missing, and runs a server until the end of the context."""
    if not shutil.which("mariadbd"):
        assert os.getuid() == 0, "mariadbd is missing: apt-get install mariadb-server"
        command = ["apt-get", "install", "-y", "--no-install-recommends", "mariadb-server"]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
    folder = tempfile.mkdtemp(prefix="mariadb-")
    if os.getuid() == 0:
        shutil.chown(folder, "mysql")  # not a folder of pytest, into which the user mysql may not look
    server = None
    try:
        server = MariaDb(folder)
        server.start()
        yield server
    finally:
        if server:
            server.stop()
        shutil.rmtree(folder)
