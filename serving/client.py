"""Asks a running TF Serving what is on some pictures.

    python -m serving.client --host=localhost:8500 --model=mdenas cat.png dog.jpg
    python -m serving.client --rest --host=localhost:8501 --model=mdenas cat.png
    python -m serving.client --rest --host=https://models.example.com:443 --model=mdenas cat.png

Prints one line a picture: its path and the best classes with their probabilities. A picture that
cannot be read or decoded is named on stderr, the others are classified all the same, and the exit
code is 1. It is 2 when the server did not answer, with one line that says why.

From Python, `GrpcClient` and `RestClient` call any signature of models/export.py:

    client = GrpcClient("localhost:8500", "mdenas")
    answer = client.predict("serve_uint8", images=np.zeros((1, 32, 32, 3), np.uint8))
    answer["class_names"]
"""

import argparse
import base64
import dataclasses
import http.client
import json
import os
import re
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

# gRPC's own limit is 4 MB an answer; TF Serving has none.
_ANY_SIZE = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


class ServingError(RuntimeError):
    """The server could not be reached, did not answer in time, or refused the request."""


class Client(Protocol):
    """What both protocols offer."""

    def predict(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Returns a signature's outputs by name.

        Args:
            signature: Its name, see models/export.py.
            **inputs: Its inputs by name: numbers, or an object array of bytes.

        Raises:
            ServingError: There is no answer; the message names the server and the reason.
        """
        ...


class GrpcClient:
    """Talks gRPC to TF Serving's port 8500.

    Requests and answers may be of any size that a message can have (2 GB).

    Args:
        host: "address:port"; an IPv6 address in brackets.
        model: The model's name in serving/cpu/models.config.
        version: A version of it; None for the newest.
        timeout: Seconds to wait for an answer, more than 0.
        certificates: A PEM file of certificate authorities: the connection is then encrypted.

    Raises:
        ServingError: The host or the certificates cannot be used.
    """

    def __init__(
        self,
        host: str,
        model: str,
        *,
        version: int | None = None,
        timeout: float = 10.0,
        certificates: str | None = None,
    ):
        # Imported here because TF Serving's messages import TensorFlow, which REST does not need; its greetings are
        # not what was asked for.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        _, address = _address(host)
        if not address:
            raise ServingError(f"The host is {host!r}, but gRPC takes ADDRESS:PORT alone, as in localhost:8500.")
        self._host, self._model, self._version, self._timeout = host, model, version, timeout
        if certificates:
            try:
                with open(certificates, "rb") as stream:
                    authorities = stream.read()
                ssl.create_default_context(cadata=authorities.decode())  # gRPC takes anything and waits in vain
            except (OSError, ValueError) as error:  # an SSLError is an OSError
                raise ServingError(f"{certificates} holds no certificates that can be read: {error}") from error
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(authorities), options=_ANY_SIZE)
        else:
            channel = grpc.insecure_channel(address, options=_ANY_SIZE)
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def predict(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """See Client.predict; strings come back as str."""
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            response = self._service.Predict(request, timeout=self._timeout)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                reason = f"no answer within {self._timeout:g} s"
            else:
                reason = f"{error.code().name}: {error.details()}"
            raise ServingError(f"{self._host}, model {self._model}: {reason}") from error
        return {name: _text(tf.make_ndarray(value)) for name, value in response.outputs.items()}


class RestClient:
    """Talks HTTP and JSON to TF Serving's port 8501.

    The arguments are GrpcClient's, and http:// or https:// may stand before the host. With https:// and without
    `certificates` the system's authorities count.
    """

    def __init__(
        self,
        host: str,
        model: str,
        *,
        version: int | None = None,
        timeout: float = 10.0,
        certificates: str | None = None,
    ):
        scheme, address = _address(host, "http", "https")
        if not address:
            raise ServingError(
                f"The host is {host!r}, but HTTP takes ADDRESS:PORT, as in localhost:8501, with or without http:// or "
                "https:// before it."
            )
        if certificates and scheme == "http":
            raise ServingError(f"The host is {host!r}, not encrypted, but certificates are given: write https://.")
        self._host, self._model, self._timeout = host, model, timeout
        try:
            self._tls = ssl.create_default_context(cafile=certificates) if certificates else None
        except OSError as error:  # an SSLError is one
            raise ServingError(f"{certificates} holds no certificates that can be read: {error}") from error
        scheme = scheme or ("https" if certificates else "http")
        path = urllib.parse.quote(model) + (f"/versions/{version}" if version is not None else "")
        self._url = f"{scheme}://{address}/v1/models/{path}:predict"

    def predict(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """See Client.predict."""
        body = {
            "signature_name": signature,
            "inputs": {name: _json(value) for name, value in inputs.items()},
        }
        request = urllib.request.Request(self._url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=self._timeout, context=self._tls) as reply:
                outputs = json.load(reply)["outputs"]
        except urllib.error.HTTPError as error:
            raise self._failure(f"HTTP {error.code}: {_message(error.read())}") from error
        except TimeoutError as error:
            raise self._failure(f"no answer within {self._timeout:g} s") from error
        except urllib.error.URLError as error:
            raise self._failure(f"not reached: {error.reason}") from error
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise self._failure(f"not an answer of TF Serving: {error!r}") from error
        return {name: np.array(value) for name, value in outputs.items()}

    def _failure(self, reason: str) -> ServingError:
        return ServingError(f"{self._host}, model {self._model}: {reason}")


def _address(host: str, *schemes: str) -> tuple[str, str]:
    """Returns a host's scheme, "" where it has none, and its "address:port", "" where it is anything else."""
    scheme, _, rest = host.rpartition("://")
    rest = rest.removesuffix("/")
    try:
        parts = urllib.parse.urlsplit(f"//{rest}")
        right = parts.hostname and parts.port and parts.netloc == rest and not re.search(r"[\s@\\]", rest)
    except ValueError:  # the port is no number, or a bracket is missing
        right = False
    return scheme, rest if right and scheme in ("", *schemes) else ""


def _text(array: np.ndarray) -> np.ndarray:
    """Returns an array of bytes as one of str, any other as it is."""
    if array.dtype != object:
        return array
    return np.array([item.decode() for item in array.flat], dtype=str).reshape(array.shape)


def _json(array: np.ndarray) -> Any:
    """Returns an array as nested lists in which bytes are written as TF Serving reads them."""
    array = np.asarray(array)
    if array.dtype == object:
        flat = [{"b64": base64.b64encode(item).decode()} for item in array.flat]
        array = np.array(flat, dtype=object).reshape(array.shape)
    return array.tolist()


def _message(body: bytes) -> str:
    """Returns what a refusal says: TF Serving's own error, or the text of something in between."""
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


@dataclasses.dataclass(frozen=True)
class Classification:
    """What is on one picture.

    Attributes:
        path: The picture's file.
        classes: (name, probability) pairs, the most probable first; empty when there is an error.
        error: Why there is no answer, or "".
    """

    path: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str = ""


def classify(client: Client, paths: Sequence[str], batch_size: int = 32) -> Iterator[Classification]:
    """Classifies image files, in order; a broken one does not disturb the others.

    Args:
        client: Whom to ask.
        paths: Image files of any size; PNG, JPEG, BMP or GIF.
        batch_size: How many are sent at a time, 1 or more.

    Raises:
        ServingError: The server does not answer.
    """
    for start in range(0, len(paths), batch_size):
        results = {}
        files = {}
        for path in paths[start : start + batch_size]:
            try:
                with open(path, "rb") as stream:
                    files[path] = stream.read()
            except OSError as error:
                results[path] = Classification(path, error=error.strerror or str(error))
        if files:
            images = np.array(list(files.values()), dtype=object)
            answer = client.predict("serve_bytes", image_bytes=images)
            rows = zip(answer["class_names"], answer["top_k_probabilities"], answer["errors"], strict=True)
            for path, (names, scores, error) in zip(files, rows, strict=True):
                classes = tuple(zip(names.tolist(), scores.tolist(), strict=True))
                results[path] = Classification(path, () if error else classes, str(error))
        for path in paths[start : start + batch_size]:
            yield results[path]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.client", description="Classifies pictures with a served model."
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG, BMP or GIF")
    parser.add_argument("--host", help="address:port (localhost:8500, with --rest localhost:8501)")
    parser.add_argument("--model", default="mdenas", help="the model's name (%(default)s)")
    parser.add_argument("--version", type=int, help="a version of the model (the newest)")
    parser.add_argument("--rest", action="store_true", help="HTTP and JSON instead of gRPC")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds (%(default)s)")
    parser.add_argument("--batch_size", type=int, default=32, help="images a call (%(default)s)")
    parser.add_argument("--certificates", help="PEM file of authorities: encrypt the connection")
    flags = parser.parse_args(arguments)
    if flags.timeout <= 0 or flags.batch_size < 1:
        parser.error("--timeout must be more than 0, --batch_size 1 or more")

    make, port = (RestClient, 8501) if flags.rest else (GrpcClient, 8500)
    broken = 0
    try:
        client = make(
            f"localhost:{port}" if flags.host is None else flags.host,
            flags.model,
            version=flags.version,
            timeout=flags.timeout,
            certificates=flags.certificates,
        )
        for result in classify(client, flags.images, flags.batch_size):
            if result.error:
                broken += 1
                print(f"{result.path}: {result.error}", file=sys.stderr)
            else:
                best = "  ".join(f"{name} {score:.4f}" for name, score in result.classes)
                print(f"{result.path}  {best}")
    except ServingError as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
