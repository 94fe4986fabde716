"""Every setting of the pipeline, declared once: type, default, bounds, meaning, source, and what the setting changes.

These declarations are the source of the configs' defaults (pipeline/configs/base.py), the checks, the components'
parameters, the keys of checkpoints, the report's table and docs/settings.md (`make settings`). In the field `source` of
a setting, "paper" means arXiv 1905.07529, "later code" means the code that its authors published afterwards, and
"released script" means the run script of the published network. This module imports neither TensorFlow nor Keras.
"""

import dataclasses
import functools
import os
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, cast

import pydantic
from PIL import ImageColor
from pydantic import AfterValidator, Discriminator, Field, Tag

from models.oracle.rules.base import Rule
from models.oracle.rules.registry import RULES
from models.runtime.section import (
    AFTERWARDS,
    EXAMPLES,
    NOTHING,
    PLAN,
    SEARCH,
    TRAINING,
    ConfigError,
    Section,
    leaves,
    markdown,
    setting,
)

__all__ = ["ConfigError"]


def _require(holds: Callable[[Any], bool]) -> AfterValidator:
    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError
        return value

    return AfterValidator(check)


def _is_colour(name: str) -> bool:
    try:
        return bool(ImageColor.getrgb(name))
    except ValueError:
        return False


_Precision = Literal["", "bfloat16", "float16"]
_PRECISION = 'number format of the network\'s computations; "": float32; the others are only useful on a GPU'
_Names = Annotated[tuple[str, ...], Field(strict=False)]


class Data(Section):
    """The images, and the form in which networks get them (docs/data.md)."""

    name: str = setting("digits", 'name of a TFDS data set; "digits" is part of this project', EXAMPLES, memory=True)
    version: str = setting(
        "", 'version of the TFDS data set; "": the newest', EXAMPLES, runtime="data_version", memory=True
    )
    data_dir: str = setting("", "folder of TFDS's data sets; \"\": TFDS's default", EXAMPLES, runtime="data_dir")
    download: bool = setting(False, "whether TFDS may download the data set", EXAMPLES)
    image_folder: str = setting(
        "",
        "folder DIR of own images, as DIR/<class>/*, DIR/train/<class>/* and so on; replaces data.name",
        EXAMPLES,
        runtime="image_folder",
        memory=True,
    )
    test_split: str = setting(
        "", 'TFDS split with the test images; "": test, or validation if test has no labels or does not exist', EXAMPLES
    )
    image_feature: str = setting(
        "", 'TFDS feature with the image; "": the feature image, the one in supervised_keys, or the only one', EXAMPLES
    )
    label_feature: str = setting(
        "", 'TFDS feature with the class; "": the feature label, the one in supervised_keys, or the only one', EXAMPLES
    )
    test_fraction: float = setting(
        0.2, "share of each class that becomes test images, if the data set has no test images", EXAMPLES, gt=0, lt=1
    )
    val_fraction: float = setting(
        0.5,
        "share of each class's training images that becomes val; a search on shared weights validates architectures on "
        "val",
        EXAMPLES,
        source="later code",
        gt=0,
        lt=1,
    )
    seed: int = setting(
        0,
        "seed of the cut between train and val; config.seed does not change it, so that runs of several seeds use the "
        "same images",
        EXAMPLES,
        runtime="data_seed",
        ge=0,
        le=2**31 - 1,
    )
    image_size: Annotated[int, _require(lambda size: size == 0 or size >= 4)] = setting(
        0,
        "side in pixels of the square to which images are resized; 0: all images already have the same size",
        EXAMPLES,
        expected="0 (as the images are), or 4 pixels or more",
        memory=True,
    )
    resize: Literal["crop", "pad", "squash"] = setting("crop", "how images that are not square are resized", EXAMPLES)
    background: Annotated[str, _require(_is_colour)] = setting(
        "white",
        "colour behind transparent pixels and in padding: a name or #rrggbb",
        EXAMPLES,
        expected="a colour's name or #rrggbb",
    )
    channels: Literal[0, 1, 3] = setting(
        0,
        "1 converts all images to grey, 3 to colours; 0: images stay as they are",
        EXAMPLES,
        expected="0 (as the images are), 1 or 3",
        memory=True,
    )
    store: Literal["resized", "original"] = setting(
        "resized", "whether the examples store the resized or the original image", EXAMPLES, memory=True
    )
    cache_mb: int = setting(
        2048,
        "decoded images stay in memory if they need at most this many MiB; otherwise every epoch decodes them again",
        NOTHING,
        ge=0,
        memory=True,
    )
    max_corrupt_share: float = setting(
        0.0,
        "if at most this share of all images cannot be decoded, these images are left out; otherwise the data set is "
        "refused",
        EXAMPLES,
        ge=0,
        lt=1,
    )


