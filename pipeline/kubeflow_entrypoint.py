"""The program of a pod on Kubeflow. It runs TFX's entrypoint with paths that TensorFlow can read.

Kubeflow's launcher starts this program. Before the start, the launcher copies the inputs from gs://, s3:// and minio://
to /gcs/, /s3/ and /minio/. After the end, it copies the outputs back. TFX's executors do not use these local copies:
they open the URI of an artifact with TensorFlow, which can read gs:// but not s3:// and minio://. So this program
replaces URIs of s3:// and minio:// by the paths of the local copies.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

_LOCAL = {"s3://": "/s3/", "minio://": "/minio/"}
_INPUT_FLAG = "--json_serialized_invocation_args"


def to_local(uri: str) -> str:
    """Returns the path of the launcher's local copy of an artifact, or the URI itself if TensorFlow can read it."""
    for scheme, directory in _LOCAL.items():
        if uri.startswith(scheme):
            return directory + uri[len(scheme) :]
    return uri


def to_uri(path: str) -> str:
    """Returns the inverse of `to_local`."""
    for scheme, directory in _LOCAL.items():
        if path.startswith(directory):
            return scheme + path[len(directory) :]
    return path


def main(argv: list[str]) -> None:
    """Runs a component's executor.

    Args:
        argv: The program's name and the arguments of TFX's kubeflow_v2_run_executor. The argument after
            --json_serialized_invocation_args is the ExecutorInput as JSON.
    """
    from absl import app
    from tfx.dsl.io import fileio
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    position = argv.index(_INPUT_FLAG) + 1
    executor_input = json.loads(argv[position])
    for part in ("inputs", "outputs"):
        _map_uris(executor_input.get(part, {}), to_local)
    argv = [*argv[:position], json.dumps(executor_input), *argv[position + 1 :]]

    def run(parsed: Any) -> None:
        kubeflow_v2_run_executor.main(parsed)
        path = executor_input["outputs"]["outputFile"]
        with fileio.open(path, "r") as file:
            executor_output = json.load(file)
        _map_uris(executor_output, to_uri)
        with fileio.open(path, "w") as file:
            json.dump(executor_output, file)

    app.run(run, argv=argv, flags_parser=kubeflow_v2_run_executor._parse_flags)


def _map_uris(message: dict[str, Any], change: Callable[[str], str]) -> None:
    """Changes the URIs of all artifacts in a part of ExecutorInput, or in an ExecutorOutput."""
    for artifacts in message.get("artifacts", {}).values():
        for artifact in artifacts["artifacts"]:
            artifact["uri"] = change(artifact["uri"])


if __name__ == "__main__":
    main(sys.argv)
