"""Clusters on this machine: what can be seen without Java and without root. tests/engines/ starts real ones."""

import dataclasses
import os
import subprocess
import sys
import time

import psutil
import pytest

from pipeline.engines import EngineError, cluster, engine, hosts, java, processes, state


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Engines keep their files in a folder of this test's own."""
    (tmp_path / "flink").mkdir()
    monkeypatch.setattr(state, "FOLDER", str(tmp_path))
    return tmp_path / "flink"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Returns a function that makes a program, the only one in PATH, which prints a text to stderr."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()

    def make(name, text):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
        path.chmod(0o755)

    return make


def sleeper(folder):
    return processes.start("sleeper", ["sleep", "60"], {}, str(folder / "sleeper.log"), str(folder))


def test_a_state_is_read_as_it_was_written(folder):
    started = state.State("flink")
    started.add(processes.Started("job-manager", 7, 1.5, "a.log"))
    assert state.load("flink") == started
    assert os.listdir(folder) == ["state.json"]
    assert state.load("spark") is None


def test_without_a_start_there_is_nothing_to_stop_or_to_ask(folder):
    assert not cluster.stop("flink")
    for ask in (cluster.jobs, cluster.options):
        with pytest.raises(EngineError, match="No flink cluster is started"):
            ask("flink")


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """Locks are in a folder of this test's own; `check` finds nothing wrong."""
    monkeypatch.setattr(cluster, "_LOCKS", str(tmp_path))
    monkeypatch.setattr(cluster, "check", lambda name: None)


def test_a_second_start_or_stop_leaves_the_cluster_of_the_first_one_alone(folder, locks):
    with cluster._alone("flink"), cluster._alone("spark"):
        state.State("flink").save()
        for act in (cluster.start, cluster.stop):
            with pytest.raises(EngineError, match="Another program starts or stops a flink cluster"):
                act("flink")
    assert state.load("flink")


def test_a_start_that_comes_too_late_leaves_the_cluster_of_the_first_one_alone(folder, locks, monkeypatch):
    def check(name):  # the first start ends between the two checks
        if state.load(name):
            raise EngineError("is started already")
        state.State(name).save()

    monkeypatch.setattr(cluster, "check", check)
    with pytest.raises(EngineError, match="is started already"):
        cluster.start("flink")
    assert state.load("flink")


def test_a_start_that_fails_ends_what_it_made(folder, locks, monkeypatch):
    (folder / "job-server.jar").write_text("")
    deleted = []

    def fail(network):
        raise EngineError("no bridge")

    monkeypatch.setattr(hosts.Network, "create", fail)
    monkeypatch.setattr(hosts.Network, "processes", lambda network: [])
    monkeypatch.setattr(hosts.Network, "delete", lambda network: deleted.append(network.engine))
    with pytest.raises(EngineError, match="no bridge"):
        cluster.start("flink")
    assert deleted == ["flink"] and state.load("flink") is None


def test_the_log_of_the_start_before_is_kept(folder):
    for number in range(3):
        started = processes.start("a", ["echo", str(number)], {}, str(folder / "a.log"), str(folder))
        while not started.last_words():
            time.sleep(0.01)
    assert (folder / "a.log").read_text() == "2\n"
    assert (folder / "a.log.1").read_text() == "1\n"


def test_a_process_ends_by_its_id_and_not_one_that_has_its_id_now(folder):
    started = sleeper(folder)
    assert started.process == psutil.Process(started.pid)
    assert dataclasses.replace(started, created=started.created - 1).process is None
    processes.stop([started.process])
    assert started.process is None


def test_a_process_outlives_the_session_of_its_starter(folder):
    started = sleeper(folder)
    assert os.getsid(started.pid) == started.pid != os.getsid(0)
    processes.stop([started.process])


def test_a_process_that_does_not_listen_is_killed(folder, monkeypatch):
    monkeypatch.setattr(processes, "_PATIENCE_S", 0.5)
    deaf = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"]
    started = processes.start("deaf", deaf, {}, str(folder / "deaf.log"), str(folder))
    while not started.last_words():
        assert started.process
    processes.stop([started.process])
    assert started.process is None


