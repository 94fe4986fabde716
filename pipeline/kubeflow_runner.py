r"""Compiles the pipeline for Kubeflow Pipelines v2.

    python -m pipeline.kubeflow_runner --config=pipeline/configs/cifar10.py --root=gs://BUCKET/mdenas \
        --image=REGISTRY/mdenas@sha256:DIGEST --output=pipeline.yaml

The file is then uploaded to Kubeflow, with its web page or `kfp pipeline create`; docs/deploy.md goes through it. It
holds two documents, as Kubeflow reads them: the pipeline, and what only Kubernetes knows (nodes, volumes).
"""

import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import ml_collections
import yaml
from absl import app, flags, logging

from models.settings import ConfigError, runtime_parameters
from pipeline import command_line, kubeflow_options, terminal, validation
from pipeline.roots import UsageError

IMAGE = flags.DEFINE_string("image", None, "The image built from Dockerfile, best with its digest (NAME@sha256:...).")
OUTPUT = flags.DEFINE_string("output", "pipeline.yaml", "File to write, .yaml or .yml.")
SHARED_DIR = flags.DEFINE_string(
    "shared_dir",
    None,
    "Where checkpoints and pushed models go; --root by default. For s3:// and minio:// roots: a path "
    "on a --volume, since TensorFlow cannot write there.",
)
VOLUMES = flags.DEFINE_multi_string(
    "volume", [], "CLAIM:PATH mounts a PersistentVolumeClaim in every pod; may be given once for each claim."
)
BASELINE = flags.DEFINE_string(
    "baseline",
    "",
    "URI of the Model artifact that a new model must not fall behind; none by default. (Kubeflow has no "
    "look-up of the latest blessed model.)",
)
flags.adopt_module_key_flags(command_line)

COMMAND = ("python", "-m", "pipeline.kubeflow_entrypoint")

# What a run can set when it is started, without a new compilation: the settings that models/settings.py declares as
# such, the Trainer's settings as one JSON text, and a text that says which data these are. Kubeflow takes cached
# results as long as it stays the same.
RUNTIME_PARAMETERS = (*runtime_parameters(), "training", "data_fingerprint")
_TRAINER_PARAMETER = "custom_config"  # the stock Trainer's name for "training"

# Which of the config's requests a component makes; all others make `kubeflow.other`.
_RESOURCES = {"SupernetSearch": "search", "Trainer": "train", "Baselines": "train"}
# Those that go on from a checkpoint when they are started again.
_RESUMABLE = ("SupernetSearch", "Trainer", "Baselines")


