"""--metadata=mysql://...: whole runs whose records are in a real MariaDB server."""

import os
import re
import signal
import subprocess
import threading

import pytest
from ml_metadata.proto import metadata_store_pb2

from pipeline import metadata_store
from pipeline.roots import UsageError
from pipeline.run_record import Run
from tests.support import mariadb, pipeline_runs

RUNNING = metadata_store_pb2.Execution.RUNNING


@pytest.fixture(scope="module")
def server():
    with mariadb.served() as found:
        yield found


@pytest.fixture(autouse=True)
def password(monkeypatch):
    monkeypatch.setenv(metadata_store.PASSWORD, mariadb.PASSWORD)
    monkeypatch.delenv("MYSQL_PWD", raising=False)


def _flags(address):
    # A published cell instead of a search: what a search does is no matter here.
    return (
        *(f"--metadata={address}", "--config.architecture=darts_v2", "--config.train.epochs=2"),
        *("--config.baselines.names=('majority',)", "--config.baselines.epochs=0"),
    )


def _pipelines(address):
    opened = metadata_store.choose(address, "", "").open()
    return opened, [context.name for context in opened.get_contexts_by_type("pipeline")]


def _files_with(text, folder):
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                if text.encode() in file.read():
                    yield os.path.join(parent, name)


def test_a_whole_run_is_recorded_and_a_second_one_is_cached(server, tmp_path):
    address, root = server.create("whole"), tmp_path / "root"
    first = pipeline_runs.run(root, f"--metadata={address}")
    assert first.returncode == 0, first.stderr
    assert first.summary["cached"] == []
    again = pipeline_runs.run(root, f"--metadata={address}")
    assert again.returncode == 0, again.stderr
    assert {"TfdsExampleGen", "ImageValidator", "SupernetSearch", "Trainer"} <= set(again.summary["cached"])
    assert again.summary["test_accuracy"] == first.summary["test_accuracy"]
    opened, (name,) = _pipelines(address)
    assert name.startswith("digits-")
    run = Run(opened, name)
    ancestors = run.ancestors(run.outputs("Trainer")["model"])
    assert [artifact.uri for artifact in ancestors["Examples"]] == first.summary["lineage"]["examples"]
    assert not os.path.exists(root / "metadata.sqlite")
    assert list(_files_with(mariadb.PASSWORD, root)) == []
    assert mariadb.PASSWORD not in first.stdout + first.stderr

    # The records of this root are there, and nowhere else.
    other = pipeline_runs.run(root)
    assert other.returncode == 1
    assert f"recorded in {address}. Give this store with --metadata" in other.stderr


@pytest.mark.parametrize("module", ["pipeline.local_runner", "pipeline.beam_runner"])
def test_two_runs_at_once_from_two_roots_share_an_empty_database(server, tmp_path, module):
    address = server.create("two_" + module[-11:-7])
    results = {}

    def start(name):
        results[name] = pipeline_runs.run(tmp_path / name, *_flags(address), module=module)

    threads = [threading.Thread(target=start, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[name].returncode for name in ("one", "other")] == [0, 0], results
    opened, names = _pipelines(address)
    assert len(names) == 2
    assert RUNNING not in [execution.last_known_state for execution in opened.get_executions()]
    for name in ("one", "other"):  # neither has taken anything from the other's
        assert results[name].summary["cached"] == []
        assert all(uri.startswith(f"{tmp_path}/{name}/") for uri in results[name].summary["lineage"]["examples"])
    assert results["one"].summary["test_accuracy"] == results["other"].summary["test_accuracy"]


def test_a_run_neither_closes_nor_forgets_what_belongs_to_another_root(server, tmp_path):
    address = server.create("beside")
    process = _start_training(tmp_path / "one", address)
    try:
        # A whole second run, while the first one has an execution that is RUNNING.
        process.send_signal(signal.SIGSTOP)
        other = pipeline_runs.run(tmp_path / "other", *_flags(address))
        assert other.returncode == 0, other.stderr
        states = [execution.last_known_state for execution in _pipelines(address)[0].get_executions()]
        assert states.count(RUNNING) == 1
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=600)
        assert process.returncode == 0
    finally:
        process.kill()


def test_a_server_that_stops_in_the_middle_costs_one_line_and_the_same_command_resumes(server, tmp_path):
    address, root = server.create("stopped"), tmp_path / "root"
    process = _start_training(root, address)
    server.stop()
    try:
        told = process.stderr.read()
        process.stderr.close()
        assert process.wait() == 1
        (line,) = [line for line in told.splitlines() if line.startswith("ERROR")]
        assert line.startswith(
            f"ERROR: No database server answers at 127.0.0.1, port {server.port} (Connection refused), where "
            f"--metadata places the database 'stopped' of user '{mariadb.USER}'. Start the server or correct "
            "--metadata."
        )
        assert "Traceback" not in told and mariadb.PASSWORD not in told
        assert not os.path.exists(root / "summary.json")
        # As long as the server is away, the same command says so at once, and writes nothing.
        before = sorted(os.listdir(root))
        again = pipeline_runs.run(root, *_flags(address))
        assert again.returncode == 1 and again.stderr.count("No database server answers") == 1, again.stderr
        assert sorted(os.listdir(root)) == before
    finally:
        server.start()
    resumed = pipeline_runs.run(root, *_flags(address))
    assert resumed.returncode == 0, resumed.stderr
    assert {"TfdsExampleGen", "ImageValidator"} <= set(resumed.summary["cached"])
    states = [execution.last_known_state for execution in _pipelines(address)[0].get_executions()]
    assert RUNNING not in states
    assert list(_files_with(mariadb.PASSWORD, root)) == []


def _start_training(root, address):
    """Starts a run; returns its process as soon as the first of two epochs of the training is over."""
    command = pipeline_runs.command(root, *_flags(address))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if re.match(r"train +1/2 ", line):
            return process
    raise AssertionError(f"the run ended with {process.wait()}")


def test_a_server_that_refuses_is_named_without_the_password(server, monkeypatch):
    address = server.create("refused")
    cases = {
        "no such database": (server.address("no_such_database"), mariadb.PASSWORD),
        "refuses this user or the password": (address, "wrong: pass"),
    }
    for reason, (place, given) in cases.items():
        monkeypatch.setenv(metadata_store.PASSWORD, given)
        with pytest.raises(UsageError, match=reason) as error:
            metadata_store.choose(place, "", "").open()
        assert f"at 127.0.0.1, port {server.port}, as user '{mariadb.USER}'" in str(error.value)
        assert given not in str(error.value)
    assert "no_such_database" not in server.sql("SHOW DATABASES")