class Space(Section):
    """The search space (docs/search_spaces.md)."""

    name: str = setting(
        "cell", "cell, mobile, nasbench201, or the dotted path of a custom space's module", SEARCH, memory=True
    )
    operations: _Names = setting(
        (),
        "names of the operations of a choice; the cell space also takes names of sets (paper, fast). (): the paper's "
        "operations in the cell space, all operations in another space",
        SEARCH,
        memory=True,
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any], section: str = "space") -> "Space":
        """See Section. The name of the space decides which settings there are, and so which class is returned."""
        return Settings.parse({section: values}).space


class MobileSpace(Space):
    """One more setting, only with the mobile space."""

    backbone: str | dict[str, Any] = setting(
        "mdenas_gpu",
        "widths, strides and depth: mdenas_gpu, mdenas_cpu, or the fields of a backbone",
        SEARCH,
        memory=True,
    )


class CustomSpace(Space):
    """A custom space declares its options as parameters of `create`.

    A pydantic model `Options` in its module, if there is one, checks them.
    """

    model_config = pydantic.ConfigDict(extra="allow")


# These settings are used only with the objective "val_accuracy", which trains a supernet.
_trained = functools.partial(setting, objective="val_accuracy")


class Search(Section):
    """The search: every epoch evaluates one sampled architecture."""

    objective: Literal["val_accuracy", "spectrum"] = setting(
        "val_accuracy",
        "val_accuracy: validation accuracy after an epoch of training on shared weights; "
        "spectrum: score of the untrained final network (docs/search.md)",
        SEARCH,
        source="paper",
        memory=True,
    )
    epochs: int = setting(
        100, "search epochs, one architecture each", SEARCH, source="paper", runtime="search_epochs", ge=1
    )
    score_images: int = setting(
        32, "number of images from which a score is computed", SEARCH, objective="spectrum", ge=2
    )
    # At least 2, because batch norm computes statistics over the batch.
    batch_size: int = _trained(512, "images per step", SEARCH, source="paper", ge=2, memory=True)
    cells: int = _trained(
        6,
        "cells of the supernet; nasbench201: cells of each of its three stages (the benchmark has 5)",
        SEARCH,
        source="paper (later code: 8)",
        network=True,
        ge=1,
        memory=True,
    )
    channels: int = _trained(
        16, "channels of a node of the first cell", SEARCH, source="paper", network=True, ge=1, memory=True
    )
    learning_rate: float = _trained(
        0.025, "learning rate at the start; a cosine anneals it", SEARCH, source="paper", gt=0, scales_with_batch=True
    )
    min_learning_rate: float = _trained(
        0.0,
        "learning rate at the end of the search",
        SEARCH,
        source="paper (later code: 0.001)",
        ge=0,
        scales_with_batch=True,
    )
    momentum: float = _trained(0.9, "momentum of SGD", SEARCH, source="paper", ge=0, lt=1)
    weight_decay: float = _trained(
        3e-4, "weight decay, added to the gradient as in PyTorch", SEARCH, source="paper", ge=0
    )
    gradient_clip: float = _trained(
        5.0, "largest global norm of the gradients; 0: no clipping", SEARCH, source="later code", ge=0
    )
    pad: int = _trained(4, "padding in pixels before a random crop", SEARCH, ge=0)
    flip: bool = _trained(True, "whether images are flipped horizontally at random", SEARCH)
    cutout: int = _trained(0, "side in pixels of the randomly erased square; 0: no cutout", SEARCH, ge=0)
    norm_images: int = _trained(
        2048,
        "number of training images from which a path's batch norm statistics are computed before its validation",
        SEARCH,
        ge=2,
    )
    mixed_precision: _Precision = _trained("", _PRECISION, SEARCH, memory=True)
    xla: bool = _trained(False, "whether XLA compiles the steps; only on a GPU", SEARCH, memory=True)
    traced_architectures: int = _trained(
        8, "number of architectures whose traced steps are kept for reuse", NOTHING, ge=1, memory=True
    )
    checkpoint_every: int = setting(1, "epochs between checkpoints", NOTHING, ge=1)
    max_invalid: int = setting(
        5,
        "number of consecutive failed trials (loss not finite, or out of memory) that stops the search",
        NOTHING,
        ge=1,
    )


