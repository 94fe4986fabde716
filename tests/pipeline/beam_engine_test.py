"""pipeline/beam_engine.py: an engine that does not answer is found before a run begins."""

import concurrent.futures
import http.server
import json
import os
import re
import shutil
import socket
import threading

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.runner import PipelineState
from google.protobuf import struct_pb2

from pipeline import beam_engine, command_line
from pipeline.engines.engine import ask
from pipeline.roots import UsageError

PORTABLE = ["--runner=PortableRunner", "--environment_type=EXTERNAL", "--environment_config=localhost:50000"]
RUNNING, DONE = beam_job_api_pb2.JobState.RUNNING, beam_job_api_pb2.JobState.DONE


class JobServer(beam_job_api_pb2_grpc.JobServiceServicer):
    """A job server with jobs of two runs; `state` or `error` is what comes of the first job of one element."""

    def __init__(self, root):
        self.cancelled, self.name, self.flink, self.root = [], "", "[auto]", str(root)
        self.state, self.error = PipelineState.DONE, None
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(self, self.server)
        self.endpoint = f"localhost:{self.server.add_insecure_port('localhost:0')}"
        self.server.start()

    def GetJobs(self, request, context):
        jobs = [("1", self.name, DONE), ("2", self.name, RUNNING), ("3", "another run", RUNNING)]
        options = struct_pb2.Struct()
        options["beam:option:flink_master:v1"] = self.flink
        return beam_job_api_pb2.GetJobsResponse(
            job_info=[
                beam_job_api_pb2.JobInfo(job_id=key, job_name=name, state=state, pipeline_options=options)
                for key, name, state in jobs
            ]
        )

    def Cancel(self, request, context):
        self.cancelled.append(request.job_id)
        return beam_job_api_pb2.CancelJobResponse()

    def wait_until_finish(self, duration):
        assert duration == 2000
        if self.error:
            raise self.error
        return self.state

    def run(self, pipeline):
        self.name = pipeline.options.get_all_options()["job_name"]
        return self

    def checked(self):
        return beam_engine.checked([*PORTABLE, f"--job_endpoint={self.endpoint}"], self.root, 2.0)


@pytest.fixture
def job_server(monkeypatch, tmp_path):
    monkeypatch.setenv("grpc_proxy", "")
    server = JobServer(tmp_path)
    monkeypatch.setattr(beam_engine.beam.Pipeline, "run", lambda pipeline: server.run(pipeline))
    yield server
    server.server.stop(0)


def test_without_a_job_server_among_the_options_nothing_is_asked():
    default = command_line.BEAM_PIPELINE_ARGS.default
    with beam_engine.checked(default, "/root", 1.0) as options:
        assert options == default


def test_a_job_server_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(beam_engine, "_JOB_SERVER_S", 0.5)
    with socket.socket() as silent:  # bound, so that nobody else is there, but it does not listen
        silent.bind(("localhost", 0))
        endpoint = f"localhost:{silent.getsockname()[1]}"
        with (
            pytest.raises(UsageError, match=rf"--job_endpoint={endpoint} .*: no job server answers there\. Start"),
            beam_engine.checked([*PORTABLE, f"--job_endpoint={endpoint}"], "/root", 1.0),
        ):
            pytest.fail("The run began.")


def test_an_engine_that_answers_gets_the_run_with_options_without_noise(job_server):
    with job_server.checked() as options:
        assert "--experiments=disable_logging_submission_environment" in options
        assert f"--job_name={job_server.name}" in options
    assert job_server.cancelled == []


def test_a_worker_that_never_answers_is_said_and_its_job_cancelled(job_server):
    job_server.state = PipelineState.RUNNING
    with (
        pytest.raises(UsageError, match=r"No worker has .* in 2 s\. Look at .* pool at localhost:50000"),
        job_server.checked(),
    ):
        pytest.fail("The run began.")
    assert job_server.cancelled == ["2"]


def test_a_first_job_that_fails_says_why(job_server):
    job_server.error = RuntimeError("Pipeline job failed in state FAILED: no slots")
    with (
        pytest.raises(UsageError, match=f"first job of one element failed on .*{job_server.endpoint}: .*no slots"),
        job_server.checked(),
    ):
        pytest.fail("The run began.")


def test_a_job_server_for_spark_that_is_at_work_for_another_run_is_said_in_a_line(job_server):
    job_server.error = RuntimeError(
        "Pipeline job failed in state FAILED: org.apache.spark.SparkException: Only one SparkContext should be running "
        "in this JVM (see SPARK-2243).The currently running SparkContext was created at:\na\nb"
    )
    with (
        pytest.raises(UsageError, match=r"failed on .*: Beam's .* runs one job at a time.*job server$"),
        job_server.checked(),
    ):
        pytest.fail("The run began.")


def test_a_run_that_breaks_off_leaves_no_job_of_its_own_behind(job_server):
    with pytest.raises(KeyboardInterrupt), job_server.checked():
        raise KeyboardInterrupt
    assert job_server.cancelled == ["2"]


