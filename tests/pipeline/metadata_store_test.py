"""pipeline/metadata_store.py: which store the flags name, and that no password is shown."""

import errno
import os
import re
import socket
import threading

import ml_metadata
import pytest
from ml_metadata import errors

from pipeline import metadata_store
from pipeline.metadata_store import Mysql, Sqlite, choose
from pipeline.roots import UsageError


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv(metadata_store.PASSWORD, raising=False)
    monkeypatch.setenv("MYSQL_PWD", "")


@pytest.mark.parametrize(
    "address,store",
    [
        ("", Sqlite("/runs/a/metadata.sqlite")),
        ("sqlite:////shared/store.sqlite", Sqlite("/shared/store.sqlite", shared=True)),
        ("mysql://me@db.example/nas", Mysql("me", "db.example", 3306, "nas")),
        ("mysql://me%40work@db:33/a%20b", Mysql("me@work", "db", 33, "a b")),
        ("mysql://me@[::1]:33/nas", Mysql("me", "::1", 33, "nas")),
    ],
)
def test_an_address_names_a_store(address, store):
    assert choose(address, "", "/runs/a") == store


@pytest.mark.parametrize(
    "address,said",
    [
        ("mysql://me:secret@host/nas", "contains a password"),
        ("mysql://me:@host/nas", "contains a password"),
        ("mysql://host:secret/nas", "impossible host or port"),
        ("mysql:/me:secret@host/nas", "is not an address"),
        ("mysql://me@host", "is not an address"),
        ("mysql://host/secret", "is not an address"),
        ("mysql://me@host/nas/secret", "is not an address"),
        ("mysql://me@host/nas?password=secret", "is not an address"),
        ("postgres://me:secret@host/nas", "names no store"),
        ("sqlite:secret", "names no store"),
        ("sqlite:///", "names no store"),
    ],
)
def test_another_address_is_refused_without_being_repeated(address, said):
    with pytest.raises(UsageError, match=said) as error:
        choose(address, "", "/runs/a")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("content,password", [("pass: word@1\n", "pass: word@1"), ("  ä\r\n", "  ä")])
def test_the_password_goes_to_the_client_library_and_not_into_the_connection(tmp_path, content, password):
    file = tmp_path / "password"
    file.write_text(content, encoding="utf-8")
    store = choose("mysql://me@localhost/nas", str(file), "")
    assert os.environ["MYSQL_PWD"] == password
    assert password not in str(store.connection) + str(store) + store.address
    assert store.connection.mysql.host == "127.0.0.1"  # MySQL's client would look for a socket


def test_the_password_can_come_from_the_environment_but_not_twice(tmp_path, monkeypatch):
    monkeypatch.setenv(metadata_store.PASSWORD, "secret")
    choose("mysql://me@host/nas", "", "")
    assert os.environ["MYSQL_PWD"] == "secret"
    with pytest.raises(UsageError, match="two passwords") as error:
        choose("mysql://me@host/nas", str(tmp_path / "file"), "")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"secret\nsecret\n", b"\xff\xfesecret", None])
def test_a_password_file_has_one_line(tmp_path, content):
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match="--metadata_password_file=") as error:
        choose("mysql://me@host/nas", str(file), "")
    assert "secret" not in str(error.value)


def test_a_password_file_without_a_server_is_refused():
    with pytest.raises(UsageError, match="only used with --metadata=mysql"):
        choose("", "file", "/runs/a")


def test_a_server_that_does_not_answer_is_named():
    with socket.socket() as taken:  # bound, and deaf
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(UsageError) as error:
            Mysql("me", "127.0.0.1", port, "nas").open()
    assert str(error.value).startswith(
        f"No database server answers at 127.0.0.1, port {port} (Connection refused), where --metadata places the "
        "database 'nas' of user 'me'. Start the server"
    )


LOST = "mysql_query failed: errno: 2013, error: Lost connection to MySQL server during query"


GREETING = b"\x4a\0\0\0\x0a10.11.0-MariaDB\0"
FULL = b"\x17\0\0\0\xff\x10\x04Too many connections"


