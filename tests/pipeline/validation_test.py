"""pipeline/validation.py: what a config cannot be, and what is said of it."""

import re

import pytest
import tensorflow as tf

from models.architectures.cell import CELL_OPERATIONS
from models.settings import Settings
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
from tests.support.latency_tables import measured
from tests.support.spaces import make_space

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


WARMUP = 13 * len(CELL_OPERATIONS)  # epochs
BAD = [
    ("budget.minutes", -1.0, "config.budget.minutes: found -1.0; expected 0 or more."),
    ("budget.keep", ("train.epochs",), "config.budget.keep: found ('train.epochs',); expected (), the default"),
    ("name", "a/b", "config.name: found 'a/b'; expected a name without slashes"),
    ("name", "..", "config.name: found '..'; expected a name without slashes"),
    ("seed", -1, "config.seed: found -1; expected a number from 0 to"),
    (
        "data.val_fraction",
        0.0,
        "config.data.val_fraction: found 0.0; expected a number from 0 (excluded) to 1 (excl",
    ),
    ("data.val_fraction", 1.0, "config.data.val_fraction: found 1.0"),
    ("data.val_fraction", float("nan"), "config.data.val_fraction: found nan"),
    ("data.image_size", 2, "config.data.image_size: found 2; expected 0 (as the images are), or 4 pixels or more."),
    (
        "data.image_size",
        28,
        "config.data.image_size: found 28; expected 29 or more: the auxiliary head of the cifar network "
        "(config.train.network; config.train.auxiliary_weight=0.0 removes the head) needs this size.",
    ),
    ("search.epochs", None, "config.search.epochs: found None; expected a whole number, 1 or more."),
    ("oracle.paper.alpha", None, "config.oracle.paper.alpha: found None"),
    ("data.image_folder", "/no/such/folder", "config.data.image_folder=/no/such/folder is not a folder."),
    ("data.max_corrupt_share", 1.0, "config.data.max_corrupt_share: found 1.0"),
    ("search.epochs", 0, "config.search.epochs: found 0; expected a whole number, 1 or more."),
    ("search.cells", 2, "config.search.cells: found 2; expected 3 or more with the cell space"),
    ("search.batch_size", 1, "config.search.batch_size: found 1; expected a whole number, 2 or more."),
    ("search.learning_rate", 0.0, "config.search.learning_rate: found 0.0; expected more than 0."),
    ("search.learning_rate", float("inf"), "config.search.learning_rate: found inf"),
    (
        "search.min_learning_rate",
        1.0,
        "found 1.0; expected config.search.learning_rate, 0.025, or less.",
    ),
    ("search.momentum", 1.0, "config.search.momentum: found 1.0; expected a number from 0 to 1 (excluded)."),
    (
        "search.mixed_precision",
        "float8",
        "config.search.mixed_precision: found 'float8'; expected one of '', 'bf",
    ),
    ("oracle.rule", "papr", "config.oracle.rule: "),
    ("oracle.warmup_rounds", -1, "config.oracle.warmup_rounds: found -1"),
    (
        "oracle.warmup_rounds",
        13,
        f"config.search.epochs: found 100; expected {WARMUP} or more: the first {WARMUP} epochs are the warm-up",
    ),
    ("oracle.paper.alpha", -1.0, "config.oracle.paper: "),
    ("oracle.paper.projection", "l1", "config.oracle.paper: "),
    ("derive.source", "worst", "config.derive.source: found 'worst'; expected one of 'argmax', 'best'."),
    ("derive.front", 1, "config.derive.front: found 1; expected 0 (none) or 2 or more."),
    ("derive.budget.macs", -3, "config.derive.budget.macs: found -3; expected None (no limit) or more than 0."),
    ("derive.budget.file_mb", 0.0, "config.derive.budget.file_mb: found 0.0; expected None (no limit) or more than 0."),
    ("derive.budget.parms", 9, "config.derive.budget.parms: there is no such setting; expected latency_ms, params, "),
    ("derive.budget.latency_ms", 3.0, "config.derive.budget.latency_ms: found 3; expected None, because the run has n"),
    (
        "derive.latency_table",
        "t.json",
        "config.derive.latency_table: found 't.json'; expected '', the default: there is",
    ),
    ("train.network", "resnet", "config.train.network: found 'resnet'; expected one of 'cifar', 'imagenet', 'mobile',"),
    ("train.network", "mobile", "Set --config.train.network=cifar"),
    ("train.schedule", "step", "config.train.schedule: found 'step'; expected one of 'cosine', 'exponential'."),
    (
        "train.warmup_epochs",
        600,
        "config.train.warmup_epochs: found 600; expected less than config.train.epochs, 600: ",
    ),
    (
        "train.epoch_images",
        50,
        "config.train.epoch_images: found 50; expected 0 (all images), or config.train.batch_si",
    ),
    ("train.drop_path", 1.0, "config.train.drop_path: found 1.0"),
    ("evaluate.accuracy_threshold", 97.0, "config.evaluate.accuracy_threshold: found 97.0; expected None"),
    ("baselines.names", ("cnn", "resnet"), "config.baselines.names: found 'resnet'; expected ('majority', 'cnn', 'pr"),
    ("baselines.names", ("cnn", "cnn"), "config.baselines.names: found ('cnn', 'cnn'); expected ('majority', 'cnn',"),
    ("baselines.time_share", 0.0, "config.baselines.time_share: found 0.0; expected a number from 0 (excluded) to 1."),
    ("baselines.epochs", 3, "config.baselines.epochs: found 3; expected 0, the default: no baseline of config.base"),
    ("baselines.weights", "w.h5", "config.baselines.weights: found 'w.h5'; expected '', the default: config.baselines"),
    ("baselines.pretrained", "no.keras", "config.baselines.pretrained: found 'no.keras'; expected a .keras file that"),
    (
        "train.teacher",
        True,
        "config.train.teacher: found True; expected False, the default: config.baselines.pretrained n",
    ),
    (
        "train.teacher_weight",
        0.5,
        "config.train.teacher_weight: found 0.5; expected 0.7, the default: there is no teacher (config.train.tea",
    ),
    ("train.teacher_temperature", 0.0, "config.train.teacher_temperature: found 0.0; expected more than 0."),
    ("serving.top_k", 0, "config.serving.top_k: found 0"),
    ("space.name", "cells", "config.space.name: found 'cells'; expected 'cell', 'mobile', 'nasbench201' or"),
    ("space.name", "json.decoder", "config.space.name: found 'json.decoder'; expected 'cell', 'mobile',"),
    ("space.operations", ("sep_conv_9x9",), "config.space.operations: unknown operation 'sep_conv_9x9'"),
    ("architecture", "mdenas_cifar11", "config.architecture: "),
    ("architecture", "mdenas_gpu", "a genotype of the 'mobile' space; expected one of the 'cell' space"),
    ("oracle.elite.eta", 0.1, "config.oracle.elite.eta: found 0.1; expected 0.05, the default: the rule 'paper'"),
    ("oracle.custom", {"depth": 2}, "config.oracle.custom: found {'depth': 2}; expected {}, the default"),
    ("space.backbone", "mdenas_cpu", "config.space.backbone: there is no such setting; expected name, operations."),
    ("data.chanels", 3, "config.data.chanels: there is no such setting; expected name, version"),
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


@pytest.mark.parametrize("key", ["train.cells", "train.auxiliary_weight", "train.drop_path"])
def test_a_setting_that_the_space_has_no_use_for_is_not_dropped_silently(key):
    config = digits_mobile.get_config()
    validation.validate(config)
    section, name = key.split(".")
    config[section][name] = type(config[section][name])(0.5 if name != "cells" else 5)
    with pytest.raises(validation.ConfigError, match=rf"config\.{key}: found .*the mobile space .*has no use for it"):
        validation.validate(config)


def spectrum():
    config = base.get_config()
    config.search.objective = "spectrum"
    return config


@pytest.mark.parametrize(
    ("key", "value", "objective"),
    [
        ("cells", 8, "spectrum"),
        ("batch_size", 64, "spectrum"),
        ("learning_rate", 0.1, "spectrum"),
        ("traced_architectures", 2, "spectrum"),
        ("score_images", 16, "val_accuracy"),
    ],
)
def test_a_setting_that_the_objective_has_no_use_for_is_not_dropped_silently(key, value, objective):
    config = spectrum()
    config.search.objective = objective
    validation.validate(config)
    config.search[key] = value
    message = rf"config\.search\.{key}: found {value}; expected .*, the default: the objective '{objective}' .* no use"
    with pytest.raises(validation.ConfigError, match=message) as error:
        validation.validate(config)
    assert len(str(error.value).splitlines()) == 1
    base.drop_unused(config)
    assert config.search[key] == base.get_config().search[key]
    assert config.search.objective == objective
    validation.validate(config)


@pytest.mark.parametrize("key, value", [("warmup_epochs", 30), ("cutout", 16), ("cells", 2)])
def test_the_value_of_a_setting_that_a_plan_chooses_has_no_effect_unless_it_is_kept(tmp_path, key, value):
    config = small_folder.get_config()
    config.data.image_folder = str(tmp_path)
    config.data.image_size = 16
    config.train[key] = value
    with pytest.raises(validation.ConfigError, match=rf"config\.train\.{key}: found {value}"):
        validation.validate(config)
    config.budget.minutes = 10.0
    validation.validate(config)
    config.budget.keep = (f"train.{key}", "train.epochs")
    with pytest.raises(validation.ConfigError, match=rf"config\.train\.{key}: found {value}"):
        validation.validate(config)


def test_what_a_search_that_trains_needs_is_not_asked_of_one_that_does_not():
    config = spectrum()
    config.train.auxiliary_weight = 0.0
    config.train.pad = config.train.cutout = 1
    config.data.image_size = 4  # the default of config.search.pad
    validation.validate(config)
    config.search.objective = "val_accuracy"
    with pytest.raises(validation.ConfigError, match=r"config\.search\.pad: found 4; expected less than"):
        validation.validate(config)
    for key, value in (("cells", 2), ("min_learning_rate", 1.0), ("cutout", 999)):
        config = spectrum()
        config.data.image_size = 32
        config.search[key] = value
        with pytest.raises(validation.ConfigError) as error:
            validation.validate(config)
        (line,) = str(error.value).splitlines()
        assert line.startswith(f"config.search.{key}: found {value}; expected ") and "has no use for it" in line


def test_the_final_network_of_a_scored_search_still_needs_three_cells():
    config = spectrum()
    config.train.cells = 2
    with pytest.raises(validation.ConfigError, match=r"config\.train\.cells: found 2; expected 3 or more"):
        validation.validate(config)


def test_a_space_without_repair_cannot_be_searched_by_scores(tmp_path, monkeypatch):
    package = tmp_path / "unrepaired_spaces"
    package.mkdir()
    (package / "plain.py").write_text(
        """
from models.architectures.choices import Choice

class Space:
    name = "plain"
    choices = (Choice("switch", ("on", "off")),)

def create():
    return Space()
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = spectrum()
    config.space.name = "unrepaired_spaces.plain"
    message = (
        "config.search.objective: found 'spectrum'; expected 'val_accuracy' with the unrepaired_spaces.plain space: "
        "it has no method `repair`"
    )
    with pytest.raises(validation.ConfigError, match=re.escape(message)):
        validation.validate(config)
    config.search.objective = "val_accuracy"
    validation.validate(config)


def nasbench201():
    config = base.get_config()
    config.space.name = config.train.network = "nasbench201"
    return config


def test_a_search_in_nas_bench_201_needs_images_of_four_pixels_and_one_cell_a_stage():
    config = nasbench201()
    config.data.image_size = 4
    config.search.cells = config.train.cells = 1
    config.search.pad = config.train.pad = config.train.cutout = 1
    validation.validate(config)
    assert validation.smallest_side(validation.Settings.parse(config)) == (
        4,
        "the nasbench201 network (config.train.network)",
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.network", "cifar", "found 'cifar'; expected 'nasbench201' with the nasbench201 space"),
        ("space.name", "cell", "found 'nasbench201'; expected 'cifar' or 'imagenet' with the cell space"),
        ("space.name", "mobile", "found 'nasbench201'; expected 'mobile' with the mobile space"),
        ("space.operations", ("sep_conv_3x3",), "config.space.operations: unknown operation 'sep_conv_3x3'"),
        ("train.drop_path", 0.1, "config.train.drop_path: found 0.1; expected 0.3, the default: the nasbench201 space"),
        ("train.dropout", 0.1, "the nasbench201 space (config.space.name) has no use for it"),
        ("architecture", "darts_v2", "a genotype of the 'cell' space; expected one of the 'nasbench201' space"),
    ],
)
def test_what_cannot_be_with_nas_bench_201_is_named(key, value, message):
    config = nasbench201()
    section, _, name = key.rpartition(".")
    section = config[section] if section else config
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


def test_a_limit_on_skip_connections_is_refused_where_there_are_none():
    config = base.get_config()
    config.derive.max_skip_connections = 2
    validation.validate(config)
    config.space.operations = ("sep_conv_3x3", "none")
    with pytest.raises(validation.ConfigError, match=r"config\.derive\.max_skip_connections: found 2; expected None"):
        validation.validate(config)
    config.architecture = "mdenas_cifar10"  # nothing is derived
    config.space.operations = ()
    validation.validate(config)


def test_only_what_a_plan_chooses_can_be_kept():
    config = digits.get_config()
    config.budget.minutes, config.budget.keep = 5.0, ("train.epochs", "train.epoch")
    with pytest.raises(validation.ConfigError, match=r"config\.budget\.keep: found 'train\.epoch'; expected settings"):
        validation.validate(config)
    config.budget.keep = ("train.epochs",)
    validation.validate(config)


def test_a_budget_that_no_architecture_meets_is_refused_before_the_search():
    config = digits.get_config()
    config.derive.budget.params = 20_000
    with pytest.raises(validation.ConfigError, match=r"budget\.params: found 20,000; the cheapest .* has 21,530\."):
        validation.validate(config)
    config.derive.budget.params = 21_530
    validation.validate(config)
    # Not even a network for the smallest images and two classes is within this budget.
    config.data.name, config.derive.budget.params = "not_known_yet", 10_000
    with pytest.raises(validation.ConfigError, match=r"budget\.params: found 10,000; the cheapest architecture"):
        validation.validate(config)
    config.architecture = "mdenas_cifar10"  # nothing is derived
    validation.validate(config)


def test_a_budget_of_the_derivation_needs_a_network_of_a_given_size():
    config = digits.get_config()
    config.derive.front, config.budget.minutes = 3, 5.0
    with pytest.raises(validation.ConfigError, match=r"derive\.front: .*--config\.train\.cells=N --config\.train\.ch"):
        validation.validate(config)
    config.budget.keep = ("train.cells", "train.channels")
    validation.validate(config)


def test_a_latency_table_of_other_networks_is_refused_before_the_search(tmp_path):
    config = digits.get_config()
    settings = Settings.parse(config)
    space = make_space({"name": settings.space.name, "operations": list(settings.space.operations)})
    path = str(tmp_path / "table.json")
    table = measured(path, space, settings.train, (8, 8, 1), 10)
    config.derive.latency_table, config.derive.budget.latency_ms = path, table.cost().fixed / 2
    with pytest.raises(validation.ConfigError, match=r"budget\.latency_ms: found .* ms; the cheapest architecture"):
        validation.validate(config)
    config.derive.budget.latency_ms = 1e6
    validation.validate(config)
    config.train.channels += 4
    with pytest.raises(
        validation.ConfigError, match=r"derive\.latency_table: .*networks: config\.train\.channels 16 inst"
    ):
        validation.validate(config)
    config.train.channels -= 4
    with open(path, "w") as file:
        file.write("[]")
    with pytest.raises(validation.ConfigError, match=r"derive\.latency_table: this is no latency table"):
        validation.validate(config)
    config.derive.latency_table = str(tmp_path / "none.json")
    with pytest.raises(validation.ConfigError, match=r"derive\.latency_table: found .*json', which cannot be read"):
        validation.validate(config)


@pytest.mark.parametrize("table", ["measure", "FILE"])
def test_a_latency_table_is_refused_with_mixed_precision(table, tmp_path):
    config = digits.get_config()
    config.derive.front, config.train.mixed_precision = 3, "bfloat16"
    validation.validate(config)
    config.derive.latency_table = table
    if table == "FILE":
        settings = Settings.parse(config)
        space = make_space({"name": settings.space.name, "operations": list(settings.space.operations)})
        config.derive.latency_table = str(tmp_path / "table.json")
        measured(config.derive.latency_table, space, settings.train, (8, 8, 1), 10)
    told = r"derive\.latency_table: found .* with config\.train\.mixed_precision='bfloat16'; expected .*=''"
    with pytest.raises(validation.ConfigError, match=told):
        validation.validate(config)


def test_a_budget_of_the_derivation_is_refused_where_nothing_uses_it():
    config = digits.get_config()
    config.derive.source, config.derive.budget.macs = "best", 10**9
    with pytest.raises(
        validation.ConfigError, match=r"derive\.source: found 'best'; expected 'argmax' with config\.de"
    ):
        validation.validate(config)
    config.derive.source = "argmax"
    config.space.name = "tests.support.tiny_space"
    config.train.auxiliary_weight = 0.0
    with pytest.raises(
        validation.ConfigError, match=r"derive\.budget: the costs of the tests\.support\.tiny_space spac"
    ):
        validation.validate(config)


def test_a_pretrained_network_needs_val_for_its_classifier():
    given = {"train": {"hold_out_val": True}, "baselines": {"pretrained": "MobileNet"}}
    (problem,) = validation._hold_out_val(Settings.parse(given))
    assert problem.startswith("config.train.hold_out_val: found True; expected False with config.baselines.pretrained")
    assert not list(validation._hold_out_val(Settings.parse({"train": {"hold_out_val": True}})))