def test_a_job_that_a_killed_run_left_is_cancelled_by_the_next_one_with_the_same_options(job_server):
    with job_server.checked() as first:
        assert job_server.cancelled == []
    with job_server.checked() as second:
        assert job_server.cancelled == ["2"]
    assert first == second  # else TFX's cache would not know the components again


def test_jobs_are_cancelled_on_flink_too(job_server):
    cancelled = []

    class Flink(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            jobs = [("a", job_server.name, 7), ("b", job_server.name, -1), ("c", "another run", -1)]
            self.send_response(200)
            self.end_headers()
            listed = [{"jid": key, "name": name, "end-time": end} for key, name, end in jobs]
            self.wfile.write(json.dumps({"jobs": listed}).encode())

        def do_PATCH(self):
            cancelled.append(self.path)
            self.send_response(202)
            self.end_headers()

    with http.server.HTTPServer(("localhost", 0), Flink) as flink:
        threading.Thread(target=flink.serve_forever, daemon=True).start()
        job_server.flink = f"localhost:{flink.server_port}"
        with pytest.raises(KeyboardInterrupt), job_server.checked():
            raise KeyboardInterrupt
        flink.shutdown()
    assert cancelled == ["/jobs/b?mode=cancel"]


class CallError(grpc.RpcError, grpc.Call):
    """An error of a call, with a code and a text as gRPC's own have."""

    def __init__(self, code, details):
        self.of_call = code, details

    def code(self):
        return self.of_call[0]

    def details(self):
        return self.of_call[1]

    initial_metadata = trailing_metadata = is_active = time_remaining = cancel = add_callback = None


def test_a_job_server_that_is_lost_later_is_said_in_a_line(job_server):
    with pytest.raises(UsageError, match=r"the job server was lost\. .* same command"), job_server.checked():
        raise CallError(grpc.StatusCode.UNAVAILABLE, "Socket closed")


@pytest.mark.parametrize(
    "error",
    [
        CallError(grpc.StatusCode.INVALID_ARGUMENT, "no such coder\n\tat org.Coders.of(Coders.java:7)"),
        grpc.RpcError("no such coder"),
    ],
)
def test_a_job_server_that_refuses_is_not_lost_and_its_jobs_are_cancelled(job_server, error):
    with pytest.raises(UsageError, match=r"refused a request: no such coder\. Its log"), job_server.checked():
        raise error
    assert job_server.cancelled == ["2"]


def test_two_roots_have_jobs_of_other_names_even_at_the_same_path(tmp_path):
    (tmp_path / "root").mkdir()
    name = beam_engine._job_name(str(tmp_path / "root"))
    assert re.fullmatch("mdenas-[0-9a-f]{8}", name)
    assert beam_engine._job_name(str(tmp_path / "root")) == name
    shutil.copytree(tmp_path / "root", tmp_path / "copy")
    assert beam_engine._job_name(str(tmp_path / "copy")) != name
    (tmp_path / "root").rename(tmp_path / "moved")
    assert beam_engine._job_name(str(tmp_path / "moved")) == name  # else TFX's cache would not know the examples again
    (tmp_path / "root").mkdir()  # as on another machine
    assert beam_engine._job_name(str(tmp_path / "root")) != name
    assert beam_engine._job_name(str(tmp_path / "moved")) == name


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"jobs": "mdenas-1"}'])
def test_a_damaged_name_of_jobs_is_made_anew(tmp_path, content):
    (tmp_path / beam_engine.FILE_NAME).write_text(content)
    name = beam_engine._job_name(str(tmp_path))
    assert beam_engine._job_name(str(tmp_path)) == name != "mdenas-1"


def test_no_proxy_is_asked_for_the_engine(job_server, monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(beam_engine, "_JOB_SERVER_S", 20)
    with job_server.checked():
        pass
    monkeypatch.delenv("grpc_proxy")  # `checked` has set it

    class Engine(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[1]")

    with http.server.HTTPServer(("localhost", 0), Engine) as engine:
        threading.Thread(target=engine.serve_forever, daemon=True).start()
        assert ask(f"http://localhost:{engine.server_port}/") == [1]
        engine.shutdown()


def test_a_job_that_the_engine_gave_up_is_told_from_an_error_in_python(job_server):
    with pytest.raises(UsageError, match=r"gave up a job: .*: Slot lost\. .* repeats the job"), job_server.checked():
        raise RuntimeError(f"Pipeline {job_server.name}_1 failed in state FAILED: java.lang.Exception: Slot lost")
    with pytest.raises(RuntimeError, match="bad image"), job_server.checked():
        raise RuntimeError(f"Pipeline {job_server.name}_1 failed in state FAILED: Traceback: bad image")


def test_an_engine_that_is_gone_does_not_hide_the_error(job_server, monkeypatch):
    monkeypatch.setattr(beam_engine, "_JOB_SERVER_S", 0.5)
    with pytest.raises(ValueError, match="the reason"), job_server.checked():
        job_server.server.stop(0).wait()
        raise ValueError("the reason")
