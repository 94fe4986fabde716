"""Beam's work on an engine with a job server (Flink, Spark): a check before a run, and the end of jobs that are left.

Both engines wait forever, without an error, for a Python worker that does not start. A first job of one element, with
a limit of time, finds this out before hours are spent.
"""

import contextlib
import json
import os
import re
import secrets
import sys
import urllib.request
from collections.abc import Iterator

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.portability.portable_runner import TERMINAL_STATES
from apache_beam.runners.runner import PipelineState

from models.runtime.files import write_atomically
from pipeline import worker_pool
from pipeline.engines.engine import ask, direct
from pipeline.roots import UsageError
from pipeline.terminal import one_line

FILE_NAME = "engine.json"  # in a root whose jobs ran on an engine
_JOB_SERVER_S = 5.0
# Beam lists the installed packages for its own log, with pip, which this project's environment does not have.
_QUIET = "--experiments=disable_logging_submission_environment"


@contextlib.contextmanager
def checked(arguments: list[str], root: str, patience_s: float) -> Iterator[list[str]]:
    """Checks the engine that Beam options name, if they name a job server, and yields the options for the components.

    Jobs that an earlier run in this root left on the engine are cancelled, and after an error or an interruption in the
    block those that this run left.

    Args:
        arguments: The Beam options of a run.
        root: Absolute path of the run's folder, which exists, and which no other run uses at this time.
        patience_s: The limit for the first job in seconds. The engine may have to start its workers in this time.

    Raises:
        UsageError: There is no job server, no worker has answered in this time, the first job failed, or the job
            server was lost or refused something in the block.
    """
    portable = PipelineOptions(arguments).view_as(PortableOptions)
    if not portable.job_endpoint or portable.job_endpoint == "embed":
        yield arguments
        return
    os.environ.setdefault("grpc_proxy", "")  # gRPC, also Beam's, would ask the proxy of http_proxy for the engine
    with grpc.insecure_channel(portable.job_endpoint) as channel:
        _require_job_server(channel, portable.job_endpoint)
        name = _job_name(root)
        arguments = [*arguments, _QUIET, f"--job_name={name}"]
        _cancel(channel, name)
        try:
            _require_worker(arguments, portable, patience_s)
            yield arguments
        except grpc.RpcError as error:
            _cancel(channel, name)
            where = f"--job_endpoint={portable.job_endpoint} (--beam_pipeline_args)"
            code, details = _status(error)
            if code == grpc.StatusCode.UNAVAILABLE:
                raise UsageError(
                    f"{where}: the job server was lost. When the engine is there again, the same command resumes."
                ) from error
            raise UsageError(
                f"{where}: the job server refused a request: {details}. Its log says why (jobs {name}). The same "
                "command repeats the job."
            ) from error
        except BaseException as error:
            _cancel(channel, name)
            if _given_up(error, name):
                raise UsageError(
                    f"The engine gave up a job: {_reason(error)}. Its page and the logs of its workers say why (jobs "
                    f"{name}). The same command repeats the job."
                ) from error
            raise


def _job_name(root: str) -> str:
    """Returns the name of all jobs of a root. It is kept in the root, and a moved root has it too.

    TFX's cache compares the options of Beam, so the next run needs the same name. The path of the root is no name: two
    machines can have different roots at the same path, and each would cancel the other one's jobs.
    """
    kept = _kept_name(root)
    if kept and kept["root"] != root and _kept_name(kept["root"]) == kept:
        kept = None  # this root is a copy, and the original is still there
    name = kept["jobs"] if kept else f"mdenas-{secrets.token_hex(4)}"
    current = {"jobs": name, "root": root}
    if current != kept:
        write_atomically(os.path.join(root, FILE_NAME), json.dumps(current))
    return name