def _options(rule: type[Rule]) -> type[Section]:
    """Returns the section with an update rule's options. The rule's class declares them and checks their values."""
    hints = typing.get_type_hints(rule)
    fields = {
        field.name: (hints[field.name], setting(field.default, field.metadata.get("meaning", ""), SEARCH))
        for field in dataclasses.fields(cast(Any, rule))
        if field.init
    }

    def check(options: Section) -> Section:
        rule(**options.model_dump())
        return options

    validators: dict[str, Any] = {"check": pydantic.model_validator(mode="after")(check)}
    return cast(Any, pydantic.create_model)(
        f"{rule.__name__}Options",
        __base__=Section,
        __doc__=f"Options of the rule `{rule.name}`.",
        __validators__=validators,
        **fields,
    )


_OPTIONS = {name: _options(rule) for name, rule in RULES.items()}
# Defaults of the pipeline that differ from those of the rules. Accuracies on shared weights change with the training;
# configs with the objective "spectrum" set `trend` to False.
_PIPELINE_OPTIONS = {"interactions": {"trend": True}}


class _Oracle(Section):
    """The oracle, which learns the distribution (docs/oracle.md)."""

    rule: str = setting(
        "paper", f"update rule: {', '.join(RULES)}, or the dotted path of a custom rule", SEARCH, source="paper"
    )
    warmup_rounds: int | None = setting(
        None,
        "number of rounds at the start that sample every operation equally often; None: the rule's default (paper: 0)",
        SEARCH,
        expected="None, or a whole number of 0 or more",
        ge=0,
    )
    custom: dict[str, Any] = setting({}, "options of a custom rule", SEARCH)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the rule that is used."""
        return getattr(self, self.rule).model_dump() if self.rule in RULES else dict(self.custom)


if typing.TYPE_CHECKING:
    Oracle = _Oracle
else:
    Oracle = pydantic.create_model(
        "Oracle",
        __base__=_Oracle,
        __doc__=_Oracle.__doc__,
        **{
            name: (options, setting(options(**_PIPELINE_OPTIONS.get(name, {})), f"options of the rule {name}", SEARCH))
            for name, options in _OPTIONS.items()
        },
    )


_limit = functools.partial(setting, None, expected="None (no limit) or more than 0", gt=0)


class DeriveBudget(Section):
    """Limits of the derived network. The best architecture within all of them is derived (docs/costs.md)."""

    latency_ms: float | None = _limit("largest predicted latency in milliseconds; needs a latency table", AFTERWARDS)
    params: int | None = _limit("largest number of parameters, without the auxiliary head", AFTERWARDS)
    macs: int | None = _limit("largest number of multiply-adds for one image", AFTERWARDS)
    file_mb: float | None = _limit("largest size of the exported SavedModel in MB (10^6 bytes), estimated", AFTERWARDS)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {name: value for name, value in self if value is not None}


MEASURE = "measure"
"""The value of `derive.latency_table` with which the run measures the table."""


class Derive(Section):
    """The derivation of an architecture from the result of the search."""

    source: Literal["argmax", "best"] = setting(
        "argmax",
        "argmax: the architecture that the update rule recommends (for most rules, the most probable operations); "
        "best: the best evaluated architecture",
        AFTERWARDS,
        source="paper",
    )
    max_skip_connections: int | None = setting(
        None,
        "largest number of skip connections in the derived architecture, all cells together; None: no limit",
        AFTERWARDS,
        source="later code",
        expected="None (no limit), or a whole number of 0 or more",
        ge=0,
    )
    front: Annotated[int, _require(lambda count: count == 0 or count >= 2)] = setting(
        0,
        "number of architectures from the cheapest to the best, written beside the derived one; 0: none",
        AFTERWARDS,
        expected="0 (none) or 2 or more",
    )
    latency_table: str = setting(
        "",
        "measure: the run measures a latency table on its device; or the file of a table, which `python -m "
        "models.measure_latency` writes on any device (docs/latency.md); '': latency is not known",
        AFTERWARDS,
    )
    latency_backend: Literal["litert", "tensorflow"] = setting(
        "litert", "runtime that is measured: LiteRT with float32 numbers, or TensorFlow", AFTERWARDS
    )
    latency_threads: int = setting(1, "threads of the runtime that is measured", AFTERWARDS, ge=1)
    budget: DeriveBudget = setting(DeriveBudget(), "limits of the derived network", AFTERWARDS)

    def unused(self) -> dict[str, str]:
        """Returns the settings without use beside the others, and why: name -> reason."""
        found: dict[str, str] = {}
        if not self.needs_costs:
            found["latency_table"] = "there is no config.derive.budget and no config.derive.front"
        if not self.measures_latency:
            why = f"config.derive.latency_table is not {MEASURE!r}"
            found |= {"latency_backend": why, "latency_threads": why}
        return found

    @property
    def measures_latency(self) -> bool:
        """Whether the run measures a latency table on its own device."""
        return self.latency_table == MEASURE

    @property
    def needs_costs(self) -> bool:
        """Whether the derivation has to know what architectures cost."""
        return bool(self.budget.limits or self.front)


_OF_A_TEACHER = ("teacher_temperature", "teacher_weight")


class Train(Section):
    """The final training."""

    network: Literal["cifar", "imagenet", "mobile", "nasbench201"] = setting(
        "cifar", "family of the network: defines stem, auxiliary head and batch norm's epsilon", TRAINING, memory=True
    )
    epochs: int = setting(600, "training epochs", TRAINING, source="released script", ge=1)
    epoch_images: int = setting(
        0,
        "number of images of an epoch: the next ones of all images in a random order; 0: an epoch has all images once",
        TRAINING,
        ge=0,
    )
    batch_size: int = setting(96, "images per step", TRAINING, source="released script", ge=2, memory=True)
    cells: int = setting(
        20,
        "cells of the network; nasbench201: cells of each of its three stages (the benchmark has 5)",
        SEARCH,
        TRAINING,
        source="released script",
        network=True,
        ge=1,
        memory=True,
    )
    channels: int = setting(
        36,
        "channels of a node of the first cell (nasbench201: the benchmark has 16)",
        SEARCH,
        TRAINING,
        source="released script",
        network=True,
        ge=1,
        memory=True,
    )
    momentum: float = setting(0.9, "momentum of SGD", TRAINING, source="released script", ge=0, lt=1)
    learning_rate: float = setting(
        0.025, "learning rate at the start", TRAINING, source="released script", gt=0, scales_with_batch=True
    )
    schedule: Literal["cosine", "exponential"] = setting(
        "cosine",
        "schedule of the learning rate: cosine to 0 (CIFAR-10) or exponential (ImageNet)",
        TRAINING,
        source="paper",
    )
    decay_rate: float = setting(
        0.97, "factor of the learning rate per epoch in the exponential schedule", TRAINING, gt=0, le=1
    )
    warmup_epochs: int = setting(0, "epochs in which the learning rate rises linearly", TRAINING, ge=0)
    weight_decay: float = setting(
        3e-4, "weight decay, added to the gradient as in PyTorch", TRAINING, source="released script", ge=0
    )
    decay_batch_norm: bool = setting(
        False, "whether weight decay includes batch norm's scale and offset, as in DARTS", TRAINING
    )
    gradient_clip: float = setting(
        5.0, "largest global norm of the gradients; 0: no clipping", TRAINING, source="released script", ge=0
    )
    label_smoothing: float = setting(0.0, "label smoothing; the paper uses 0.1 on ImageNet", TRAINING, ge=0, lt=1)
    pad: int = setting(4, "padding in pixels before a random crop", TRAINING, ge=0)
    flip: bool = setting(True, "whether images are flipped horizontally at random", TRAINING)
    cutout: int = setting(
        16, "side in pixels of the randomly erased square; 0: no cutout", TRAINING, source="released script", ge=0
    )
    crop_area: float = setting(
        1.0,
        "smallest share of a photo that a random part of it has, which is resized to the photo's size; 1: the whole "
        "photo. Usual on ImageNet: 0.08",
        TRAINING,
        gt=0,
        le=1,
    )
    jitter: float = setting(
        0.0, "largest relative change of brightness, contrast and saturation; 0: none", TRAINING, ge=0, lt=1
    )
    drop_path: float = setting(
        0.3,
        "drop path probability in the last epoch; it rises linearly from 0",
        TRAINING,
        source="released script",
        network=True,
        ge=0,
        lt=1,
    )
    auxiliary_weight: float = setting(
        0.4,
        "weight of the auxiliary head's loss; 0: no auxiliary head",
        TRAINING,
        source="released script",
        network=True,
        ge=0,
        memory=True,
    )
    dropout: float = setting(
        0.2, "dropout rate before the classifier", TRAINING, source="released script", network=True, ge=0, lt=1
    )
    ema: float = setting(0.0, "momentum of the weights' moving average; 0: off", TRAINING, ge=0, lt=1, memory=True)
    mixed_precision: _Precision = setting("", _PRECISION, TRAINING, memory=True)
    xla: bool = setting(False, "whether XLA compiles the steps; only on a GPU", TRAINING, memory=True)
    checkpoint_seconds: float = setting(
        60.0, "longest time between checkpoints in seconds; the time is shorter if saving is quick", NOTHING, ge=0
    )
    teacher: bool = setting(
        False,
        "whether the network also learns from the pretrained network of config.baselines.pretrained "
        "(docs/baselines.md)",
        TRAINING,
    )
    teacher_temperature: float = setting(
        4.0,
        "temperature of the soft labels: with a higher one, the probabilities of the classes differ less",
        TRAINING,
        source="arXiv 1503.02531",
        gt=0,
    )
    teacher_weight: float = setting(
        0.7, "share of the soft labels' loss; the labels of the images have the rest", TRAINING, gt=0, le=1
    )
    from_supernet: bool = setting(
        False,
        "whether the network starts with the weights of the search's supernet where they fit, instead of fresh ones "
        "(docs/search.md)",
        TRAINING,
    )
    hold_out_val: bool = setting(
        False,
        "whether the network is trained on train alone, so that its accuracy on val is measured: a choice between "
        "several trainings needs it (docs/sweep.md)",
        TRAINING,
    )

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits on which the network is trained."""
        return ("train",) if self.hold_out_val else ("train", "val")

    def unused(self) -> dict[str, str]:
        """Returns the settings of this section that have no effect with its other values: name -> reason."""
        return {} if self.teacher else dict.fromkeys(_OF_A_TEACHER, "there is no teacher (config.train.teacher)")


