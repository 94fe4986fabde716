"""Checks a config before anything starts: every setting by itself, then the combinations that cannot be.

Unknown keys cannot get here, since the config is locked. Imports neither TensorFlow nor TFX.
"""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

from models.architectures import limits, presets
from models.data import image_format
from models.oracle.rules.registry import RULES, create_rule
from models.search_spaces.registry import create_space

Check = tuple[Callable[[Any], bool], str]


class ConfigError(ValueError):
    """Settings that cannot be; the message has a line for each, with its key, its value and what is allowed."""


def _number(low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False) -> Check:
    def holds(value):
        return (value > low if open_low else value >= low) and (value < high if open_high else value <= high)

    if high == math.inf:
        return holds, f"more than {low:g}" if open_low else f"{low:g} or more"
    return holds, f"from {low:g}{' (excluded)' if open_low else ''} to {high:g}{' (excluded)' if open_high else ''}"


def _one_of(*values: str) -> Check:
    return lambda value: value in values, "one of " + ", ".join(repr(value) for value in values)


_COUNT, _SHARE, _POSITIVE, _NOT_NEGATIVE = _number(1), _number(0, 1), _number(0, open_low=True), _number(0)
_FRACTION = _number(0, 1, open_low=True, open_high=True)
_BELOW_ONE = _number(0, 1, open_high=True)
_PRECISION = _one_of("", "bfloat16", "float16")

_CHECKS: Mapping[str, Check] = {
    "name": (
        lambda value: bool(value) and value == os.path.basename(value) and value not in (".", ".."),
        "a name without slashes: it becomes part of paths",
    ),
    "seed": _number(0, 2**31 - 1),
    "data.test_fraction": _FRACTION,
    "data.val_fraction": _FRACTION,
    "data.image_size": (lambda value: value == 0 or value >= 4, "0 (as the images are) or 4 or more pixels"),
    "data.resize": _one_of(*image_format.RESIZE),
    "data.background": (image_format.is_colour, "a colour's name or #rrggbb"),
    "data.store": _one_of("resized", "original"),
    "data.channels": (lambda value: value in (0, 1, 3), "0 (as the images are), 1 or 3"),
    "data.cache_mb": _NOT_NEGATIVE,
    "data.max_corrupt_share": _BELOW_ONE,
    "search.epochs": _COUNT,
    "search.batch_size": _number(2),  # batch norm needs a batch
    "search.cells": _COUNT,
    "search.channels": _COUNT,
    "search.learning_rate": _POSITIVE,
    "search.min_learning_rate": _NOT_NEGATIVE,
    "search.momentum": _BELOW_ONE,
    "search.weight_decay": _NOT_NEGATIVE,
    "search.gradient_clip": _NOT_NEGATIVE,
    "search.pad": _NOT_NEGATIVE,
    "search.cutout": _NOT_NEGATIVE,
    "search.norm_images": _number(2),  # batch norm needs a batch
    "search.mixed_precision": _PRECISION,
    "search.traced_architectures": _COUNT,
    "search.checkpoint_every": _COUNT,
    "search.max_invalid": _COUNT,
    "oracle.rule": _one_of(*RULES),
    "oracle.warmup_rounds": (lambda value: value is None or value >= 0, "None or 0 or more"),
    "derive.source": _one_of("argmax", "best", "verify"),
    "derive.samples": _NOT_NEGATIVE,
    "train.network": _one_of("cifar", "imagenet", "mobile"),
    "train.epochs": _COUNT,
    "train.batch_size": _number(2),
    "train.cells": _COUNT,
    "train.channels": _COUNT,
    "train.momentum": _BELOW_ONE,
    "train.learning_rate": _POSITIVE,
    "train.schedule": _one_of("cosine", "exponential"),
    "train.decay_rate": _number(0, 1, open_low=True),
    "train.warmup_epochs": _NOT_NEGATIVE,
    "train.weight_decay": _NOT_NEGATIVE,
    "train.gradient_clip": _NOT_NEGATIVE,
    "train.label_smoothing": _BELOW_ONE,
    "train.pad": _NOT_NEGATIVE,
    "train.cutout": _NOT_NEGATIVE,
    "train.drop_path": _BELOW_ONE,
    "train.auxiliary_weight": _NOT_NEGATIVE,
    "train.dropout": _BELOW_ONE,
    "train.ema": _BELOW_ONE,
    "train.mixed_precision": _PRECISION,
    "train.checkpoint_seconds": _NOT_NEGATIVE,
    "evaluate.accuracy_threshold": (
        lambda value: value is None or 0 <= value <= 1,
        "None (clearly more than the largest class's share) or from 0 to 1",
    ),
    "evaluate.max_accuracy_drop": _SHARE,
    "serving.top_k": _COUNT,
    "deploy.infra_validation": _one_of("", "docker", "kubernetes"),
    "deploy.bulk_inference": _one_of("", "train", "val", "test"),
    "kubeflow.gpu_node_label": (lambda value: not value or value.count("=") == 1, "'' or 'KEY=VALUE'"),
    "kubeflow.retries": _NOT_NEGATIVE,
    **{
        f"kubeflow.{node}.{name}": check
        for node in ("search", "train", "other")
        for name, check in (("cpu", _POSITIVE), ("memory_gb", _POSITIVE), ("gpus", _NOT_NEGATIVE))
    },
}


