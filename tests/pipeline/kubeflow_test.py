"""The compiled Kubeflow pipeline: against its protos and kfp's loader, and executed node by node without a cluster."""

import html
import json
import pathlib
import re
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
import tensorflow as tf
import yaml
from google.protobuf import json_format
from kfp import components as kfp_components
from kfp.pipeline_spec import pipeline_spec_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

from pipeline import kubeflow_entrypoint, kubeflow_options, kubeflow_runner, validation
from pipeline.configs import digits
from pipeline.roots import UsageError
from pipeline.sweep.kubeflow import Package
from tests.support import image, image_fixtures, pipeline_runs

IMAGE = "registry.example/mdenas@sha256:" + "0" * 64
Json = dict[str, Any]


def compile_small(root, volume="/mnt/mdenas", **changes) -> tuple[Json, Json]:
    """Compiles what `pipeline_runs` runs, with changes to the config."""
    config = digits.get_config()
    flags = dict(flag.removeprefix("--config.").split("=") for flag in pipeline_runs.SMALL)
    config.update_from_flattened_dict({**{key: yaml.safe_load(value) for key, value in flags.items()}, **changes})
    return kubeflow_runner.compile_pipeline(
        config,
        root=str(root),
        image=IMAGE,
        volumes={"mdenas": str(volume)},
        beam_pipeline_args=image_fixtures.BEAM_ARGS,
    )


@pytest.fixture(scope="module")
def documents():
    return compile_small("gs://bucket/mdenas", **{"kubeflow.gpu_node_label": "nvidia.com/gpu.product=NVIDIA-A100"})


def containers(spec: Json) -> dict[str, Json]:
    """Returns each task's container."""
    executors = spec["deploymentSpec"]["executors"]
    return {
        task: executors[spec["components"][task]["executorLabel"]]["container"] for task in spec["root"]["dag"]["tasks"]
    }