class Evaluate(Section):
    """The conditions under which a model is blessed."""

    accuracy_threshold: float | None = setting(
        None,
        "smallest test accuracy of a blessed model; None: clearly more than always guessing the largest class reaches",
        AFTERWARDS,
        expected="None, or a number from 0 to 1",
        ge=0,
        le=1,
    )
    max_accuracy_drop: float = setting(
        0.0,
        "largest allowed drop of the accuracy, compared with the latest blessed model",
        AFTERWARDS,
        ge=0,
        le=1,
    )


_TRAINED_BASELINES = ("cnn", "preset")


class Baselines(Section):
    """Simple networks on the same images, with which the final network is compared (docs/baselines.md)."""

    names: Annotated[
        tuple[Literal["majority", "cnn", "preset"], ...],
        Field(strict=False),
        _require(lambda names: len(set(names)) == len(names)),
    ] = setting(
        (),
        "majority: always guesses the largest class; cnn: a plain CNN; preset: a published cell with as many "
        "multiply-adds as the final network; (): none of them",
        AFTERWARDS,
        expected="('majority', 'cnn', 'preset') or some of them, or ()",
    )
    time_share: float = setting(
        0.1,
        "each trained baseline gets as many epochs as fit into this share of the seconds of search and final training",
        AFTERWARDS,
        gt=0,
        le=1,
    )
    epochs: int = setting(0, "epochs of each trained baseline; 0: as many as time_share allows", AFTERWARDS, ge=0)
    pretrained: str = setting(
        "",
        "one more baseline, a linear classifier on the features of a pretrained network: a .keras file, the folder of "
        'a SavedModel, or the name of a network in keras.applications; "": none',
        AFTERWARDS,
    )
    weights: str = setting(
        "", "file with the weights of the network in keras.applications, without its classifier", AFTERWARDS
    )

    def compared(self, teacher: bool) -> tuple[str, ...]:
        """Returns the names of all baselines.

        Args:
            teacher: Whether there is a teacher. Then the plain CNN is trained a second time, with this teacher.
        """
        taught = ("cnn_distilled",) if teacher and "cnn" in self.names else ()
        return (*self.names, *taught, *(("pretrained",) if self.pretrained else ()))

    def unused(self) -> dict[str, str]:
        """Returns the settings of this section that have no effect with its other values: name -> reason."""
        found: dict[str, str] = {}
        if not set(self.names) & set(_TRAINED_BASELINES):
            found = dict.fromkeys(("time_share", "epochs"), "no baseline of config.baselines.names is trained")
        elif self.epochs:
            found["time_share"] = "config.baselines.epochs says how long the baselines are trained"
        if not self.pretrained:
            found["weights"] = "config.baselines.pretrained names no network"
        return found


