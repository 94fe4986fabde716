r"""Compiles the pipeline for Kubeflow Pipelines v2.

    python -m pipeline.kubeflow_runner --config=pipeline/configs/cifar10.py --root=gs://BUCKET/mdenas \
        --image=REGISTRY/mdenas@sha256:DIGEST --output=pipeline.yaml

Upload the file on Kubeflow's web page or with `kfp pipeline create`; docs/deploy.md describes all steps. The file
contains two documents: the pipeline, and the settings of the pods for Kubernetes (nodes, volumes).
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

IMAGE = flags.DEFINE_string(
    "image", None, "Container image built from Dockerfile, preferably with its digest (@sha256:...)."
)
OUTPUT = flags.DEFINE_string("output", "pipeline.yaml", "File to write, .yaml or .yml.")
SHARED_DIR = flags.DEFINE_string(
    "shared_dir",
    None,
    "Folder of checkpoints and pushed models; --root by default. If --root is an s3:// or minio:// URI, give a gs:// "
    "URI or a path on a --volume, because TensorFlow cannot write to s3:// and minio://.",
)
VOLUMES = flags.DEFINE_multi_string(
    "volume", [], "CLAIM:PATH mounts a PersistentVolumeClaim in every pod; may be given once for each claim."
)
BASELINE = flags.DEFINE_string(
    "baseline",
    "",
    "URI of the Model artifact with which the new model is compared; none by default, because Kubeflow cannot look up "
    "the latest blessed model.",
)
flags.adopt_module_key_flags(command_line)

COMMAND = ("python", "-m", "pipeline.kubeflow_entrypoint")

# The parameters that can be set at each start of the compiled pipeline: the settings with `runtime` in
# models/settings.py, the Trainer's settings as one JSON text, and a text that identifies the data. Kubeflow uses the
# cached examples until this text changes.
RUNTIME_PARAMETERS = (*runtime_parameters(), "training", "data_fingerprint")
_TRAINER_PARAMETER = "custom_config"  # the name of "training" among the parameters of the Trainer

# Component -> the setting of `config.kubeflow` with its pod's resources. All other components use `other`. The planners
# measure the work of the Trainer.
_RESOURCES = {
    "SupernetSearch": "search",
    **dict.fromkeys(("Teacher", "LatencyTable", "SearchPlanner", "TrainingPlanner", "Trainer", "Baselines"), "train"),
}
# The components that resume from a checkpoint when they are restarted.
_RESUMABLE = ("Teacher", "LatencyTable", "SupernetSearch", "Trainer", "Baselines")


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
        config: A config with the structure of pipeline/configs/base.py.
        root: The parent of all artifacts: a URI (gs://, s3:// or minio://), or a path on one of the `volumes`.
        image: The image built from Dockerfile.
        shared_dir: The folder of checkpoints and pushed models; None: `root`.
        volumes: PersistentVolumeClaim -> mount path, the same in every pod.
        baseline: URI of the Model artifact with which the new model is compared; "" for none.
        beam_pipeline_args: Beam options.

    Returns:
        The PipelineSpec and the PlatformSpec, in the JSON form of their protos.

    Raises:
        UsageError: An argument cannot work on Kubeflow.
        ConfigError: A setting cannot work on Kubeflow.
    """
    pipeline_name = kubeflow_options.pipeline_name(config.name)
    if config.deploy.infra_validation:
        raise ConfigError(
            f"config.deploy.infra_validation: found {config.deploy.infra_validation!r}; expected '', because TFX "
            "cannot compile an InfraValidator for Kubeflow Pipelines v2."
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
            f"Checkpoints and pushed models cannot be in {shared_dir}: TensorFlow cannot write there. Set --shared_dir "
            "to a gs:// URI or to a path on a --volume."
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
    """Returns the resources of a component's pod. Limits equal requests, so that no pod is evicted for another one."""
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
            continue  # only the report has this parameter: the run has no search
        for task in using:
            key = keys[task]
            kind = spec["components"][task]["inputDefinitions"]["parameters"][key]["parameterType"]
            parameters[name] = {"parameterType": kind, "defaultValue": inputs[task][key]["runtimeValue"]["constant"]}
            inputs[task][key] = {"componentInputParameter": name}


def _platform_spec(
    spec: dict[str, Any], kubeflow: ml_collections.ConfigDict, volumes: Mapping[str, str]
) -> dict[str, Any]:
    """Returns the settings of the pods for Kubernetes: nodes with GPUs, and volumes."""
    executors = {}
    for name, executor in spec["deploymentSpec"]["executors"].items():
        if "container" not in executor:
            continue
        pod: dict[str, Any] = {}
        if volumes:
            pod["pvcMount"] = [
                # The claim has two keys: Kubeflow Pipelines up to 2.4 reads the first one.
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
        command_line.keep_given()
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
        print(f"On Kubeflow, the pipeline {command_line.CONFIG.value.name!r} has the name {name}.")
    print(f"Wrote {OUTPUT.value}; upload it with:  kfp pipeline create -p {name} {shlex.quote(OUTPUT.value)}")
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "root", "image"])
    app.run(_main, flags_parser=command_line.parse_flags)