def test_both_documents_are_valid_protos_and_kfp_loads_the_file(documents, tmp_path):
    path = tmp_path / "pipeline.yaml"
    kubeflow_runner._write(str(path), documents)
    spec, platform = yaml.safe_load_all(path.read_text())
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())  # an unknown field raises
    json_format.ParseDict(spec["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    loaded = kfp_components.load_component_from_file(str(path))
    assert loaded.name == "digits"
    assert set(loaded.component_spec.inputs) == set(kubeflow_runner.RUNTIME_PARAMETERS) - {"budget_minutes"}
    assert spec["defaultPipelineRoot"] == "gs://bucket/mdenas/artifacts"


def test_search_and_training_ask_for_gpus_memory_and_cpus_and_go_on_when_they_are_evicted():
    spec, platform = compile_small(
        "gs://bucket/mdenas",
        **{
            "kubeflow.search.gpus": 2,
            "kubeflow.search.memory_gb": 24.0,
            "kubeflow.train.cpu": 12.0,
            "kubeflow.retries": 5,
        },
    )
    resources = {task: container["resources"] for task, container in containers(spec).items()}
    assert resources["SupernetSearch"] == {
        "accelerator": {"type": "nvidia.com/gpu", "count": "2"},
        "cpuRequest": 4.0,
        "cpuLimit": 4.0,
        "memoryRequest": 24.0,
        "memoryLimit": 24.0,
    }
    assert resources["Trainer"]["accelerator"] == {"type": "nvidia.com/gpu", "count": "1"}
    assert resources["Trainer"]["cpuRequest"] == 12.0
    assert resources["Baselines"] == resources["Trainer"]
    with_gpu = {task for task, asked in resources.items() if "accelerator" in asked}
    assert with_gpu == {"SupernetSearch", "Trainer", "Baselines"}
    assert all(asked["memoryRequest"] > 0 and asked["cpuRequest"] > 0 for asked in resources.values())
    tasks = spec["root"]["dag"]["tasks"]
    assert {name for name, task in tasks.items() if "retryPolicy" in task} == with_gpu
    assert tasks["SupernetSearch"]["retryPolicy"]["maxRetryCount"] == 5
    assert all(task["cachingOptions"] == {"enableCache": True} for task in tasks.values())
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    tolerant = {name.removesuffix("_executor") for name, pod in pods.items() if "tolerations" in pod}
    assert tolerant == with_gpu
    assert "nodeSelector" not in pods["Trainer_executor"]


def test_the_kind_of_gpu_and_the_volumes_are_in_the_platform_document(documents):
    pods = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert pods["Trainer_executor"]["nodeSelector"] == {"labels": {"nvidia.com/gpu.product": "NVIDIA-A100"}}
    assert "nodeSelector" not in pods["StatisticsGen_executor"]
    assert len(pods) == len(containers(documents[0]))
    for pod in pods.values():
        (mount,) = pod["pvcMount"]
        assert (mount["constant"], mount["mountPath"]) == ("mdenas", "/mnt/mdenas")


def test_every_executor_is_a_class_that_runs_in_our_image(documents):
    for task, container in containers(documents[0]).items():
        assert container["image"] == IMAGE
        assert container["command"] == ["python", "-m", "pipeline.kubeflow_entrypoint"]
        path = container["args"][container["args"].index("--executor_class_path") + 1]
        assert not path.startswith("__main__"), task


def test_a_teacher_and_the_supernets_weights_reach_the_training():
    spec, _ = compile_small(
        "gs://bucket/mdenas",
        **{
            "train.teacher": True,
            "train.from_supernet": True,
            "search.objective": "val_accuracy",
            "baselines.pretrained": "/mnt/mdenas/net.keras",
        },
    )
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    inputs = spec["root"]["dag"]["tasks"]["Trainer"]["inputs"]["artifacts"]
    assert inputs["soft_labels"]["taskOutputArtifact"]["producerTask"] == "Teacher"
    assert inputs["supernet"]["taskOutputArtifact"]["producerTask"] == "SupernetSearch"
    resources = {task: container["resources"] for task, container in containers(spec).items()}
    assert resources["Teacher"] == resources["Trainer"]
    assert "retryPolicy" in spec["root"]["dag"]["tasks"]["Teacher"]


def test_a_latency_table_is_measured_by_a_pod_of_the_training_and_reaches_the_deriver():
    spec, _ = compile_small("gs://bucket/mdenas", **{"derive.front": 3, "derive.latency_table": "measure"})
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    task, deriver = (spec["root"]["dag"]["tasks"][name] for name in ("LatencyTable", "ArchitectureDeriver"))
    # The device of the compilation is not that of the pod.
    assert "device" not in task["inputs"]["parameters"] and "retryPolicy" in task
    assert task["inputs"]["parameters"]["training"] == deriver["inputs"]["parameters"]["training"]
    assert deriver["inputs"]["artifacts"]["latency_table"]["taskOutputArtifact"]["producerTask"] == "LatencyTable"
    resources = {name: container["resources"] for name, container in containers(spec).items()}
    assert resources["LatencyTable"] == resources["Trainer"]


def test_nothing_asks_for_a_resolver_which_kubeflow_does_not_have(documents):
    assert all("container" in executor for executor in documents[0]["deploymentSpec"]["executors"].values())


def test_a_baseline_is_imported_by_its_uri():
    spec, _ = kubeflow_runner.compile_pipeline(
        digits.get_config(), root="gs://bucket/mdenas", image=IMAGE, baseline="gs://bucket/mdenas/artifacts/model"
    )
    importer = spec["deploymentSpec"]["executors"][spec["components"]["BaselineModel"]["executorLabel"]]["importer"]
    assert importer["artifactUri"] == {"constant": "gs://bucket/mdenas/artifacts/model"}
    source = spec["root"]["dag"]["tasks"]["Evaluator"]["inputs"]["artifacts"]["baseline_model"]
    assert source["taskOutputArtifact"]["producerTask"] == "BaselineModel"


def test_runtime_parameters_default_to_the_config_and_reach_their_tasks(documents):
    spec, _ = documents
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["search_epochs"] == {"parameterType": "NUMBER_INTEGER", "defaultValue": 18}
    assert parameters["seed"]["defaultValue"] == 0
    assert json.loads(parameters["training"]["defaultValue"])["train"]["epochs"] == 4
    tasks = spec["root"]["dag"]["tasks"]
    targets = {
        "seed": [("SupernetSearch", "seed"), ("ReportGen", "seed")],
        "search_epochs": [("SupernetSearch", "search_epochs"), ("ReportGen", "search_epochs")],
        "training": [("Trainer", "custom_config"), ("ReportGen", "training")],
        "data_fingerprint": [("TfdsExampleGen", "data_fingerprint")],
        **{
            name: [("TfdsExampleGen", name), ("ReportGen", name)]
            for name in ("data_dir", "data_version", "image_folder", "data_seed")
        },
    }
    found = {name: [] for name in kubeflow_runner.RUNTIME_PARAMETERS if name != "budget_minutes"}
    for task, content in tasks.items():
        for key, given in content.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in given:
                found[given["componentInputParameter"]].append((task, key))
    assert {name: sorted(places) for name, places in found.items()} == {
        name: sorted(places) for name, places in targets.items()
    }


def test_a_pipeline_without_a_search_has_no_parameter_of_one_and_still_a_report():
    spec, _ = compile_small("gs://bucket/mdenas", architecture="darts_v2")
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks["ReportGen"]["inputs"]["artifacts"]) == {
        *("examples", "image_report", "genotype", "model", "model_run", "evaluation", "blessing", "pushed_model"),
        "baselines",
    }
    assert set(spec["root"]["inputDefinitions"]["parameters"]) == set(kubeflow_runner.RUNTIME_PARAMETERS) - {
        "search_epochs",
        "budget_minutes",
        "seed",
    }
    assert tasks["ReportGen"]["inputs"]["parameters"]["seed"] == {"runtimeValue": {"constant": 0}}


def test_a_sweep_sets_parameters_that_a_compiled_pipeline_has(documents, tmp_path):
    path = str(tmp_path / "pipeline.yaml")
    kubeflow_runner._write(path, documents)
    package = Package(path)
    assert package.rule == "interactions"
    arguments = package.arguments(3)
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    assert set(arguments) == {"seed", "training"} <= set(parameters)
    given, compiled = json.loads(arguments["training"]), json.loads(parameters["training"]["defaultValue"])
    assert (given.pop("seed"), compiled.pop("seed")) == (3, 0)
    assert (given["train"].pop("hold_out_val"), compiled["train"].pop("hold_out_val")) == (True, False)
    assert given == compiled


def test_a_budget_adds_two_planners_whose_minutes_are_a_runtime_parameter():
    spec, _ = compile_small("gs://bucket/mdenas", **{"budget.minutes": 45.0})
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert spec["root"]["inputDefinitions"]["parameters"]["budget_minutes"] == {
        "parameterType": "NUMBER_DOUBLE",
        "defaultValue": 45.0,
    }
    tasks = spec["root"]["dag"]["tasks"]
    for planner in ("SearchPlanner", "TrainingPlanner"):
        given = tasks[planner]["inputs"]["parameters"]["budget_minutes"]
        assert given == {"componentInputParameter": "budget_minutes"}
        assert containers(spec)[planner]["resources"] == containers(spec)["Trainer"]["resources"]
    producers = {
        task: {source["taskOutputArtifact"]["producerTask"] for source in tasks[task]["inputs"]["artifacts"].values()}
        for task in ("SupernetSearch", "TrainingPlanner", "Trainer", "ReportGen")
    }
    assert "SearchPlanner" in producers["SupernetSearch"]
    assert {"SearchPlanner", "SupernetSearch", "ArchitectureDeriver"} <= producers["TrainingPlanner"]
    assert producers["Trainer"] == {"TfdsExampleGen", "TrainingPlanner"}
    assert "TrainingPlanner" in producers["ReportGen"]
    assert not {"SearchPlanner", "TrainingPlanner"} & set(
        compile_small("gs://bucket/mdenas")[0]["root"]["dag"]["tasks"]
    )


def test_checkpoints_lie_below_the_root_at_a_place_that_every_attempt_shares(documents):
    tasks = documents[0]["root"]["dag"]["tasks"]
    directory = tasks["SupernetSearch"]["inputs"]["parameters"]["checkpoint_dir"]["runtimeValue"]["constant"]
    assert directory == "gs://bucket/mdenas/checkpoints/search"


# What cannot be run on Kubeflow, and what is said of it.
REFUSED = {
    "checkpoints in s3": ({"root": "s3://bucket/mdenas"}, "--shared_dir"),
    "checkpoints in minio": ({"root": "minio://bucket/mdenas"}, "--shared_dir"),
    "a shared_dir in s3": ({"shared_dir": "s3://bucket"}, "TensorFlow cannot write there"),
    "a relative root": ({"root": "runs/mine"}, "--root=runs/mine is a folder of this machine"),
    "a local root": ({"root": "/home/me/runs"}, "--root=/home/me/runs is a folder of this machine"),
    "a root beside the volume": ({"root": "/mnt/mdenas2"}, "--root=/mnt/mdenas2 is a folder of this machine"),
    "a root out of the volume": ({"root": "/mnt/mdenas/../x"}, "is a folder of this machine"),
    "no root": ({"root": ""}, "--root= is a folder of this machine"),
    "a root without a bucket": ({"root": "gs://"}, "--root=gs:// names no bucket"),
    "a root of another kind": ({"root": "file:///x"}, "--root=file:///x names no bucket"),
    "a local shared_dir": ({"shared_dir": "/home/me"}, "--shared_dir=/home/me is a folder of this machine"),
    "a local baseline": ({"baseline": "runs/digits/artifacts"}, "--baseline=runs/digits/artifacts is a folder of"),
    "a local image folder": ({"data.image_folder": "/home/me"}, "config.data.image_folder=/home/me is a folder of"),
    "a local data_dir": ({"data.data_dir": "/home/me"}, "config.data.data_dir=/home/me is a folder of"),
    "infra validation": ({"deploy.infra_validation": "kubernetes"}, "config.deploy.infra_validation"),
    "no image": ({"image": ""}, "--image= is not the name of an image"),
    "an image of blanks": ({"image": "  "}, "is not the name of an image"),
    "an image with a blank": ({"image": "mde nas"}, "is not the name of an image"),
    "an image's address": ({"image": "https://registry.example/mdenas"}, "is not the name of an image"),
    "an image in capitals": ({"image": "registry.example/MdeNAS"}, "is not the name of an image"),
    "an image of no digest": ({"image": "mdenas@sha256:DIGEST"}, "is not the name of an image"),
    "an image of no tag": ({"image": "mdenas:"}, "is not the name of an image"),
    "a name with an umlaut": (
        {"name": "Zürich"},
        "config.name: found 'Zürich', which becomes 'zürich' on Kubeflow; expected",
    ),
    "a name with a sign": ({"name": "a+b"}, "config.name: found 'a+b'"),
    "a name with a hyphen first": ({"name": "_x"}, "config.name: found '_x', which becomes '-x' on Kubeflow"),
    "a name in another script": ({"name": "猫"}, "config.name: found '猫'"),
    "a long name": ({"name": "x" * 129}, "at most 128 of"),
}


@pytest.mark.parametrize("options, message", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_run_on_kubeflow_is_refused_with_the_reason(options, message):
    config = digits.get_config()
    options = {"root": "gs://bucket/mdenas", "image": IMAGE, **options}
    config.update_from_flattened_dict({key: options.pop(key) for key in list(options) if "." in key or key == "name"})
    with pytest.raises((UsageError, validation.ConfigError)) as caught:
        kubeflow_runner.compile_pipeline(config, volumes={"mdenas": "/mnt/mdenas"}, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, expected",
    [("My_Model V2", "my-model-v2"), ("v1.2", "v1-2"), ("2nd", "2nd"), ("x" * 128, "x" * 128), ("a-b", "a-b")],
)
def test_a_name_is_brought_to_kubeflows_characters(name, expected):
    assert kubeflow_options.pipeline_name(name) == expected


@pytest.mark.parametrize("image", ["mdenas", "mdenas:cpu", "localhost:5000/a/b_c:v1.2", "eu-docker.pkg.dev/p-1/x:v1"])
def test_names_of_images_are_taken(image):
    kubeflow_options.check_image(image)


@pytest.mark.parametrize("place", ["s3://b", "minio://b/x", "/mnt/x", "/mnt/x/", "/mnt/x/y"])
def test_places_that_the_pods_see_are_taken(place):
    kubeflow_options.check_place("--root", place, {"claim": "/mnt/x"})


@pytest.mark.parametrize(
    "flags, message",
    [
        (["claim"], "--volume=claim is not CLAIM:PATH"),
        ([":/mnt/x"], "is not CLAIM:PATH"),
        (["claim:"], "is not CLAIM:PATH"),
        (["claim:mnt/x"], "is not CLAIM:PATH"),
        (["claim:/mnt:x"], "is not CLAIM:PATH"),
        (["My_Claim:/mnt/x"], "is not CLAIM:PATH"),
        (["claim:/"], "the pods already use /."),
        (["claim:/app/"], "the pods already use /app."),
        (["a:/mnt/x", "b:/mnt/x/"], "--volume=b:/mnt/x/: /mnt/x is given twice"),
        (["a:/mnt/x", "a:/mnt/y"], "--volume=a:/mnt/y: a is given twice"),
    ],
)
def test_volumes_that_cannot_be_mounted_are_refused(flags, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        kubeflow_options.volumes(flags)


def test_volumes_are_mount_paths_by_claim():
    assert kubeflow_options.volumes(["a:/mnt/x/", "b.c:/mnt/x/y"]) == {"a": "/mnt/x", "b.c": "/mnt/x/y"}


@pytest.mark.parametrize(
    "output, message",
    [
        ("x.json", "will contain YAML documents"),
        ("x", "will contain YAML documents"),
        ("x.YAML.gz", "will contain YAML documents"),
        ("missing/x.yaml", "there is no folder"),
        ("folder.yaml", "is a folder: give the name of a file"),
    ],
)
def test_an_output_that_cannot_be_is_refused(tmp_path, output, message):
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UsageError, match=message):
        kubeflow_options.check_output(str(tmp_path / output))


def test_stores_that_tensorflow_cannot_read_are_shown_as_the_launchers_local_copies():
    for uri, path in (("s3://b/a/x", "/s3/b/a/x"), ("minio://b/x", "/minio/b/x")):
        assert kubeflow_entrypoint.to_local(uri) == path
        assert kubeflow_entrypoint.to_uri(path) == uri
    for unchanged in ("gs://b/x", "/mnt/x"):
        assert kubeflow_entrypoint.to_local(unchanged) == unchanged
        assert kubeflow_entrypoint.to_uri(unchanged) == unchanged


def test_the_entrypoint_gives_local_copies_in_and_uris_out(tmp_path, monkeypatch):
    seen = {}

    def executor(parsed):
        arguments, beam = parsed
        seen.update(json.loads(arguments.json_serialized_invocation_args), beam=beam)
        seen["executor"] = arguments.executor_class_path
        output = {"artifacts": {"model": {"artifacts": [{"uri": "/minio/bucket/run/model", "metadata": {"a": 1}}]}}}
        (tmp_path / "output.json").write_text(json.dumps(output))

    monkeypatch.setattr(kubeflow_v2_run_executor, "main", executor)
    executor_input = {
        "inputs": {
            "parameterValues": {"text": "s3://as/it/is"},
            "artifacts": {"examples": {"artifacts": [{"uri": "s3://bucket/examples", "name": "1"}]}},
        },
        "outputs": {
            "artifacts": {"model": {"artifacts": [{"uri": "minio://bucket/run/model"}]}},
            "outputFile": str(tmp_path / "output.json"),
        },
    }
    flags = [
        "--executor_class_path=a.B",
        "--json_serialized_invocation_args",
        json.dumps(executor_input),
        "--direct_x=1",
    ]
    with pytest.raises(SystemExit) as ended:
        kubeflow_entrypoint.main(["entrypoint", *flags])
    assert not ended.value.code
    assert seen["inputs"]["artifacts"]["examples"]["artifacts"] == [{"uri": "/s3/bucket/examples", "name": "1"}]
    assert seen["inputs"]["parameterValues"] == {"text": "s3://as/it/is"}
    assert seen["outputs"]["artifacts"]["model"]["artifacts"] == [{"uri": "/minio/bucket/run/model"}]
    assert (seen["executor"], seen["beam"][-1]) == ("a.B", "--direct_x=1")
    written = json.loads((tmp_path / "output.json").read_text())
    assert written["artifacts"]["model"]["artifacts"] == [{"uri": "minio://bucket/run/model", "metadata": {"a": 1}}]


def test_command_line_writes_the_file_and_answers_mistakes_in_one_line(tmp_path):
    output = tmp_path / "pipeline.yml"

    def run(*flags):
        command = [sys.executable, "-m", "pipeline.kubeflow_runner", "--config=pipeline/configs/digits.py", *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    done = run(
        *("--root=/mnt/x", f"--image={IMAGE}", f"--output={output}", "--volume=claim:/mnt/x"),
        "--config.name=My_Model V2",
    )
    assert done.returncode == 0, done.stderr
    assert len(list(yaml.safe_load_all(output.read_text()))) == 2
    assert "On Kubeflow, the pipeline 'My_Model V2' has the name my-model-v2." in done.stdout
    assert "kfp pipeline create -p my-model-v2" in done.stdout
    for flags, message in (
        (("--image=", "--output=x.yaml"), "--image= is not the name of an image"),
        ((f"--image={IMAGE}", "--output=x.json"), "--output=x.json will contain YAML documents"),
    ):
        done = run("--root=gs://bucket/x", *flags)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"ERROR: {message}")


class Cluster:
    """Runs a compiled pipeline's containers as processes, in the way of Kubeflow's driver and launcher.

    Args:
        spec: The PipelineSpec.
        directory: Scratch; the image is laid out below it, with exactly the files that Dockerfile copies.
    """

    def __init__(self, spec: Json, directory: pathlib.Path):
        self.spec, self.directory = spec, directory
        self.workdir = directory / "app"
        self.workdir.mkdir()
        image.build(self.workdir)
        self.tasks = spec["root"]["dag"]["tasks"]
        self.outputs: dict[str, dict[str, Json]] = {}

    def order(self) -> list[str]:
        """Returns the tasks in an order in which each comes after those it depends on."""
        done: list[str] = []
        while len(done) < len(self.tasks):
            ready = [
                name
                for name, task in sorted(self.tasks.items())
                if name not in done and set(task.get("dependentTasks", ())) <= set(done)
            ]
            assert ready, "the graph has a cycle"
            done += ready
        return done

    def executor_input(self, name: str) -> Json:
        """Returns what Kubeflow's driver would put in place of {{$}}."""
        component = self.spec["components"][name]
        inputs = self.tasks[name].get("inputs", {})
        defaults = self.spec["root"]["inputDefinitions"]["parameters"]
        values = {
            key: defaults[source["componentInputParameter"]]["defaultValue"]
            if "componentInputParameter" in source
            else source["runtimeValue"]["constant"]
            for key, source in inputs.get("parameters", {}).items()
        }
        artifacts = {}
        for key, source in inputs.get("artifacts", {}).items():
            producer = source["taskOutputArtifact"]
            artifacts[key] = {"artifacts": [self.outputs[producer["producerTask"]][producer["outputArtifactKey"]]]}
        root = f"{self.spec['defaultPipelineRoot']}/digits/run/{name}"
        outputs = {
            key: {
                "artifacts": [
                    {"name": f"{name}/{key}", "uri": f"{root}/{key}", "type": output["artifactType"], "metadata": {}}
                ]
            }
            for key, output in component.get("outputDefinitions", {}).get("artifacts", {}).items()
        }
        return {
            "inputs": {"parameterValues": values, "artifacts": artifacts},
            "outputs": {"artifacts": outputs, "outputFile": str(self.directory / name / "executor_output.json")},
        }

    def start(self, name: str) -> tuple[subprocess.Popen, Json]:
        """Starts a task's container; returns the process and its ExecutorInput."""
        executor_input = self.executor_input(name)
        json_format.ParseDict(executor_input, pipeline_spec_pb2.ExecutorInput())
        container = containers(self.spec)[name]
        command = [*container["command"], *container["args"]]
        command = [json.dumps(executor_input) if word == "{{$}}" else word for word in command]
        home = self.directory / name
        home.mkdir(exist_ok=True)
        with open(home / "log", "a") as log:
            process = subprocess.Popen(
                command,
                cwd=self.workdir,
                env=image.container_environment(home, sys.executable, self.workdir),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        return process, executor_input

    def finish(self, name: str, process: subprocess.Popen, executor_input: Json) -> None:
        """Waits for a task and takes its outputs over, as the launcher does."""
        assert process.wait(timeout=600) == 0, self.log(name)[-4000:]
        with open(executor_input["outputs"]["outputFile"]) as file:
            executor_output = json.load(file)
        json_format.ParseDict(executor_output, pipeline_spec_pb2.ExecutorOutput())
        self.outputs[name] = {}
        for key, planned in executor_input["outputs"]["artifacts"].items():
            written = executor_output["artifacts"][key]["artifacts"][0]
            self.outputs[name][key] = {**planned["artifacts"][0], **written}

    def log(self, name: str) -> str:
        """Returns what a task's processes printed."""
        return (self.directory / name / "log").read_text()


# Twelve processes, each of which imports TFX: minutes on a busy machine.
slow = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The small pipeline run to its end, its search killed once after its first epoch and started again."""
    directory = tmp_path_factory.mktemp("cluster")
    spec, _ = compile_small(directory / "root", directory, **{"deploy.bulk_inference": "test"})
    cluster = Cluster(spec, directory)
    for name in cluster.order():
        process, executor_input = cluster.start(name)
        if name == "SupernetSearch":
            checkpoints = directory / "root" / "checkpoints" / "search"
            limit = time.monotonic() + 300
            while process.poll() is None and not list(checkpoints.glob("*/*/manifest.json")):
                assert time.monotonic() < limit, cluster.log(name)
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "the search was over before it could be killed"
            process, executor_input = cluster.start(name)
        cluster.finish(name, process, executor_input)
    return cluster


def read(cluster: Cluster, task: str, key: str, file: str) -> Json:
    return json.loads(pathlib.Path(cluster.outputs[task][key]["uri"], file).read_text())


@slow
def test_node_by_node_execution_ends_like_the_local_run(executed, digits_run):
    summary = digits_run.summary
    assert read(executed, "ArchitectureDeriver", "genotype", "genotype.json") == summary["genotype"]
    assert executed.outputs["Evaluator"]["blessing"]["metadata"]["blessed"] == 1
    (pushed,) = (executed.directory / "root" / "serving_model").glob("[0-9]*")
    assert (pushed / "saved_model.pb").exists()
    assert (pushed / "assets.extra" / "tf_serving_warmup_requests").exists()
    assert executed.outputs["Pusher"]["pushed_model"]["metadata"]["pushed_destination"] == str(pushed)
    compared = read(executed, "Baselines", "comparison", "baselines.json")
    figures = {row["name"]: row["accuracy"] for row in compared["baselines"]}
    assert figures == {name: found["test_accuracy"] for name, found in summary["baselines"].items()}
    assert executed.outputs["SupernetSearch"]["distribution"]["metadata"]["seconds"] > 0
    report = pathlib.Path(executed.outputs["ReportGen"]["report"]["uri"], "report.html").read_text()
    assert html.escape(summary["genotype_text"]) in report
    assert str(pushed) in report


@slow
def test_a_killed_search_goes_on_and_ends_with_the_same_distribution(executed, digits_run):
    resumed = [line for line in executed.log("SupernetSearch").splitlines() if "resumed after epoch" in line]
    assert len(resumed) == 1
    epochs = int(resumed[0].split("resumed after epoch ")[1].split()[0])
    assert 1 <= epochs < 3
    (uri,) = digits_run.summary["lineage"]["distribution"]
    expected = json.loads(pathlib.Path(uri, "distribution.json").read_text())
    assert read(executed, "SupernetSearch", "distribution", "distribution.json") == expected


@slow
def test_bulk_inference_answers_for_every_image_of_its_split(executed, digits_run):
    directory = pathlib.Path(executed.outputs["BulkInferrer"]["inference_result"]["uri"])
    files = [str(path) for path in directory.rglob("*.gz")]
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    answers = [prediction_log_pb2.PredictionLog.FromString(record).predict_log for record in records]
    assert len(answers) == 360
    right = 0
    for answer in answers:
        (serialized,) = answer.request.inputs["examples"].string_val
        (label,) = tf.train.Example.FromString(serialized).features.feature["label"].int64_list.value
        right += tf.make_ndarray(answer.response.outputs["probabilities"]).argmax() == label
    assert right / 360 == pytest.approx(digits_run.summary["test_accuracy"], abs=1e-6)


@slow
def test_a_container_needs_nothing_of_its_home_but_room(executed):
    left = {path.name for name in executed.tasks for path in (executed.directory / name).iterdir()}
    assert not left - {"log", "executor_output.json", ".temp", ".cache", ".keras", ".config"}


@slow
def test_the_planners_run_in_their_pods(executed):
    """With the outputs of a run without a budget: only the two planners are executed. They measure for 3 % of it."""
    spec, _ = compile_small(executed.directory / "root", executed.directory, **{"budget.minutes": 12.0})
    executed.spec, executed.tasks = spec, spec["root"]["dag"]["tasks"]
    for name in ("SearchPlanner", "TrainingPlanner"):
        process, executor_input = executed.start(name)
        executed.finish(name, process, executor_input)
    first, corrected = (read(executed, name, "plan", "plan.json") for name in ("SearchPlanner", "TrainingPlanner"))
    assert first["minutes"] == corrected["minutes"] == 12
    assert first["seconds"]["start and data"] > 0  # the ingest's; the start of pods does not count
    assert corrected["seconds"]["search"] > 0
    given = read(executed, "TrainingPlanner", "hyperparameters", "hyperparameters.json")
    assert given["settings"] == corrected["choices"]
    assert given["genotype"] == read(executed, "ArchitectureDeriver", "genotype", "genotype.json")