class Serving(Section):
    """The exported model."""

    top_k: int = setting(5, "number of classes in a served answer", AFTERWARDS, ge=1)


class Export(Section):
    """The trained model in other formats, for phones and other runtimes (docs/exports.md)."""

    formats: Annotated[
        tuple[Literal["litert", "litert_int8", "onnx"], ...],
        Field(strict=False),
        _require(lambda formats: len(set(formats)) == len(formats)),
    ] = setting(
        (),
        "litert: LiteRT (TensorFlow Lite) in float32; litert_int8: LiteRT in 8-bit integers; onnx: ONNX; (): only the "
        "SavedModel",
        AFTERWARDS,
        expected="('litert', 'litert_int8', 'onnx') or some of them, or ()",
    )
    calibration_images: int = setting(
        200, "number of validation images from which litert_int8 takes the ranges of its integers", AFTERWARDS, ge=1
    )
    threads: int = setting(1, "threads of a converted model when its latency is measured", AFTERWARDS, ge=1)

    def unused(self) -> dict[str, str]:
        """Returns the settings of this section that have no effect with its other values: name -> reason."""
        found: dict[str, str] = {}
        if "litert_int8" not in self.formats:
            found["calibration_images"] = "config.export.formats has no litert_int8"
        if not self.formats:
            found["threads"] = "config.export.formats is empty"
        return found


