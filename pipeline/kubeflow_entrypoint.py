"""What a pod on Kubeflow runs: TFX's own entrypoint, with object stores that TensorFlow cannot read made local.

Kubeflow's launcher, which runs around this process, copies inputs from gs://, s3:// and minio:// to /gcs/, /s3/ and
/minio/, and outputs back from there. TFX's executors open an artifact's URI themselves, which TensorFlow can do with
gs:// alone. So artifacts on the other two are shown to them as the launcher's local copies.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

_LOCAL = {"s3://": "/s3/", "minio://": "/minio/"}
_INPUT_FLAG = "--json_serialized_invocation_args"


def to_local(uri: str) -> str:
    """Returns where the launcher has its copy of an artifact, or the URI itself where TensorFlow can read it."""
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
        argv: The program's name and the arguments of TFX's kubeflow_v2_run_executor; ExecutorInput, as JSON, follows
            --json_serialized_invocation_args.
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
