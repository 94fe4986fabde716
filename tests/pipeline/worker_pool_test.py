"""pipeline/worker_pool.py: the pool's workers are started with the Python that started the pool, or not at all."""

import concurrent.futures
import contextlib
import errno
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time

import grpc
import psutil
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

from pipeline import worker_pool


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Returns a function that makes this module's Python another one, a script."""

    def make(script):
        (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "python").chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    return make


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def test_the_own_python_comes_first(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    variables = worker_pool.environment()
    assert shutil.which("python", path=variables["PATH"]) == os.path.join(os.path.dirname(sys.executable), "python")
    assert variables["PYTHONPATH"].endswith(":/elsewhere")


def test_workers_ask_no_proxy_for_the_engine_unless_it_is_one_for_grpc(monkeypatch):
    monkeypatch.delenv("grpc_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    assert worker_pool.environment()["grpc_proxy"] == ""
    monkeypatch.setenv("grpc_proxy", "http://proxy:3128")
    assert worker_pool.environment()["grpc_proxy"] == "http://proxy:3128"


def test_this_environment_is_a_right_one():
    assert worker_pool.problem(free_port()) == ""


def test_a_python_without_the_packages_is_refused(python):
    python(f'exec {sys.executable} -S "$@"')
    told = worker_pool.problem(free_port())
    assert "python has no apache_beam, tensorflow, tfx" in told
    assert told.endswith(".venv/bin/python -m pipeline.worker_pool.")


def test_a_python_that_does_not_work_is_refused(python):
    python("echo loading; echo no such library >&2; exit 127")
    assert "python does not work: no such library. Use the project's Python" in worker_pool.problem(free_port())


def test_a_python_of_another_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3.10"))
    assert worker_pool.problem(free_port()).startswith(f"There is no `python` beside {tmp_path}/python3.10, but Beam")


def test_a_port_that_is_taken_is_said_in_one_line():
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "pipeline.worker_pool", f"--port={port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ERROR: Port {port} cannot be used: Address already in use.")
    assert done.stderr.count("\n") == 1


def test_a_machine_without_ipv6_is_a_right_one(monkeypatch):
    class Ipv4Only(socket.socket):
        def __init__(self, family=socket.AF_INET, *arguments, **options):
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *arguments, **options)

    monkeypatch.setattr(socket, "socket", Ipv4Only)
    worker_pool._try(free_port())
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        with pytest.raises(OSError, match="Address already in use"):
            worker_pool._try(taken.getsockname()[1])


@pytest.fixture
def request_worker(tmp_path, monkeypatch):
    """Returns a function that asks a pool, whose `python` ends by a command, for a worker; it returns the starts."""
    starts = tmp_path / "starts"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def ask(ending, control):
        starts.write_text("")
        (tmp_path / "python").write_text(f"#!/bin/sh\necho >> {starts}\n{ending}\n")
        (tmp_path / "python").chmod(0o755)
        port = free_port()
        server = worker_pool.start(port)
        request = beam_fn_api_pb2.StartWorkerRequest(worker_id="1-1", control_endpoint={"url": control})
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            pool = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
            assert not pool.StartWorker(request, timeout=30).error
            settled = time.monotonic() + 3
            while time.monotonic() < settled and starts.read_text().count("\n") <= 3:
                time.sleep(0.05)
        server.stop(0)
        return starts.read_text().count("\n")

    return ask


def test_a_worker_that_dies_is_started_again_while_its_engine_waits_and_not_for_ever(request_worker, monkeypatch):
    with socket.socket() as engine:
        engine.bind(("localhost", 0))
        engine.listen()
        control = f"localhost:{engine.getsockname()[1]}"
        assert request_worker("exit 1", control) == 3
        monkeypatch.setattr(worker_pool, "_CLOSING_S", 0.2)
        assert request_worker("exit 0", control) == 3
        assert request_worker("kill $$", control) == 3  # by SIGTERM, of which the pool does not know
    assert request_worker("exit 1", control) == 1  # the engine is gone


def test_a_worker_that_is_not_needed_any_more_ends_without_an_error_and_is_not_started_again(request_worker):
    with socket.socket() as engine:
        engine.bind(("localhost", 0))
        engine.listen()
        closing = threading.Timer(1, engine.close)
        closing.start()
        assert request_worker("exit 0", f"localhost:{engine.getsockname()[1]}") == 1
        closing.join()