class Deploy(Section):
    """Steps around the push. Validation by a real TF Serving is off by default: it needs Docker or Kubernetes."""

    infra_validation: Literal["", "docker", "kubernetes"] = setting(
        "", 'place where a real TF Serving loads the model before the push; "": nowhere', AFTERWARDS
    )
    tensorflow_serving_tag: str = setting("2.16.1", "tag of the image tensorflow/serving", AFTERWARDS)
    bulk_inference: Literal["", "train", "val", "test"] = setting(
        "", 'split whose images the blessed model classifies; "": none', AFTERWARDS
    )


class Pod(Section):
    """The resources that a pod requests from Kubernetes."""

    cpu: float = setting(2.0, "processor cores", NOTHING, gt=0)
    memory_gb: float = setting(8.0, "memory in GB", NOTHING, gt=0)
    gpus: int = setting(0, "number of GPUs", NOTHING, ge=0)


class Kubeflow(Section):
    """The resources that the pods request from Kubernetes (pipeline/kubeflow_runner.py)."""

    gpu_resource: str = setting(
        "nvidia.com/gpu", "name of the GPU resource in the cluster, as its device plugin defines it", NOTHING
    )
    gpu_node_label: Annotated[str, _require(lambda label: not label or label.count("=") == 1)] = setting(
        "",
        'label "KEY=VALUE" of the nodes with the wanted kind of GPU; "": any GPU node',
        NOTHING,
        expected="'' or 'KEY=VALUE'",
    )
    retries: int = setting(
        3,
        "number of restarts of a failed teacher, search, training or comparison with baselines; a restart resumes from "
        "the last checkpoint",
        NOTHING,
        ge=0,
    )
    search: Pod = setting(Pod(cpu=4.0, memory_gb=16.0, gpus=1), "this pod runs the search", NOTHING)
    train: Pod = setting(
        Pod(cpu=4.0, memory_gb=16.0, gpus=1),
        "these pods run the final training, the teacher, the planners and the baselines",
        NOTHING,
    )
    other: Pod = setting(Pod(), "these pods run all other components", NOTHING)


