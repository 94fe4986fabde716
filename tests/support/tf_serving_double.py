"""A stand-in for TF Serving in tests: its public gRPC and REST interfaces over a real SavedModel.

The messages, stubs and servicers are tensorflow-serving-api's own. Models are loaded as the server
loads them: by the TF1 loader, with the tag `serve`, run by the signatures' tensor names. The texts
of refusals are the server's. Batching across calls is not imitated.
"""

import base64
import concurrent.futures
import http.server
import json
import os
import threading
import time

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

INVALID, MISSING, UNMET = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
)


class Refusal(Exception):
    """A request the server turns down."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


class Servable:
    """A version of a model, loaded as TF Serving loads it, with its warm-up requests replayed.

    Args:
        directory: The SavedModel.
    """

    def __init__(self, directory):
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            self.signatures = dict(tf.compat.v1.saved_model.load(self.session, ["serve"], directory).signature_def)
        self.warmed_up = []
        warmup = os.path.join(directory, "assets.extra", "tf_serving_warmup_requests")
        for record in tf.compat.v1.io.tf_record_iterator(warmup) if os.path.exists(warmup) else ():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            request = log.predict_log.request
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            self.predict(request.model_spec.signature_name, inputs)
            self.warmed_up.append(request.model_spec.signature_name)

    def predict(self, signature, inputs):
        if signature not in self.signatures:
            raise Refusal(UNMET, f'Serving signature key "{signature}" not found.')
        found = self.signatures[signature]
        if set(inputs) != set(found.inputs):
            raise Refusal(
                INVALID,
                f"input tensor alias not found in signature: {sorted(inputs)}. "
                f"Inputs expected to be in the set {{{','.join(sorted(found.inputs))}}}.",
            )
        for name, value in inputs.items():
            # A session fed from Python would convert silently; fed with tensors, as the server
            # feeds it, it refuses.
            expected = tf.dtypes.as_dtype(found.inputs[name].dtype)
            given = tf.string if value.dtype == object else tf.dtypes.as_dtype(value.dtype)
            if given != expected:
                raise Refusal(
                    INVALID,
                    f"Expects arg[0] to be {expected.name} but {given.name} is provided",
                )
        try:
            return self.session.run(
                {name: tensor.name for name, tensor in found.outputs.items()},
                {found.inputs[name].name: value for name, value in inputs.items()},
            )
        except ValueError as error:  # a shape that does not fit the placeholder
            raise Refusal(INVALID, str(error)) from error
        except tf.errors.OpError as error:
            raise Refusal(grpc.StatusCode(_grpc_code(error.error_code)), error.message) from error


def _grpc_code(number):
    return next(code.value for code in grpc.StatusCode if code.value[0] == number)


class Server(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Serves the versions below a base path over gRPC and REST until it is closed; a context manager.

    Args:
        name: The model's name.
        base_path: A folder with numbered versions.
        delay: Seconds that each answer takes longer.
    """

    def __init__(self, name, base_path, delay=0.0):
        self.name, self.delay = name, delay
        self.versions = {
            int(version): Servable(os.path.join(base_path, version))
            for version in os.listdir(base_path)
            if version.isdigit()
        }
        # The server takes messages of any size, as TF Serving does.
        any_size = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
        self._grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=any_size)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._grpc)
        self.grpc_host = f"localhost:{self._grpc.add_insecure_port('localhost:0')}"
        self._http = http.server.ThreadingHTTPServer(("localhost", 0), _handler(self))
        self.rest_host = f"localhost:{self._http.server_address[1]}"

    def __enter__(self):
        self._grpc.start()
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._grpc.stop(None)
        self._http.shutdown()
        self._http.server_close()

    def servable(self, name, version=None):
        wanted = f"Specific({name}, {version})" if version is not None else f"Latest({name})"
        version = max(self.versions) if version is None else version
        if name != self.name or version not in self.versions:
            raise Refusal(MISSING, f"Servable not found for request: {wanted}")
        return version, self.versions[version]

    def Predict(self, request, context):
        time.sleep(self.delay)
        spec = request.model_spec
        try:
            version, servable = self.servable(spec.name, spec.version.value if spec.HasField("version") else None)
            signature = spec.signature_name or "serving_default"
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            outputs = servable.predict(signature, inputs)
        except Refusal as refusal:
            context.abort(refusal.code, refusal.message)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        response.model_spec.signature_name = signature
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):
        try:
            _, servable = self.servable(request.model_spec.name)
        except Refusal as refusal:
            context.abort(refusal.code, refusal.message)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signatures)
        response.metadata["signature_def"].Pack(signatures)
        return response


def _handler(server):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path, _, what = self.path.rpartition("/")
            self._answer(lambda: self._metadata(path) if what == "metadata" else self._unknown())

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            path, _, verb = self.path.partition(":")
            self._answer(lambda: self._predict(path, body) if verb == "predict" else self._unknown())

        def _unknown(self):
            raise Refusal(INVALID, f"Malformed request: {self.command} {self.path}")

        def _servable(self, path):
            parts = path.strip("/").split("/")
            if parts[:2] != ["v1", "models"] or len(parts) not in (3, 5):
                self._unknown()
            return server.servable(parts[2], int(parts[4]) if len(parts) == 5 else None)[1]

        def _metadata(self, path):
            signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=self._servable(path).signatures)
            return {"metadata": {"signature_def": json_format.MessageToDict(signatures)}}

        def _predict(self, path, body):
            time.sleep(server.delay)
            servable = self._servable(path)
            try:
                request = json.loads(body)
            except ValueError as error:
                raise Refusal(INVALID, f"JSON Parse error: {error}") from error
            signature = request.get("signature_name", "serving_default")
            if signature not in servable.signatures:
                raise Refusal(INVALID, f"Serving signature name: {signature} not found in signature def")
            specs = servable.signatures[signature].inputs
            inputs = {
                name: _array(value, specs[name]) if name in specs else np.array(value)
                for name, value in request["inputs"].items()
            }
            outputs = servable.predict(signature, inputs)
            return {"outputs": {name: _nested(value) for name, value in outputs.items()}}

        def _answer(self, make):
            try:
                status, body = 200, make()
            except Refusal as refusal:
                status = 404 if refusal.code == MISSING else 400
                body = {"error": refusal.message}
            encoded = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *_):
            pass

    return Handler


def _array(value, spec):
    """Reads JSON as the type the signature wants; the REST interface has no types of its own."""
    dtype = tf.dtypes.as_dtype(spec.dtype)
    if dtype == tf.string:
        items = [base64.b64decode(item["b64"]) for item in value]
        array = np.empty(len(items), object)
        array[:] = items
        return array
    try:
        array = np.array(value)
        if dtype.is_integer and not np.issubdtype(array.dtype, np.integer):
            raise ValueError("not integers")
        return array.astype(dtype.as_numpy_dtype)
    except (ValueError, TypeError) as error:
        raise Refusal(
            INVALID,
            f"Failed to process element: 0 of 'inputs' list. JSON Value is not of expected type: {dtype.name}",
        ) from error


def _nested(array):
    if array.dtype == object:
        array = np.array([item.decode() for item in array.flat], dtype=object).reshape(array.shape)
    return array.tolist()