def test_the_last_words_are_the_cause_of_the_end(folder):
    log = folder / "a.log"
    started = processes.Started("a", 1, 0.0, str(log))
    assert started.last_words() == ""
    log.write_text("INFO begins\n")
    assert started.last_words() == "INFO begins"
    log.write_text(
        "INFO begins\nCaused by: NumberFormatException: '2 s'\n\tat java.NumberFormatException.of\n\t... 2 more\n"
    )
    assert started.last_words() == "Caused by: NumberFormatException: '2 s'"


def test_hosts_have_names_that_the_system_takes_and_addresses_of_their_own():
    networks = [hosts.Network(name) for name in cluster.ENGINES]
    addresses = [network.address(host) for network in networks for host in network.hosts]
    assert len(set(addresses)) == len(addresses) == 6
    for network in networks:
        assert len(f"{network.bridge}-{len(network.hosts)}") <= 15  # IFNAMSIZ - 1
        assert network.inside("worker-1", ["true"])[:3] == ["ip", "netns", "exec"]


def test_addresses_in_use_are_refused(monkeypatch):
    network = hosts.Network("flink")
    answers = {"link": [{"ifname": "lo"}], "route": [{"dst": "default"}, {"dst": "10.0.0.0/8", "dev": "eth0"}]}
    monkeypatch.setattr(hosts, "_ask", answers.get)
    monkeypatch.setattr(hosts, "_namespaces", set)
    network.refuse_taken()
    answers["route"].append({"dst": network.address("worker-1"), "dev": "tun0"})
    with pytest.raises(EngineError, match=r"are taken: this machine has a route to [\d.]+ by tun0"):
        network.refuse_taken()
    answers["link"].append({"ifname": network.bridge})
    with pytest.raises(EngineError, match=r"another flink cluster is there: mdenas-flink\. Stop .* \(make flink-stop"):
        network.refuse_taken()


def test_java_of_another_version_is_refused(program):
    with pytest.raises(EngineError, match=r"No java found\. Install Java 17"):
        java.require()
    program("java", 'openjdk version "11.0.2" 2019-01-15')
    with pytest.raises(EngineError, match=r"java: found version 11; expected 17\. Install"):
        java.require()
    program("java", 'openjdk version "17.0.15" 2025-04-15')
    java.require()


def test_what_is_missing_is_said_before_anything_is_started(folder, program, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EngineError, match="Not root"):
        cluster.check("flink")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program("java", 'openjdk version "17.0.15" 2025-04-15')
    with pytest.raises(EngineError, match="No mvn found. Install it: `apt-get install maven`"):
        cluster.check("flink")
    program("mvn", "")
    with pytest.raises(EngineError, match="No ip found"):
        cluster.check("flink")
    program("ip", "")
    state.State("flink").save()
    with pytest.raises(EngineError, match=r"started already\. `make flink-stop`"):
        cluster.check("flink")


def test_a_mistake_on_the_command_line_is_one_line(tmp_path):
    (tmp_path / "bin").mkdir()
    command = [sys.executable, "-m", "pipeline.engines", "start", "flink"]
    variables = {**os.environ, "PATH": str(tmp_path / "bin")}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("flink: No") and done.stderr.count("\n") == 1


def test_programs_and_options_agree_on_addresses(folder):
    for name, of in cluster.ENGINES.items():
        daemons = {daemon.name: daemon for daemon in of().daemons()}
        network = hosts.Network(name)
        assert {"worker-1", "worker-2", "job-server"} < set(daemons)
        assert f"--job-host={network.address('master')}" in daemons["job-server"].command
        assert f"--job_endpoint={network.address('master')}:{engine.JOB_PORT}" in engine.beam_options(network)
        for host in hosts.WORKERS:
            assert any(network.address(host) in word for word in daemons[host].command)
