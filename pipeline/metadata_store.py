"""The store in which ML Metadata records a run: an SQLite file in the root, or a store that several roots share.

This module starts fast: ML Metadata and TensorFlow are imported inside functions.
"""

import contextlib
import dataclasses
import os
import re
import socket
import time
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.roots import UsageError

if TYPE_CHECKING:
    from ml_metadata import MetadataStore
    from ml_metadata.proto import metadata_store_pb2

PASSWORD = "MDENAS_METADATA_PASSWORD"  # environment variable

# MySQL's client library reads the password from this variable. So no message that describes a connection, which TFX
# logs and Beam copies, contains the password.
_CLIENT_PASSWORD = "MYSQL_PWD"

_FORMS = "mysql://USER@HOST:PORT/DATABASE, or sqlite:///PATH for a file"
_MYSQL_PORT = 3306
_PATIENCE = 10  # seconds until a server must accept a connection
_GREETING = 4096  # bytes, more than the first packet of a server has
_ERROR_PACKET = b"\xff"  # its first byte, after the four bytes of the header; two bytes with a number follow
_ATTEMPTS = 5  # to open a store: two runs can create its tables at the same time
_MYSQL_FAILURE = re.compile(r"mysql_\w+ (failed|aborted): errno: \d*, error: .*")  # as ML Metadata reports it