class Budget(Section):
    """If a time is set, a planner chooses the settings that decide how long the whole run takes (docs/budget.md)."""

    minutes: float = setting(
        0.0,
        "minutes from the start of the run to the report; 0: no budget, all settings as given",
        PLAN,
        runtime="budget_minutes",
        ge=0,
    )
    keep: _Names = setting(
        (),
        "settings that the planner leaves as they are, such as train.epochs; those of the command line are added",
        PLAN,
    )


class Settings(Section):
    """All settings of a pipeline."""

    name: Annotated[
        str, _require(lambda name: bool(name) and name == os.path.basename(name) and name not in (".", ".."))
    ] = setting(
        "mdenas",
        "name of the pipeline, under which ML Metadata records its runs",
        AFTERWARDS,
        expected="a name without slashes: it becomes part of paths",
    )
    seed: int = setting(
        0,
        "seed of all randomness of search and training: weights, data order, augmentation, sampling",
        SEARCH,
        TRAINING,
        runtime="seed",
        ge=0,
        le=2**31 - 1,
    )
    deterministic: bool = setting(
        True,
        "whether TensorFlow's op determinism is on; with it, equal settings give bit-identical results",
        SEARCH,
        TRAINING,
        memory=True,
    )
    architecture: str = setting(
        "",
        'preset (models/architectures/presets.py) or JSON file of the genotype to train without a search; "": search',
        AFTERWARDS,
        memory=True,
    )
    tuned_kernels: bool = setting(
        True,
        "whether the tuned layers are used instead of plain Keras operations (models/networks/kernels.py)",
        SEARCH,
        TRAINING,
        memory=True,
    )
    budget: Budget = setting(Budget(), "the time", PLAN)
    data: Data = setting(Data(), "the images", EXAMPLES)
    space: Annotated[
        Annotated[Space, Tag("cell")]
        | Annotated[MobileSpace, Tag("mobile")]
        | Annotated[Space, Tag("nasbench201")]
        | Annotated[CustomSpace, Tag("custom")],
        Discriminator(lambda value: _space_tag(value)),
    ] = setting(
        Space(),
        "the search space",
        SEARCH,
        variants={"cell": Space, "mobile": MobileSpace, "nasbench201": Space, "custom": CustomSpace},
    )
    search: Search = setting(Search(), "the search", SEARCH)
    oracle: Oracle = setting(Oracle(), "the oracle", SEARCH)
    derive: Derive = setting(Derive(), "the derivation", AFTERWARDS)
    train: Train = setting(Train(), "the final training", TRAINING)
    evaluate: Evaluate = setting(Evaluate(), "the evaluation", AFTERWARDS)
    baselines: Baselines = setting(Baselines(), "the baselines", AFTERWARDS)
    export: Export = setting(Export(), "the model in other formats", AFTERWARDS)
    serving: Serving = setting(Serving(), "the exported model", AFTERWARDS)
    deploy: Deploy = setting(Deploy(), "steps around the push", AFTERWARDS)
    kubeflow: Kubeflow = setting(Kubeflow(), "the pods", NOTHING)

    def key(self, of: str) -> dict[str, Any]:
        """Returns the settings on which the result of a search or of a training depends, by dotted name.

        Args:
            of: SEARCH or TRAINING.
        """
        # The result of the search depends on the final network's size only with the objective "spectrum", which scores
        # networks of this size.
        sized = of == TRAINING or self.search.objective == "spectrum"
        return {
            key: value
            for key, value, note in leaves(self)
            if of in note.changes
            and self.chosen(key)
            and note.objective in ("", self.search.objective)
            and (sized or not key.startswith("train."))
        }

    def chosen(self, key: str) -> bool:
        """Returns False for the options of update rules that are not used, and True for all other settings.

        `oracle.rule` names the used rule.
        """
        section, *parts = key.split(".")
        if section != "oracle" or parts[0] not in (*RULES, "custom"):
            return True
        return parts[0] == self.oracle.rule or (parts[0] == "custom" and self.oracle.rule not in RULES)