@pytest.fixture
def refusing_server(monkeypatch):
    """Returns a function that opens a store; it returns the message and the number of tries.

    The server greets with the packets, and then ML Metadata fails with a text.
    """
    monkeypatch.setattr(metadata_store.time, "sleep", lambda seconds: None)

    def ask(text, packets=(GREETING,) * 5):
        tries = []

        def fail(connection):
            tries.append(connection)
            raise RuntimeError(text)

        def greet():
            for packet in packets:
                connection, _ = server.accept()
                connection.sendall(packet)
                connection.close()

        monkeypatch.setattr(ml_metadata, "MetadataStore", fail)
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=greet, daemon=True).start()
            with pytest.raises(UsageError) as error:
                Mysql("me", "127.0.0.1", server.getsockname()[1], "nas").open()
        return str(error.value), len(tries)

    return ask


@pytest.mark.parametrize(
    "error,said,tries",
    [
        # What ML Metadata says, whatever the server's reason is.
        ("mysql_real_connect failed: errno: , error: ", "refuses this user or the password.* has the same effect", 5),
        ("mysql_real_connect failed: errno: 1045, error: Access denied for user 'me'@'h'", "refuses this user or", 1),
        (
            "mysql_query failed: errno: 1044, error: Access denied for user 'me'@'%' to database 'nas'",
            "no such data",
            1,
        ),
        ("mysql_query failed: errno: 1049, error: Unknown database 'nas'", "there is no such database", 1),
        ("mysql_query failed: errno: 1114, error: The table is full", "as user 'me': mysql_query", 5),
    ],
)
def test_what_a_server_refuses_is_said_in_its_own_words_too(refusing_server, error, said, tries):
    told, tried = refusing_server(error)
    assert re.search(said, told) and error.strip() in told and told.endswith("Then give the same command again.")
    assert tried == tries


def test_a_full_server_is_no_wrong_password(refusing_server):
    told, tries = refusing_server("", packets=[FULL, FULL.replace(b"Too", b"#08004Too")] * 2 + [FULL])
    assert "takes no connection at the moment. It says: Too many connections. Wait" in told and "password" not in told
    assert tries == 0
    told, tries = refusing_server(
        "mysql_real_connect failed: errno: , error: ", packets=[FULL, GREETING, FULL, b"", FULL]
    )
    assert "Too many connections" in told and tries == 1


def test_a_message_with_the_password_in_it_is_not_repeated(refusing_server, monkeypatch):
    monkeypatch.setenv("MYSQL_PWD", "s3cret")
    told, _ = refusing_server("mysql_real_connect failed: errno: 1, error: s3cret")
    assert "s3cret" not in told


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the loss is not finite"),
        OSError(errno.ENOSPC, "No space left on device", "runs/mysql/mysql_query failed"),
        RuntimeError("Metadata storage is a part of the title"),
    ],
)
def test_an_error_of_the_run_is_no_failure_of_the_server_even_if_that_is_away(monkeypatch, error):
    monkeypatch.setattr(Mysql, "open", lambda self: pytest.fail("The server was asked."))
    with pytest.raises(type(error)) as raised, Mysql("me", "host", 3306, "nas").watched():
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    "error", [errors.InternalError(LOST), RuntimeError(f"Traceback:\n{LOST}\n[while running 'x']")]
)
def test_a_failure_of_the_server_is_told_from_one_that_goes_on(monkeypatch, error):
    store = Mysql("me", "host", 3306, "nas")
    monkeypatch.setattr(Mysql, "open", lambda self: None)
    with pytest.raises(UsageError, match=r"failed for a while \(.*2013.*query\); the server answers"), store.watched():
        raise error

    def away(self):
        raise UsageError("No database server answers")

    monkeypatch.setattr(Mysql, "open", away)
    with pytest.raises(UsageError, match="No database server answers"), store.watched():
        raise error


def test_an_error_of_ml_metadata_with_another_text_asks_whether_the_server_is_there(monkeypatch):
    asked = []
    monkeypatch.setattr(Mysql, "open", lambda self: asked.append(self))
    store = Mysql("me", "host", 3306, "nas")
    with pytest.raises(RuntimeError, match="outer"), store.watched():
        raise RuntimeError("outer") from errors.NotFoundError("no such artifact")
    assert asked == [store]