@dataclasses.dataclass(frozen=True)
class Sqlite:
    """A store in an SQLite file.

    Attributes:
        path: The file, which need not exist.
        shared: Whether several roots use the store.
    """

    path: str
    shared: bool = False

    @property
    def address(self) -> str:
        """The store, for messages."""
        return self.path

    @property
    def connection(self) -> "metadata_store_pb2.ConnectionConfig":
        """What ML Metadata needs to open the store."""
        from tfx.orchestration import metadata

        return metadata.sqlite_metadata_connection_config(self.path)

    def open(self) -> "MetadataStore":
        """Opens the store. Creates the file if it is missing.

        Raises:
            UsageError: The file is not a database of ML Metadata.
        """
        from ml_metadata import MetadataStore

        try:
            return MetadataStore(self.connection)
        except Exception as error:  # ML Metadata has one class of exceptions per error code
            raise UsageError(
                f"{self.path} is not a database that ML Metadata can use; pipeline.log gives the reason. Restore the "
                "file from a copy; or rename both the file and the folder artifacts beside it, and run again."
            ) from error

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Returns a context in which the store is used. A file needs no explanation of its errors."""
        yield


@dataclasses.dataclass(frozen=True)
class Mysql:
    """A database of a MySQL or MariaDB server, which several roots on several machines can share."""

    user: str
    host: str
    port: int
    database: str
    shared = True

    @property
    def address(self) -> str:
        """The store, for messages. It has no password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mysql://{self.user}@{host}:{self.port}/{self.database}"

    @property
    def connection(self) -> "metadata_store_pb2.ConnectionConfig":
        """What ML Metadata needs to open the store, without the password."""
        from ml_metadata.proto import metadata_store_pb2

        # The client library takes the name localhost as a request for a Unix socket.
        host = "127.0.0.1" if self.host == "localhost" else self.host
        return metadata_store_pb2.ConnectionConfig(
            mysql=metadata_store_pb2.MySQLDatabaseConfig(
                host=host, port=self.port, database=self.database, user=self.user, skip_db_creation=True
            )
        )

    def open(self) -> "MetadataStore":
        """Opens the store. Creates the tables if they are missing, but not the database.

        Raises:
            UsageError: The server does not answer, refuses the user, or has no such database.
        """
        from ml_metadata import MetadataStore

        reason = ""
        for attempt in range(_ATTEMPTS):
            time.sleep(0.5 * attempt)
            reason = self._greeting_error()
            if reason:
                continue  # a server that has too many connections may soon have room
            try:
                return MetadataStore(self.connection)
            except Exception as error:
                reason, is_final = self._refusal(str(error))
                if is_final:
                    break
        raise UsageError(
            f"ML Metadata cannot use the database {self.database!r} at {self.host}, port {self.port}, as user "
            f"{self.user!r}: {reason} Then give the same command again."
        )

    def _greeting_error(self) -> str:
        """Returns the error with which the server refuses every connection, before it knows the user; "" for none.

        ML Metadata gives no reason if a connection fails.

        Raises:
            UsageError: No server answers.
        """
        try:
            with socket.create_connection((self.host, self.port), timeout=_PATIENCE) as connection:
                packet = connection.recv(_GREETING)
        except OSError as error:
            raise UsageError(
                f"No database server answers at {self.host}, port {self.port} ({error.strerror or error}), where "
                f"--metadata places the database {self.database!r} of user {self.user!r}. Start the server or correct "
                "--metadata. Then give the same command again; it resumes."
            ) from error
        if packet and packet[4:5] != _ERROR_PACKET:
            return ""
        # Some servers put a code of SQL before the text.
        said = re.sub(r"^#\w{5}", "", packet[7:].decode(errors="replace")) or "nothing"
        return f"the server takes no connection at the moment. It says: {said}. Wait, or let it take more connections."

    def _refusal(self, message: str) -> tuple[str, bool]:
        """Returns why ML Metadata could not use the server and what to do, and whether it is in vain to try again."""
        message = _without_password(message)
        if "to database" in message or "Unknown database" in message:
            told = f"there is no such database, or the user may not use it ({message}). Create it, and grant the user"
            return f"{told} all rights.", True
        if "mysql_real_connect failed" in message:
            return (
                "the server refuses this user or the password. Check the user, and the password in "
                f"{PASSWORD} or --metadata_password_file. If they are right, the server's log says why: a limit of "
                f"connections of this user has the same effect ({message}).",
                "Access denied" in message,
            )
        return f"{message}. Look at the server's log.", False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Returns a context in which the store is used. It explains a failure of the server.

        Raises:
            UsageError: The server does not answer, or did not for a while.
        """
        try:
            yield
        except UsageError:
            raise
        except Exception as error:
            # Beam hands on the text of an error, but not its type.
            failure = _MYSQL_FAILURE.search(str(error))
            if failure or _is_of_ml_metadata(error):
                self.open()
            if failure:
                raise UsageError(
                    f"The database {self.database!r} at {self.host}, port {self.port}, failed for a while "
                    f"({_without_password(failure.group())}); the server answers again. The same command resumes."
                ) from error
            raise


Store = Sqlite | Mysql


def _is_of_ml_metadata(error: BaseException | None) -> bool:
    from ml_metadata import errors

    while error and not isinstance(error, errors.StatusError):
        error = error.__cause__
    return error is not None


def _without_password(message: str) -> str:
    """Returns the message of a server in one line, or a replacement if it repeats the password."""
    password = os.environ.get(_CLIENT_PASSWORD)
    return "(a message with the password in it)" if password and password in message else " ".join(message.split())


def of_root(root: str) -> Sqlite:
    """Returns the store that belongs to one root alone."""
    return Sqlite(os.path.join(root, "metadata.sqlite"))


def choose(address: str, password_file: str, root: str) -> Store:
    """Returns the store that the flags name. Hands a password to MySQL's client library.

    Args:
        address: The value of --metadata; "" for the root's own file.
        password_file: The value of --metadata_password_file; "" for none.
        root: Absolute path of the run's folder.

    Raises:
        UsageError: The flags name no store, or a password is in a wrong place. The message contains no password.
    """
    if not address.startswith("mysql:"):
        if password_file:
            raise UsageError("--metadata_password_file is only used with --metadata=mysql://... Leave it out.")
        return _sqlite(address) if address else of_root(root)
    store = _mysql(address)
    password = _password(password_file)
    if password is not None:
        os.environ[_CLIENT_PASSWORD] = password
    return store


def _sqlite(address: str) -> Sqlite:
    path = address.removeprefix("sqlite:///")
    if path == address or not path:
        raise UsageError(f"--metadata names no store of ML Metadata. Give {_FORMS}.")
    return Sqlite(os.path.realpath(os.path.expanduser(path)), shared=True)


def _mysql(address: str) -> Mysql:
    """Parses an address. Messages do not repeat it, because it may contain a password."""
    try:
        parts = urllib.parse.urlsplit(address)
        port = parts.port or _MYSQL_PORT
    except ValueError:
        raise UsageError(f"--metadata has an impossible host or port. Give {_FORMS}.") from None
    if parts.password is not None:
        raise UsageError(
            f"--metadata contains a password, which others on this machine can read. Give mysql://USER@HOST/DATABASE, "
            f"and the password in the environment variable {PASSWORD} or in --metadata_password_file=FILE."
        )
    user, database = (urllib.parse.unquote(part or "") for part in (parts.username, parts.path.removeprefix("/")))
    if not (user and parts.hostname and database) or "/" in database or parts.query or parts.fragment:
        raise UsageError(f"--metadata is not an address of a database. Give {_FORMS}.")
    return Mysql(user, parts.hostname, port, database)


def _password(file: str) -> str | None:
    given = os.environ.get(PASSWORD)
    if not file:
        return given
    if given is not None:
        raise UsageError(f"There are two passwords: {PASSWORD} and --metadata_password_file. Give one of them.")
    try:
        with open(os.path.expanduser(file)) as opened:
            password = opened.read().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"--metadata_password_file={file} cannot be read: {why}.") from None
    if not password or "\n" in password:
        raise UsageError(f"--metadata_password_file={file}: found no or several lines; expected one: the password.")
    return password