def runtime_parameters() -> dict[str, str]:
    """Returns the runtime parameters of a compiled pipeline: name -> dotted name of the setting."""
    return {note.runtime: key for key, _, note in leaves(Settings()) if note.runtime}


def _space_tag(value: Any) -> str:
    name = cast(Mapping[str, Any], value).get("name", "cell") if isinstance(value, Mapping) else value.name
    return name if name in ("cell", "mobile", "nasbench201") else "custom"


def document() -> str:
    """Returns docs/settings.md."""
    intro = """# Settings

Generated from models/settings.py: `make settings` writes it anew. `--config.KEY=VALUE` overrides a default or a config
file. The column *changes* names the results that change with a setting: the examples; the search or the training, which
then start from the beginning instead of resuming; the steps afterwards; the plan of a budget, which chooses other
settings; or nothing, if only time and memory change. The options of a custom rule are `config.oracle.custom.OPTION`,
those of a custom space `config.space.OPTION`.

The column *source* names the origin of a default. "paper" is arXiv 1905.07529, "later code" is the code that its
authors published afterwards, and "released script" is the run script of the published network.

A setting with a *parameter* can be set anew at each start of a compiled Kubeflow pipeline. One more parameter,
`training`, sets all settings of `config.train` and `config.serving` (docs/deploy.md).
"""
    return intro + "\n".join(markdown(Settings())) + "\n"


if __name__ == "__main__":
    print(document(), end="")
