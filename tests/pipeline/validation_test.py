"""pipeline/validation.py: what a config cannot be, and what is said of it."""

import re

import pytest
import tensorflow as tf

from pipeline import validation
from pipeline.configs import (
    base,
    cifar10,
    cifar10_paper,
    digits,
    digits_mobile,
    image_folder,
    imagenet_mobile,
    imagenet_transfer,
    small_folder,
)

CONFIGS = (base, digits, digits_mobile, cifar10, cifar10_paper, imagenet_transfer, imagenet_mobile)


@pytest.mark.parametrize("module", CONFIGS, ids=lambda module: module.__name__)
def test_the_configs_that_come_with_the_project_are_valid(module):
    validation.validate(module.get_config())


@pytest.mark.parametrize("module", [image_folder, small_folder], ids=lambda module: module.__name__)
def test_the_configs_for_a_folder_ask_for_one_and_for_nothing_else(tmp_path, module):
    config = module.get_config()
    with pytest.raises(validation.ConfigError, match=r"give config\.data\.image_folder=DIR or config\.data\.name"):
        validation.validate(config)
    config.data.image_folder = str(tmp_path)
    validation.validate(config)


def test_a_folder_in_a_bucket_is_looked_up_there():
    config = image_folder.get_config()
    config.data.image_folder = "ram://validation_test"
    with pytest.raises(validation.ConfigError, match="ram://validation_test is not a folder"):
        validation.validate(config)
    tf.io.gfile.makedirs("ram://validation_test/train")
    validation.validate(config)


BAD = [
    ("name", "a/b", "config.name is 'a/b'; allowed is a name without slashes"),
    ("name", "..", "config.name is '..'; allowed is a name without slashes"),
    ("seed", -1, "config.seed is -1; allowed is from 0 to"),
    ("data.val_fraction", 0.0, "config.data.val_fraction is 0.0; allowed is from 0 (excluded) to 1 (excluded)."),
    ("data.val_fraction", 1.0, "config.data.val_fraction is 1.0"),
    ("data.val_fraction", float("nan"), "config.data.val_fraction is nan"),
    ("data.image_size", 2, "config.data.image_size is 2; allowed is 0 (as the images are) or 4 or more pixels."),
    (
        "data.image_size",
        28,
        "config.data.image_size is 28, but the auxiliary head of the cifar network (config.train.network; "
        "config.train.auxiliary_weight=0.0 removes the head) needs 29 pixels or more.",
    ),
    ("search.epochs", None, "config.search.epochs is None; allowed is 1 or more."),
    ("oracle.paper.alpha", None, "config.oracle.paper: alpha of the rule 'paper': found None"),
    ("data.image_folder", "/no/such/folder", "config.data.image_folder=/no/such/folder is not a folder."),
    ("data.max_corrupt_share", 1.0, "config.data.max_corrupt_share is 1.0"),
    ("search.epochs", 0, "config.search.epochs is 0; allowed is 1 or more."),
    ("search.cells", 2, "config.search.cells is 2; the cell space needs 3 or more"),
    ("search.batch_size", 1, "config.search.batch_size is 1; allowed is 2 or more."),
    ("search.learning_rate", 0.0, "config.search.learning_rate is 0.0; allowed is more than 0."),
    ("search.learning_rate", float("inf"), "config.search.learning_rate is inf"),
    ("search.min_learning_rate", 1.0, "config.search.min_learning_rate is 1.0, more than config.search.learning_rate"),
    ("search.momentum", 1.0, "config.search.momentum is 1.0; allowed is from 0 to 1 (excluded)."),
    ("search.mixed_precision", "float8", "config.search.mixed_precision is 'float8'; allowed is one of '', 'bfloat16'"),
    ("oracle.rule", "papr", "config.oracle.rule is 'papr'; allowed is one of 'paper'"),
    ("oracle.warmup_rounds", -1, "config.oracle.warmup_rounds is -1"),
    ("oracle.warmup_rounds", 13, "config.search.epochs is 100, but the first 104 sample all operations equally often"),
    ("oracle.paper.alpha", -1.0, "config.oracle.paper: "),
    ("oracle.paper.projection", "l1", "config.oracle.paper: "),
    ("derive.source", "worst", "config.derive.source is 'worst'; allowed is one of 'argmax', 'best', 'verify'."),
    ("train.network", "resnet", "config.train.network is 'resnet'; allowed is one of 'cifar', 'imagenet', 'mobile'."),
    ("train.network", "mobile", "set --config.train.network=cifar"),
    ("train.schedule", "step", "config.train.schedule is 'step'; allowed is one of 'cosine', 'exponential'."),
    ("train.warmup_epochs", 600, "config.train.warmup_epochs is 600, so the warm-up would not end"),
    ("train.drop_path", 1.0, "config.train.drop_path is 1.0"),
    ("evaluate.accuracy_threshold", 97.0, "config.evaluate.accuracy_threshold is 97.0; allowed is None"),
    ("serving.top_k", 0, "config.serving.top_k is 0"),
    ("space.name", "cells", "config.space: "),
    ("space.operations", ("sep_conv_9x9",), "config.space: "),
    ("architecture", "mdenas_cifar11", "config.architecture: "),
    ("architecture", "mdenas_gpu", "genotype of the 'mobile' space"),
]


@pytest.mark.parametrize("key,value,message", BAD, ids=[f"{key}={value}" for key, value, _ in BAD])
def test_a_setting_that_cannot_be_is_named_with_what_is_allowed(key, value, message):
    config = base.get_config()
    *sections, name = key.split(".")
    section = config
    for part in sections:
        section = section[part]
    with section.ignore_type():
        section[name] = value
    with pytest.raises(validation.ConfigError, match=re.escape(message)):
        validation.validate(config)


def test_every_problem_is_named_at_once():
    config = base.get_config()
    config.search.epochs = 0
    config.train.epochs = 0
    with pytest.raises(validation.ConfigError) as error:
        validation.validate(config)
    assert len(str(error.value).splitlines()) == 2
