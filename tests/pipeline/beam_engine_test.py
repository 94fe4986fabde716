"""pipeline/beam_engine.py: an engine that does not answer is found before a run begins."""

import socket

import pytest
from apache_beam.runners.runner import PipelineState

from pipeline import beam_engine, command_line
from pipeline.roots import UsageError

PORTABLE = ["--runner=PortableRunner", "--environment_type=EXTERNAL", "--environment_config=localhost:50000"]


class Job:
    """Stands for a job on an engine: it is in `state` when the wait ends."""

    def __init__(self, state, error=None):
        self._state, self._error, self.cancelled = state, error, False

    def wait_until_finish(self, duration):
        assert duration == 2000
        if self._error:
            raise self._error
        return self._state

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def submitted(monkeypatch):
    """Returns a function that makes all pipelines one job, and a listening socket a job server."""
    monkeypatch.setattr(beam_engine, "_require_job_server", lambda endpoint: None)

    def submit(job):
        monkeypatch.setattr(beam_engine.beam.Pipeline, "run", lambda pipeline: job)
        return beam_engine.prepare([*PORTABLE, "--job_endpoint=server:8099"], 2.0)

    return submit


def test_without_a_job_server_among_the_options_nothing_is_asked():
    default = command_line.BEAM_PIPELINE_ARGS.default
    assert beam_engine.prepare(default, 1.0) == default


def test_a_job_server_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(beam_engine, "_JOB_SERVER_S", 0.5)
    with socket.socket() as silent:  # bound, so that nobody else is there, but it does not listen
        silent.bind(("localhost", 0))
        endpoint = f"localhost:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match=rf"--job_endpoint={endpoint} .*: no job server answers there\. Start"):
            beam_engine.prepare([*PORTABLE, f"--job_endpoint={endpoint}"], 1.0)


def test_an_engine_that_answers_gets_options_without_noise(submitted):
    job = Job(PipelineState.DONE)
    assert submitted(job)[-1] == "--experiments=disable_logging_submission_environment"
    assert not job.cancelled


def test_a_worker_that_never_answers_is_said_and_its_job_cancelled(submitted):
    job = Job(PipelineState.RUNNING)
    with pytest.raises(UsageError, match=r"No worker .*server:8099 in 2 s\. Look at .* pool at localhost:50000"):
        submitted(job)
    assert job.cancelled


def test_a_first_job_that_fails_says_why(submitted):
    job = Job(PipelineState.FAILED, RuntimeError("Pipeline job failed in state FAILED: no slots"))
    with pytest.raises(UsageError, match="A first job of one element failed on the engine .*server:8099: .*no slots"):
        submitted(job)
    assert not job.cancelled


def test_an_interrupted_wait_leaves_no_job_behind(submitted):
    job = Job(PipelineState.RUNNING, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        submitted(job)
    assert job.cancelled