def _kept_name(root: str) -> dict[str, str] | None:
    """Returns `jobs` and `root` as a root keeps them; None if it does not. Without them, images are read once more."""
    try:
        with open(os.path.join(root, FILE_NAME)) as file:
            found = json.load(file)
        return {"jobs": str(found["jobs"]), "root": str(found["root"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _status(error: grpc.RpcError) -> tuple[grpc.StatusCode | None, str]:
    """Returns the code and the text of a failed call, in one line; the code is None if the error has none."""
    if isinstance(error, grpc.Call):
        return error.code(), one_line(RuntimeError(error.details() or str(error.code())))
    return None, one_line(error)


def _require_job_server(channel: grpc.Channel, endpoint: str) -> None:
    try:
        grpc.channel_ready_future(channel).result(timeout=_JOB_SERVER_S)
    except grpc.FutureTimeoutError:
        raise UsageError(
            f"--job_endpoint={endpoint} (--beam_pipeline_args): no job server answers there. Start the engine's job "
            "server, or correct the address: docs/deploy.md."
        ) from None


def _require_worker(arguments: list[str], portable: PortableOptions, patience_s: float) -> None:
    where = f"the engine behind --job_endpoint={portable.job_endpoint}"
    pipeline = beam.Pipeline(argv=arguments)
    _ = pipeline | "Ask" >> beam.Create([0]) | "Answer" >> beam.Map(_answer)
    try:
        state = pipeline.run().wait_until_finish(duration=patience_s * 1000)
    except (RuntimeError, grpc.RpcError) as error:
        raise UsageError(f"A first job of one element failed on {where}: {_reason(error)}") from error
    if state != PipelineState.DONE:
        raise UsageError(
            f"No worker has answered a first job of one element on {where} in {patience_s:g} s. Look at the log of the "
            f"worker pool at {portable.environment_config or 'the address in --environment_config'}, as the engine's "
            "workers see it: it needs the project's Python first in PATH, as `python -m pipeline.worker_pool` puts it. "
            "If the engine has no free slot, wait, or raise --beam_timeout_s."
        )


def _answer(element: int) -> int:
    """Runs on a worker; it fails if the worker finds not all that the next jobs need."""
    if worker_pool.missing():
        raise ImportError(f"The Python of the worker, {sys.executable}, has no {', '.join(worker_pool.missing())}.")
    return element


def _given_up(error: BaseException, name: str) -> bool:
    """Returns whether an error is of a job of a name, but not of the Python in it, which says itself what is wrong."""
    return (
        isinstance(error, RuntimeError) and str(error).startswith(f"Pipeline {name}") and "Traceback" not in str(error)
    )


def _reason(error: BaseException) -> str:
    """Returns what the engine says of a job that failed, in one line."""
    if "Only one SparkContext" in str(error):
        return (
            "Beam's job server for Spark runs one job at a time, and it has a job of another run. Wait for the end of "
            "that run, or start a second job server"
        )
    return _status(error)[1] if isinstance(error, grpc.RpcError) else one_line(error)


def _cancel(channel: grpc.Channel, name: str) -> None:
    """Cancels the jobs of a name that have not ended, as far as the engine answers."""
    server = beam_job_api_pb2_grpc.JobServiceStub(channel)
    with contextlib.suppress(grpc.RpcError, OSError):
        for job in server.GetJobs(beam_job_api_pb2.GetJobsRequest(), timeout=_JOB_SERVER_S).job_info:
            if job.job_name == name and job.state not in TERMINAL_STATES:
                server.Cancel(beam_job_api_pb2.CancelJobRequest(job_id=job.job_id), timeout=_JOB_SERVER_S)
                flink = dict(job.pipeline_options).get("beam:option:flink_master:v1", "")
                if re.fullmatch(r"[^\[\]]+:\d+", flink):
                    _cancel_on_flink(f"http://{flink}/jobs", name)


def _cancel_on_flink(jobs: str, name: str) -> None:
    """Cancels the jobs of a name by Flink's REST API: the job server forgets them, and Flink goes on with them."""
    for job in ask(f"{jobs}/overview")["jobs"]:
        if job["name"] == name and job["end-time"] < 0:
            request = urllib.request.Request(f"{jobs}/{job['jid']}?mode=cancel", method="PATCH")
            direct.open(request, timeout=_JOB_SERVER_S).close()
