"""Checks, before a run begins, that the engine on which Beam's work is to run answers: a job server, then a worker.

Flink and Spark wait without an end and without an error for a Python worker that does not come up. A first job of one
element, with a limit of time, finds this out before hours are spent.
"""

import contextlib
import sys
from collections.abc import Iterator

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipeline import worker_pool
from pipeline.roots import UsageError
from pipeline.terminal import one_line

_JOB_SERVER_S = 5.0
# Beam lists the installed packages for its own log, with pip, which this project's environment does not have.
_QUIET = "--experiments=disable_logging_submission_environment"


def prepare(arguments: list[str], patience_s: float) -> list[str]:
    """Checks the engine that Beam options name, if they name a job server.

    Args:
        arguments: The Beam options of a run.
        patience_s: The limit for the first job in seconds. The engine may have to start its workers in this time.

    Returns:
        The Beam options for the components.

    Raises:
        UsageError: There is no job server, or no worker has answered in this time, or the first job failed.
    """
    portable = PipelineOptions(arguments).view_as(PortableOptions)
    if not portable.job_endpoint or portable.job_endpoint == "embed":
        return arguments
    arguments = [*arguments, _QUIET]
    _require_job_server(portable.job_endpoint)
    _require_worker(arguments, portable, patience_s)
    return arguments


def _require_job_server(endpoint: str) -> None:
    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_JOB_SERVER_S)
        except grpc.FutureTimeoutError:
            raise UsageError(
                f"--job_endpoint={endpoint} (--beam_pipeline_args): no job server answers there. Start Beam's job "
                "server of the engine, or correct the address: docs/deploy.md."
            ) from None


def _require_worker(arguments: list[str], portable: PortableOptions, patience_s: float) -> None:
    where = f"the engine behind --job_endpoint={portable.job_endpoint}"
    pipeline = beam.Pipeline(argv=arguments)
    _ = pipeline | "Ask" >> beam.Create([0]) | "Answer" >> beam.Map(_answer)
    try:
        with _cancelled(pipeline.run()) as job:
            state = job.wait_until_finish(duration=patience_s * 1000)
    except (RuntimeError, grpc.RpcError) as error:
        raise UsageError(f"A first job of one element failed on {where}: {one_line(error)}") from error
    if state != PipelineState.DONE:
        raise UsageError(
            f"No worker has answered a first job of one element on {where} in {patience_s:g} s. Look at the log of the "
            f"worker pool at {portable.environment_config or 'the address in --environment_config'}, as the engine's "
            "workers see it: it needs the project's Python first in PATH, as `python -m pipeline.worker_pool` puts it. "
            "If the engine has no free slot, wait, or raise --beam_timeout_s."
        )


@contextlib.contextmanager
def _cancelled(job: PipelineResult) -> Iterator[PipelineResult]:
    """Cancels a job that has not ended at the end of the block, so that it does not occupy the engine."""
    try:
        yield job
    finally:
        if not PipelineState.is_terminal(job._state):
            job.cancel()


def _answer(element: int) -> int:
    """Runs on a worker; it fails if the worker finds not all that the next jobs need."""
    if worker_pool.missing():
        raise ImportError(f"The Python of the worker, {sys.executable}, has no {', '.join(worker_pool.missing())}.")
    return element
