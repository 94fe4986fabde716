"""Real Flink and Spark clusters: they write what one process writes, they survive lost workers, they leave nothing.

Tests that take a worker away come last: the cluster has one worker less from then on.
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import threading
import time

import psutil
import pytest

from pipeline import beam_engine, worker_pool
from pipeline.engines import EngineError, cluster, hosts, processes, state
from pipeline.engines.engine import POOL_PORT, Daemon, beam_options
from pipeline.roots import UsageError
from tests.support import image_fixtures, pipeline_runs

_PATIENCE_S = 240
_INGEST = {"name": "", "image_size": 8, "seed": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of 640 images that take some time to decode, so that a test finds the ingest at work."""
    made = image_fixtures.write_folder(tmp_path_factory.mktemp("images"), train=6, test=2, size=(768, 768))
    for path in list(pathlib.Path(made).rglob("*.png")):
        for number in range(39):
            os.link(path, path.with_stem(f"{path.stem}-{number}"))
    return made


@pytest.fixture(scope="module")
def local(folder, tmp_path_factory):
    """The files that one process writes."""
    directory = tmp_path_factory.mktemp("local")
    return files(image_fixtures.run_example_gen(directory, image_folder=folder, **_INGEST).uri)


def ingest(engine, folder, directory):
    """Returns the files that an engine writes."""
    os.makedirs(directory, exist_ok=True)
    with beam_engine.checked(beam_options(hosts.Network(engine)), str(directory), _PATIENCE_S) as options:
        examples = image_fixtures.run_example_gen(directory, beam_args=options, image_folder=folder, **_INGEST)
    return files(examples.uri)


def files(folder):
    """Returns the bytes of the files in a folder by their paths in it."""
    paths = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def daemon(engine, name):
    """Returns the process of a program of the cluster."""
    (found,) = (started.process for started in state.load(engine).processes if started.name == name)
    return found


def test_the_engine_writes_the_same_examples_and_its_list_of_jobs_says_so(engine, folder, local, tmp_path):
    before = len(cluster.jobs(engine))
    assert ingest(engine, folder, tmp_path) == local
    jobs = cluster.jobs(engine)[before:]
    assert len(jobs) == 2  # the first job of one element, and the ingest
    assert {job["state"] for job in jobs} == {"FINISHED"}


@pytest.mark.whole
def test_a_whole_run_ends_like_one_in_one_process(engine, digits_run, tmp_path):
    options = beam_options(hosts.Network(engine))
    run = pipeline_runs.run(tmp_path / "root", *(f"--beam_pipeline_args={option}" for option in options))
    assert run.returncode == 0, run.stderr
    assert "pip" not in run.stderr
    for figure in ("genotype", "test_accuracy", "class_accuracy", "params", "blessed"):
        assert run.summary[figure] == digits_run.summary[figure], figure
    examples, expected = (pathlib.Path(one.root, "artifacts/TfdsExampleGen") for one in (run, digits_run))
    assert files(examples) == files(expected)


def test_a_started_cluster_is_not_started_again(engine):
    command = [sys.executable, "-m", "pipeline.engines", "start", engine]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{engine}: The {engine} cluster is started already. `make {engine}-stop` ends it.\n"


def test_a_second_run_that_begins_while_a_first_one_is_at_work(engine, folder, local, tmp_path):
    with concurrent.futures.ThreadPoolExecutor() as threads:
        one = threads.submit(ingest, engine, folder, tmp_path / "one")
        wait_for_work(tmp_path / "one")
        if engine == "spark":  # Beam's job server for Spark runs one job at a time
            with pytest.raises(UsageError, match="runs one job at a time"):
                ingest(engine, folder, tmp_path / "other")
        else:
            assert ingest(engine, folder, tmp_path / "other") == local
        assert one.result() == local


def test_a_pool_whose_python_is_wrong_gets_a_limit_and_a_line(engine, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\necho no module named apache_beam >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    variables = {**worker_pool.environment(), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    network = hosts.Network(engine)
    port = POOL_PORT + 1
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    wrong = [
        processes.start(host, network.inside(host, command), variables, str(tmp_path / host), os.getcwd())
        for host in hosts.WORKERS
    ]
    options = [*beam_options(network), f"--environment_config=localhost:{port}"]
    try:
        with pytest.raises(UsageError) as raised, beam_engine.checked(options, str(tmp_path), 30):
            pytest.fail("The run began.")
    finally:
        processes.stop([one.process for one in wrong])
    until = time.monotonic() + 60
    while cluster.jobs(engine)[-1]["state"] in ("RUNNING", "CANCELLING"):
        assert time.monotonic() < until, "The job occupies the engine."
        time.sleep(0.5)
    assert "No worker has answered a first job of one element" in str(raised.value)
    assert f"the log of the worker pool at localhost:{port}" in str(raised.value)


def wait_for_work(directory):
    """Waits until the ingest has written some shards, but not all."""
    until = time.monotonic() + _PATIENCE_S
    while not any(names for _, _, names in os.walk(os.path.join(directory, "examples", "Split-train"))):
        assert time.monotonic() < until
        time.sleep(0.05)


def ingest_and_kill(engine, folder, directory, victim):
    """Runs an ingest, and in the middle of it kills the process that `victim` returns."""
    killed = []

    def kill():
        wait_for_work(directory)
        process = victim()
        process.kill()
        killed.append(process)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        return ingest(engine, folder, directory)
    finally:
        thread.join()
        assert killed


def test_the_python_of_a_worker_killed_in_the_middle(engine, folder, local, tmp_path):
    def victim():
        return daemon(engine, "pool-1").children()[-1]

    assert ingest_and_kill(engine, folder, tmp_path, victim) == local


def test_a_worker_of_the_engine_killed_in_the_middle(engine, folder, local, tmp_path):
    def victim():
        return daemon(engine, "worker-1")

    assert ingest_and_kill(engine, folder, tmp_path, victim) == local


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of Beam's own threads
def test_a_job_server_that_is_lost_in_the_middle(engine, folder, local, tmp_path):
    with pytest.raises(UsageError, match="the job server was lost"):
        ingest_and_kill(engine, folder, tmp_path / "lost", lambda: daemon(engine, "job-server"))
    # The same again, as soon as the engine is there again.
    cluster.stop(engine)
    cluster.start(engine)
    assert ingest(engine, folder, tmp_path / "again") == local


def assert_no_network(engine):
    for what in ("netns", "link"):
        assert f"mdenas-{engine}" not in subprocess.run(["ip", what], capture_output=True, text=True, check=True).stdout


def test_stop_leaves_nothing(engine):
    left = {started.pid for started in state.load(engine).processes} | set(hosts.Network(engine).processes())
    assert cluster.stop(engine)
    assert not [pid for pid in left if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
    assert_no_network(engine)
    assert not cluster.stop(engine)


def test_a_start_that_fails_leaves_nothing(engine, monkeypatch):
    broken = Daemon("pool-1", "worker-1", ["sh", "-c", "echo Error: no pool; exit 1"], POOL_PORT)
    monkeypatch.setattr(cluster, "_pools", lambda: [broken])
    with pytest.raises(EngineError, match="pool-1 ended: Error: no pool"):
        cluster.start(engine)
    assert state.load(engine) is None
    assert_no_network(engine)
