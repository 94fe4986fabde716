"""TF Serving's settings and the Kubernetes manifests, rendered as `kubectl apply -k` does, against their schemas."""

import copy
import re
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from kubernetes import client as kubernetes
from tensorflow_serving.config import model_server_config_pb2

from tests.support import image

SERVING = image.ROOT / "serving"
VARIANTS = ("cpu", "gpu")
MODELS = {
    "Namespace": "V1Namespace",
    "ServiceAccount": "V1ServiceAccount",
    "ConfigMap": "V1ConfigMap",
    "Deployment": "V1Deployment",
    "Service": "V1Service",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
}
# Which API version each of those models is of.
VERSIONS = {
    "Namespace": "v1",
    "ServiceAccount": "v1",
    "ConfigMap": "v1",
    "Service": "v1",
    "Deployment": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
}
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def check(value: Any, kind: str, path: str) -> None:
    """Checks a value against the schema in the official client, which is generated from the API's OpenAPI document.

    Raises:
        ValueError: An unknown field, a missing required one, or a value of another type; `path` is in the message.
    """
    if value is None:
        raise ValueError(f"{path} is empty")
    if match := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, list):
            raise ValueError(f"{path} is {value!r}, not a list")
        for index, item in enumerate(value):
            check(item, match[1], f"{path}[{index}]")
    elif match := re.fullmatch(r"dict\((.*), (.*)\)", kind):
        if not isinstance(value, dict):
            raise ValueError(f"{path} is {value!r}, not a mapping")
        for key, item in value.items():
            check(item, match[2], f"{path}.{key}")
    elif kind == "object":  # int or string
        if not isinstance(value, int | str):
            raise ValueError(f"{path} is {value!r}, not a number or a string")
    elif kind in ("str", "int", "bool"):
        if type(value).__name__ != kind:
            raise ValueError(f"{path} is {value!r}, not of type {kind}")
    else:
        model = getattr(kubernetes, kind)
        if not isinstance(value, dict):
            raise ValueError(f"{path} is {value!r}, not a mapping")
        attributes = {name: attribute for attribute, name in model.attribute_map.items()}
        if unknown := set(value) - set(attributes):
            raise ValueError(f"{path} has unknown fields {sorted(unknown)}; known are {sorted(attributes)}")
        for name, item in value.items():
            check(item, model.openapi_types[attributes[name]], f"{path}.{name}")
        try:
            model(**{attributes[name]: item for name, item in value.items()})  # the model checks what must be there
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def validate(document: dict[str, Any]) -> None:
    """Checks a manifest."""
    kind = document["kind"]
    if document.get("apiVersion") != VERSIONS[kind]:
        raise ValueError(f"apiVersion of {kind} is {document.get('apiVersion')}, not {VERSIONS[kind]}")
    check(document, MODELS[kind], kind)