class Engine(beam_fn_api_pb2_grpc.BeamFnControlServicer, beam_fn_api_pb2_grpc.BeamFnDataServicer):
    """An engine that gives work to a worker and, like Beam's, waits first for the worker's stream of elements."""

    def __init__(self):
        self.data, self.answers = queue.Queue(), queue.Queue()
        self.workers, self.over = [], threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(self, self.server)
        beam_fn_api_pb2_grpc.add_BeamFnDataServicer_to_server(self, self.server)
        self.address = f"localhost:{self.server.add_insecure_port('localhost:0')}"
        self.server.start()

    def Control(self, request_iterator, context):
        self.workers.append(dict(context.invocation_metadata())["worker_id"])
        for number in ("1", "2"):
            work = beam_fn_api_pb2.ProcessBundleRequest(process_bundle_descriptor_id=f"part {number}")
            yield beam_fn_api_pb2.InstructionRequest(instruction_id=number, process_bundle=work)
            self.data.put(self.data.get(timeout=60))
            self.answers.put(next(request_iterator))
        self.over.wait(60)

    def GetProcessBundleDescriptor(self, request, context):
        if request.process_bundle_descriptor_id == "part 2":
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "not in this engine")
        port = beam_fn_api_pb2.RemoteGrpcPort(
            api_service_descriptor=endpoints_pb2.ApiServiceDescriptor(url=self.address)
        )
        described = beam_fn_api_pb2.ProcessBundleDescriptor(id=request.process_bundle_descriptor_id)
        for step, urn in (
            ("in", "beam:runner:source:v1"),
            ("work", "beam:transform:pardo:v1"),
            ("out", "beam:runner:sink:v1"),
        ):
            described.transforms[step].spec.urn = urn
            if step != "work":
                described.transforms[step].spec.payload = port.SerializeToString()
        return described

    def Data(self, request_iterator, context):
        self.data.put(dict(context.invocation_metadata())["worker_id"])
        while not self.over.wait(0.01):
            yield beam_fn_api_pb2.Elements(data=[beam_fn_api_pb2.Elements.Data(data=b"x" * 100_000)])


def test_an_engine_whose_worker_does_not_start_is_told_so_and_need_not_wait_for_ever(request_worker):
    engine = Engine()
    try:
        assert request_worker("exit 3", engine.address) == 3
        answers = [engine.answers.get(timeout=30) for _ in range(2)]
    finally:
        engine.over.set()
        engine.server.stop(0)
    assert [answer.instruction_id for answer in answers] == ["1", "2"]
    for answer in answers:
        assert answer.error.startswith("the Python worker 1-1 ended with status 3, the last of 3 times; the log of the")
    assert engine.workers == ["1-1"]
    assert [engine.data.get(timeout=1) for _ in range(engine.data.qsize())] == ["1-1"]  # one stream for both steps


@pytest.fixture
def engines():
    """Returns a function that makes so many addresses at which engines listen."""
    with contextlib.ExitStack() as stack:

        def make(count):
            made = [stack.enter_context(socket.socket()) for _ in range(count)]
            for one in made:
                one.bind(("localhost", 0))
                one.listen()
            return made

        yield make


@pytest.fixture
def patient_python(tmp_path, monkeypatch):
    """The first `python` in PATH is one that waits for a minute; returns a function that lists its processes.

    The function waits until there are so many of them.
    """
    (tmp_path / "python").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def list_processes(parent, count=0):
        until = time.monotonic() + 20
        while True:
            found = [child for child in psutil.Process(parent).children() if child.name() == "sleep"]
            if len(found) >= count or time.monotonic() > until:  # a process that was just started is still a shell
                return found
            time.sleep(0.05)

    return list_processes


def start_workers(channel, addresses, name="1-1"):
    """Asks a pool for a worker for each address, all at the same time."""
    pool = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
    calls = [
        pool.StartWorker.future(
            beam_fn_api_pb2.StartWorkerRequest(
                worker_id=name, control_endpoint={"url": f"localhost:{address.getsockname()[1]}"}
            ),
            timeout=60,
        )
        for address in addresses
    ]
    assert not [call.result().error for call in calls if call.result().error]


def test_a_worker_that_is_given_back_is_ended_and_not_those_of_other_jobs_with_the_same_name(patient_python, engines):
    port = free_port()
    server = worker_pool.start(port)
    try:
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            addresses = engines(8)
            for address in addresses[:2]:
                start_workers(channel, [address])
            first, second = sorted(patient_python(os.getpid(), 2), key=psutil.Process.create_time)
            start_workers(channel, addresses[2:])
            others = set(patient_python(os.getpid(), 8)) - {first, second}
            assert len(others) == 6
            pool = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
            pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"), timeout=30)
            time.sleep(1)
            assert len(patient_python(os.getpid())) == 8  # whose worker it is, is not known yet
            addresses[1].close()
            assert psutil.wait_procs([second], timeout=20) == ([second], [])
            assert {first, *others} == set(patient_python(os.getpid()))
    finally:
        server.stop(0)
        for child in patient_python(os.getpid()):
            child.kill()


def test_all_workers_end_with_the_pool(patient_python, engines, monkeypatch):
    port = free_port()
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    program = f"from pipeline import worker_pool; worker_pool.start({port}); print(1, flush=True); input()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline() == "1\n"
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            start_workers(channel, engines(3))
        started = patient_python(process.pid, 3)
        assert len(started) == 3
        _, told = process.communicate("\n", timeout=60)
    assert psutil.wait_procs(started, timeout=20)[1] == []
    assert "Traceback" not in told