def validate(config: ml_collections.ConfigDict) -> None:
    """Checks every setting.

    Args:
        config: As pipeline/configs/base.py lays it out.

    Raises:
        ConfigError: Something cannot be; every problem is named, not the first alone.
    """
    problems = []
    for key, (holds, allowed) in _CHECKS.items():
        value = _get(config, key)
        try:
            possible = holds(value) and not (isinstance(value, float) and not math.isfinite(value))
        except TypeError:  # None where a number belongs, say
            possible = False
        if not possible:
            problems.append(f"config.{key} is {value!r}; allowed is {allowed}.")
    if not problems:  # combinations make sense only where the parts do
        problems = [problem for check in _COMBINATIONS for problem in check(config)]
    if problems:
        raise ConfigError("\n".join(problems))


def _get(config: ml_collections.ConfigDict, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def _data(config):
    if not config.data.image_folder and not config.data.name:
        yield "No data: give config.data.image_folder=DIR or config.data.name, a TFDS data set."
    if config.data.image_folder and not _is_folder(os.path.expanduser(config.data.image_folder)):
        yield f"config.data.image_folder={config.data.image_folder} is not a folder."


def _is_folder(path: str) -> bool:
    if "://" not in path:
        return os.path.isdir(path)
    import tensorflow as tf  # slow, and knows buckets

    return tf.io.gfile.isdir(path)


def _learning_rates(config):
    if config.search.min_learning_rate > config.search.learning_rate:
        yield (
            f"config.search.min_learning_rate is {config.search.min_learning_rate}, more than "
            f"config.search.learning_rate, {config.search.learning_rate}."
        )
    if config.train.warmup_epochs >= config.train.epochs:
        yield (
            f"config.train.warmup_epochs is {config.train.warmup_epochs}, so the warm-up would not end within "
            f"config.train.epochs, {config.train.epochs}."
        )


def _rule(config):
    try:
        create_rule(config.oracle.rule, config.oracle[config.oracle.rule].to_dict())
    except (ValueError, TypeError) as error:
        yield f"config.oracle.{config.oracle.rule}: {error}"


def _warmup(config):
    """A search that ends within the warm-up samples all operations alike, and has a uniform distribution to show."""
    try:
        rule = create_rule(config.oracle.rule, config.oracle[config.oracle.rule].to_dict())
        choices = create_space(config.space.to_dict()).choices
    except (ValueError, TypeError, ImportError, AttributeError):
        return  # the other checks say what is wrong
    rounds = rule.warmup_rounds if config.oracle.warmup_rounds is None else config.oracle.warmup_rounds
    epochs = rounds * max(len(choice.operations) for choice in choices)
    if not config.architecture and config.search.epochs < epochs:
        yield (
            f"config.search.epochs is {config.search.epochs}, but the first {epochs} sample all operations equally "
            f"often (config.oracle.warmup_rounds is {rounds}), so nothing would be learned: give more than {epochs}."
        )


def _space(config):
    try:
        create_space(config.space.to_dict())
    except (ValueError, ImportError) as error:
        yield f"config.space: {error}"
    if (config.space.name == "mobile") != (config.train.network == "mobile") and config.space.name in (
        "cell",
        "mobile",
    ):
        allowed = "mobile" if config.space.name == "mobile" else "cifar or imagenet"
        yield (
            f"config.train.network is {config.train.network!r}, but the {config.space.name} space builds {allowed}: "
            f"set --config.train.network={allowed.split()[0]}."
        )


def _cells(config):
    if config.space.name != "cell":
        return
    for section in ("train",) if config.architecture else ("search", "train"):
        if config[section].cells < 3:
            yield (
                f"config.{section}.cells is {config[section].cells}; the cell space needs 3 or more: a normal cell and "
                "the two reductions."
            )


def smallest_side(config: ml_collections.ConfigDict) -> tuple[int, str]:
    """What the networks of a config need of the images.

    Args:
        config: Valid but for the size of its images.

    Returns:
        The smallest side in pixels, and what it is that needs it.
    """
    if config.train.network == "mobile":
        if config.architecture:
            backbone = presets.resolve_architecture(config.architecture)[0].backbone
        else:
            backbone = create_space(config.space.to_dict()).backbone
        return 2**backbone.halvings, "the backbone of the mobile network (config.space.backbone)"
    auxiliary = config.train.auxiliary_weight > 0
    what = f"the {config.train.network} network (config.train.network"
    if auxiliary:
        what = f"the auxiliary head of {what}; config.train.auxiliary_weight=0.0 removes the head"
    return limits.smallest(config.train.network, auxiliary), what + ")"


def _image_size(config):
    try:
        side, what = smallest_side(config)
    except (ValueError, ImportError, AttributeError):
        return  # the other checks say what is wrong
    for key in ("pad", "cutout"):
        for section in ("search", "train"):
            if 0 < config.data.image_size <= config[section][key]:
                yield (
                    f"config.{section}.{key} is {config[section][key]}, not less than config.data.image_size, "
                    f"{config.data.image_size}: nothing of an image would be left."
                )
    if 0 < config.data.image_size < side:
        yield f"config.data.image_size is {config.data.image_size}, but {what} needs {side} pixels or more."


def _architecture(config):
    if not config.architecture:
        return
    try:
        genotype, _ = presets.resolve_architecture(config.architecture)
    except ValueError as error:
        yield f"config.architecture: {error}"
        return
    space = genotype.to_dict()["space"]
    if space != config.space.name:
        yield (
            f"config.architecture={config.architecture} is a genotype of the {space!r} space, but config.space.name is "
            f"{config.space.name!r}: set --config.space.name={space}."
        )


_COMBINATIONS = (_data, _learning_rates, _rule, _warmup, _space, _cells, _image_size, _architecture)
