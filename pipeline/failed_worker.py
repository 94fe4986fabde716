"""Answers an engine in place of a Python worker that does not start.

Flink and Spark wait for a worker without a limit. They get a worker here that fails whatever it is told to do, so the
job ends with an error that says why.
"""

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

_PORTS = ("beam:runner:source:v1", "beam:runner:sink:v1")  # steps of a job at which elements enter and leave a worker
_PATIENCE_S = 30.0


def answer(request: beam_fn_api_pb2.StartWorkerRequest, reason: str) -> None:
    """Answers each instruction to a worker with an error, until the engine closes the connection.

    Args:
        request: The engine's request for the worker.
        reason: The error.
    """
    identity = [("worker_id", request.worker_id)]
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    over = threading.Event()
    connected: set[str] = set()
    with contextlib.ExitStack() as channels:

        def connect(address: str) -> None:
            """Opens the stream of elements, for which an engine waits for minutes before it looks at the answer."""
            connected.add(address)
            channel = channels.enter_context(grpc.insecure_channel(address))
            stream = beam_fn_api_pb2_grpc.BeamFnDataStub(channel).Data(_nothing(over), metadata=identity)
            threading.Thread(target=_drop, args=(stream,), daemon=True).start()

        control = beam_fn_api_pb2_grpc.BeamFnControlStub(
            channels.enter_context(grpc.insecure_channel(request.control_endpoint.url))
        )
        try:
            for instruction in control.Control(iter(answers.get, None), metadata=identity):
                if instruction.HasField("process_bundle"):
                    name = instruction.process_bundle.process_bundle_descriptor_id
                    for address in _data_addresses(control, name, identity) - connected:
                        connect(address)
                answers.put(
                    beam_fn_api_pb2.InstructionResponse(instruction_id=instruction.instruction_id, error=reason)
                )
        except grpc.RpcError:
            pass  # the engine has ended the connection
        finally:
            answers.put(None)
            over.set()


def _data_addresses(control: Any, name: str, identity: list[tuple[str, str]]) -> set[str]:
    """Returns the addresses at which the engine exchanges the elements of a part of a job."""
    asked = beam_fn_api_pb2.GetProcessBundleDescriptorRequest(process_bundle_descriptor_id=name)
    try:
        described = control.GetProcessBundleDescriptor(asked, metadata=identity, timeout=_PATIENCE_S)
    except grpc.RpcError:
        return set()
    steps = [step.spec for step in described.transforms.values() if step.spec.urn in _PORTS]
    return {beam_fn_api_pb2.RemoteGrpcPort.FromString(step.payload).api_service_descriptor.url for step in steps}


def _nothing(over: threading.Event) -> Iterator[Any]:
    over.wait()
    yield from ()


def _drop(stream: Iterable[Any]) -> None:
    with contextlib.suppress(grpc.RpcError):
        for _ in stream:
            pass