def merge(base: Any, patch: Any) -> Any:
    """Returns a strategic merge: mappings by key, lists of named items by name, all else replaced."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return {key: merge(base.get(key), patch[key]) if key in patch else base[key] for key in {**base, **patch}}
    lists = isinstance(base, list) and isinstance(patch, list)
    if lists and all(isinstance(item, dict) and "name" in item for item in [*base, *patch]):
        merged = {item["name"]: item for item in base}
        for item in patch:
            merged[item["name"]] = merge(merged.get(item["name"]), item)
        return list(merged.values())
    return copy.deepcopy(patch)


def render(directory) -> list[dict[str, Any]]:
    """Returns what kustomize makes of a folder here; an unknown field of a kustomization is an error."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    assert kustomization.pop("apiVersion") == "kustomize.config.k8s.io/v1beta1"
    assert kustomization.pop("kind") == "Kustomization"
    namespace = kustomization.pop("namespace")
    documents = []
    for resource in kustomization.pop("resources"):
        path = directory / resource
        documents += render(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    by_name = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    for generator in kustomization.pop("configMapGenerator"):
        data = {name: (directory / name).read_text() for name in generator.pop("files")}
        key = ("ConfigMap", generator.pop("name"))
        if generator.pop("behavior", "create") == "merge":
            data = {**by_name[key]["data"], **data}
        by_name[key] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": key[1]}, "data": data}
        assert not generator
    for patch in kustomization.pop("patches", []):
        for document in yaml.safe_load_all((directory / patch.pop("path")).read_text()):
            key = (document["kind"], document["metadata"]["name"])
            by_name[key] = merge(by_name[key], document)
        assert not patch
    tags = {entry["name"]: entry["newTag"] for entry in kustomization.pop("images")}
    for document in by_name.values():
        if document["kind"] != "Namespace":
            document["metadata"]["namespace"] = namespace
        if document["kind"] == "Deployment":
            for container in document["spec"]["template"]["spec"]["containers"]:
                name = container["image"].split(":")[0]
                container["image"] = f"{name}:{tags[name]}"
    assert not kustomization
    return list(by_name.values())


@pytest.fixture(params=VARIANTS)
def documents(request):
    return {document["kind"]: document for document in render(SERVING / request.param)}


def pod(documents):
    return documents["Deployment"]["spec"]["template"]["spec"]


def server(documents):
    (container,) = pod(documents)["containers"]
    return container


def flags(documents):
    return dict(argument.removeprefix("--").split("=", 1) for argument in server(documents)["args"])


def test_manifests_are_what_kubernetes_accepts(documents):
    assert set(documents) == set(MODELS)
    for document in documents.values():
        validate(document)


@pytest.mark.parametrize(
    "path, value, message",
    [
        (["replica"], 2, "unknown fields"),
        (["replicas"], "2", "not of type int"),
        (["template", "spec", "containers"], None, "empty"),
        (["template", "spec", "containers", 0, "ports", 0, "containerport"], 1, "unknown fields"),
        (["template", "spec", "containers", 0, "readinessProbe", "httpGet"], {"path": "/"}, "port"),
        (["selector"], [], "not a mapping"),
    ],
)
def test_the_validator_finds_mistakes(path, value, message):
    deployment = {document["kind"]: document for document in render(SERVING / "cpu")}["Deployment"]
    target = deployment["spec"]
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        validate(deployment)


def test_selectors_ports_and_volumes_fit_together(documents):
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert documents["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert documents["Service"]["spec"]["selector"] == labels
    assert documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert documents["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "mdenas-serving"
    ports = {port["name"]: port["containerPort"] for port in server(documents)["ports"]}
    assert ports == {"grpc": int(flags(documents)["port"]), "http": int(flags(documents)["rest_api_port"])}
    assert {port["targetPort"] for port in documents["Service"]["spec"]["ports"]} == set(ports)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        (action,) = [
            server(documents)[probe][kind] for kind in ("httpGet", "tcpSocket") if kind in server(documents)[probe]
        ]
        assert action["port"] in ports
    mounts = {mount["name"] for mount in server(documents)["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod(documents)["volumes"]}


def test_the_server_is_told_of_files_and_a_model_that_are_there(documents):
    mounts = {mount["name"]: mount["mountPath"] for mount in server(documents)["volumeMounts"]}
    found = {f"{mounts['config']}/{name}" for name in documents["ConfigMap"]["data"]}
    given = {value for name, value in flags(documents).items() if name.endswith("_file")}
    assert given == found
    config = text_format.Parse(
        documents["ConfigMap"]["data"]["models.config"], model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert model.base_path.startswith(mounts["models"] + "/")
    assert server(documents)["readinessProbe"]["httpGet"]["path"] == f"/v1/models/{model.name}/metadata"
    annotations = documents["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert f'path: "{annotations["prometheus.io/path"]}"' in documents["ConfigMap"]["data"]["monitoring.config"]


def test_the_pod_has_no_more_rights_than_it_needs(documents):
    context, container = pod(documents)["securityContext"], server(documents)["securityContext"]
    assert context["runAsNonRoot"] is True and context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(documents)["automountServiceAccountToken"] is False
    assert documents["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for mount in server(documents)["volumeMounts"]:
        assert mount.get("readOnly") or mount["name"] == "tmp"


def test_requests_and_limits_are_set_and_only_the_gpu_variant_asks_for_a_gpu(documents):
    resources = server(documents)["resources"]
    for part in ("requests", "limits"):
        assert all(QUANTITY.fullmatch(quantity) for quantity in resources[part].values())
        assert "memory" in resources[part]
    gpu = server(documents)["image"].endswith("-gpu")
    for part in ("requests", "limits"):
        assert resources[part].get("nvidia.com/gpu") == ("1" if gpu else None)
    assert bool(pod(documents).get("tolerations")) == gpu
    assert not server(documents)["image"].endswith(":latest")


def settings(name, fields):
    """Returns a message class with TF Serving's public fields; its .proto is not among the Python stubs."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="tested", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    for message, members in fields.items():
        described = file.message_type.add(name=message)
        for number, (field, kind) in enumerate(members.items(), 1):
            repeated, kind = kind.startswith("repeated "), kind.removeprefix("repeated ")
            label = 3 if repeated else 1
            if kind.startswith("."):
                described.field.add(name=field, number=number, label=label, type=11, type_name=kind)
            else:
                described.field.add(
                    name=field, number=number, label=label, type={"int64": 3, "bool": 8, "string": 9}[kind]
                )
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(file)
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(f"tested.{name}"))()


def test_batching_settings_are_ones_the_server_knows(documents):
    int64, boolean = ".google.protobuf.Int64Value", ".google.protobuf.BoolValue"
    batching = text_format.Parse(
        documents["ConfigMap"]["data"]["batching.config"],
        settings(
            "BatchingParameters",
            {
                "BatchingParameters": {
                    "max_batch_size": int64,
                    "batch_timeout_micros": int64,
                    "max_enqueued_batches": int64,
                    "num_batch_threads": int64,
                    "thread_pool_name": ".google.protobuf.StringValue",
                    "allowed_batch_sizes": "repeated int64",
                    "pad_variable_length_inputs": "bool",
                    "enable_large_batch_splitting": boolean,
                    "max_execution_batch_size": int64,
                }
            },
        ),
    )
    if batching.allowed_batch_sizes:  # the server refuses to start otherwise
        assert list(batching.allowed_batch_sizes) == sorted(batching.allowed_batch_sizes)
        assert batching.allowed_batch_sizes[-1] == batching.max_batch_size.value


def test_monitoring_settings_are_ones_the_server_knows(documents):
    monitoring = text_format.Parse(
        documents["ConfigMap"]["data"]["monitoring.config"],
        settings(
            "MonitoringConfig",
            {
                "MonitoringConfig": {"prometheus_config": ".tested.PrometheusConfig"},
                "PrometheusConfig": {"enable": "bool", "path": "string"},
            },
        ),
    )
    assert monitoring.prometheus_config.enable


def test_the_documented_docker_line_starts_the_server_as_kubernetes_does():
    (block,) = re.findall(r"    docker run (?:.*\\\n)+.*\n", (image.ROOT / "docs/deploy.md").read_text())
    documents = {document["kind"]: document for document in render(SERVING / "cpu")}
    given = dict(re.findall(r"--([a-z_]+_file|port|rest_api_port|enable_batching)=(\S+)", block))
    assert given == {name: value for name, value in flags(documents).items() if not name.startswith("file_system")}
    assert f" {server(documents)['image']} " in block
    assert f"--entrypoint={server(documents)['command'][0]}" in block
    mounts = dict(re.findall(r"source=\$PWD/(\S+?),target=(\S+?),readonly", block))
    assert mounts == {"runs/digits/serving_model": "/models/mdenas", "serving/cpu": "/etc/serving"}