def compile_pipeline(
    config: ml_collections.ConfigDict,
    *,
    root: str,
    image: str,
    shared_dir: str | None = None,
    volumes: Mapping[str, str] | None = None,
    baseline: str = "",
    beam_pipeline_args: list[str] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the two documents of a pipeline file.

    Args:
        config: As pipeline/configs/base.py lays it out.
        root: URI below which artifacts go: gs://, s3:// or minio://; or a path on one of the `volumes`.
        image: The image built from Dockerfile.
        shared_dir: Where checkpoints and pushed models go; `root` when None.
        volumes: Mount paths by PersistentVolumeClaim, in every pod.
        baseline: URI of the Model artifact that a new model must not fall behind, or "".
        beam_pipeline_args: Beam options.

    Returns:
        The PipelineSpec and the PlatformSpec, as their protos are written in JSON.

    Raises:
        UsageError, ConfigError: What is asked for cannot be run on Kubeflow.
    """
    pipeline_name = kubeflow_options.pipeline_name(config.name)
    if config.deploy.infra_validation:
        raise ConfigError(
            f"config.deploy.infra_validation is {config.deploy.infra_validation!r}, but TFX cannot compile an "
            "InfraValidator for Kubeflow Pipelines v2: set it to '' here."
        )
    kubeflow_options.check_image(image)
    shared_dir = shared_dir or root
    kubeflow_options.check_place("--root", root, volumes or {})
    others = {
        "--shared_dir": shared_dir,
        "--baseline": baseline,
        "config.data.image_folder": config.data.image_folder,
        "config.data.data_dir": config.data.data_dir,
        "config.baselines.weights": config.baselines.weights,
    }
    if os.sep in config.baselines.pretrained:  # else the name of a network in keras.applications
        others["config.baselines.pretrained"] = config.baselines.pretrained
    for name, place in others.items():
        if place:
            kubeflow_options.check_place(name, place, volumes or {})
    if shared_dir.startswith(("s3://", "minio://")):
        raise UsageError(
            f"Checkpoints and pushed models cannot go to {shared_dir}: TensorFlow cannot write there. Give "
            "--shared_dir, a gs:// URI or a path on a --volume."
        )
    from tfx.dsl.components.base import base_component
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    from pipeline.pipeline import create_pipeline

    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.name = pipeline_name
    pipeline = create_pipeline(
        config,
        pipeline_root=os.path.join(root, "artifacts"),
        serving_dir=os.path.join(shared_dir, "serving_model"),
        checkpoint_dir=os.path.join(shared_dir, "checkpoints"),
        beam_pipeline_args=beam_pipeline_args,
        baseline=baseline,
    )
    for node in pipeline.components:
        if isinstance(node, base_component.BaseComponent):
            node.with_platform_config(_resources(config.kubeflow, node.id))
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image=image, default_commands=list(COMMAND), use_pipeline_spec_2_1=True
        )
    )
    spec = runner.run(pipeline, write_out=False)["pipelineSpec"]
    spec["defaultPipelineRoot"] = pipeline.pipeline_info.pipeline_root
    _add_runtime_parameters(spec)
    for name in _RESUMABLE:
        if config.kubeflow.retries and name in spec["root"]["dag"]["tasks"]:
            spec["root"]["dag"]["tasks"][name]["retryPolicy"] = {
                "maxRetryCount": config.kubeflow.retries,
                "backoffDuration": "30s",
                "backoffFactor": 2.0,
                "backoffMaxDuration": "600s",
            }
    return spec, _platform_spec(spec, config.kubeflow, volumes or {})


def _resources(kubeflow: ml_collections.ConfigDict, node: str) -> Any:
    """Returns the request of a component; it is the limit too, so that no pod is evicted for what another takes."""
    from kfp.pipeline_spec import pipeline_spec_pb2

    asked = kubeflow[_RESOURCES.get(node, "other")]
    request = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec(
        cpu_request=asked.cpu, cpu_limit=asked.cpu, memory_request=asked.memory_gb, memory_limit=asked.memory_gb
    )
    if asked.gpus:
        request.accelerator.type = kubeflow.gpu_resource
        request.accelerator.count = asked.gpus
    return request


def _add_runtime_parameters(spec: dict[str, Any]) -> None:
    """Turns constants of tasks into parameters of the pipeline, with the constants as their defaults."""
    tasks = spec["root"]["dag"]["tasks"]
    parameters = spec["root"].setdefault("inputDefinitions", {}).setdefault("parameters", {})
    for name in RUNTIME_PARAMETERS:
        keys = {task: _TRAINER_PARAMETER if (name, task) == ("training", "Trainer") else name for task in tasks}
        inputs = {task: content.get("inputs", {}).get("parameters", {}) for task, content in tasks.items()}
        using = [task for task in tasks if keys[task] in inputs[task]]
        if using == ["ReportGen"]:
            continue  # with a known architecture there is no search to set
        for task in using:
            key = keys[task]
            kind = spec["components"][task]["inputDefinitions"]["parameters"][key]["parameterType"]
            parameters[name] = {"parameterType": kind, "defaultValue": inputs[task][key]["runtimeValue"]["constant"]}
            inputs[task][key] = {"componentInputParameter": name}


def _platform_spec(
    spec: dict[str, Any], kubeflow: ml_collections.ConfigDict, volumes: Mapping[str, str]
) -> dict[str, Any]:
    """Returns what the pods need that is particular to Kubernetes: nodes with GPUs, volumes."""
    executors = {}
    for name, executor in spec["deploymentSpec"]["executors"].items():
        if "container" not in executor:
            continue
        pod: dict[str, Any] = {}
        if volumes:
            pod["pvcMount"] = [
                # Named twice: the first is what Kubeflow Pipelines up to 2.4 reads.
                {"constant": claim, "pvcNameParameter": {"runtimeValue": {"constant": claim}}, "mountPath": path}
                for claim, path in volumes.items()
            ]
        if "accelerator" in executor["container"]["resources"]:
            pod["tolerations"] = [{"key": kubeflow.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}]
            if kubeflow.gpu_node_label:
                key, value = kubeflow.gpu_node_label.split("=")
                pod["nodeSelector"] = {"labels": {key: value}}
        if pod:
            executors[name] = pod
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _write(path: str, documents: tuple[dict[str, Any], ...]) -> None:
    from models.runtime.files import write_atomically

    write_atomically(path, yaml.safe_dump_all(documents, sort_keys=True))


def _main(arguments: list[str]) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.set_verbosity(logging.WARNING)
    try:
        command_line.refuse_arguments(arguments[1:])
        validation.validate(command_line.CONFIG.value)
        kubeflow_options.check_output(OUTPUT.value)
        documents = compile_pipeline(
            command_line.CONFIG.value,
            root=command_line.ROOT.value,
            image=IMAGE.value,
            shared_dir=SHARED_DIR.value,
            volumes=kubeflow_options.volumes(VOLUMES.value),
            baseline=BASELINE.value,
            beam_pipeline_args=command_line.BEAM_PIPELINE_ARGS.value,
        )
        _write(OUTPUT.value, documents)
    except (UsageError, ValueError, OSError) as error:
        print(f"ERROR: {terminal.one_line(error)}", file=sys.stderr)
        return 1
    name = documents[0]["pipelineInfo"]["name"]
    if name != command_line.CONFIG.value.name:
        print(f"Kubeflow knows {command_line.CONFIG.value.name!r} as {name}.")
    print(f"Wrote {OUTPUT.value}; upload it with:  kfp pipeline create -p {name} {shlex.quote(OUTPUT.value)}")
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "root", "image"])
    app.run(_main, flags_parser=command_line.parse_flags)
