"""pipeline/metadata_store.py: which store the flags name, and that no password is shown."""

import os
import socket

import pytest

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


def test_an_error_of_the_run_is_no_lost_connection(monkeypatch):
    store = Mysql("me", "host", 3306, "nas")
    monkeypatch.setattr(Mysql, "open", lambda self: None)
    with pytest.raises(ValueError, match="not finite"), store.watched():
        raise ValueError("the loss is not finite")
    with pytest.raises(UsageError, match="was lost for a while"), store.watched():
        raise RuntimeError("Cannot connect to Metadata storage: mysql_query failed")
