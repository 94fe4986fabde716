"""models/settings.py: every setting is declared once, and what it changes is true."""

import json
import re
import typing

import pytest

from components.tfds_example_gen.component import TfdsExampleGen
from models.runtime.checkpoint import fingerprint
from models.runtime.section import AFTERWARDS, EXAMPLES, NOTHING, PLAN, SEARCH, TRAINING, expected, leaves, value
from models.settings import ConfigError, Data, MobileSpace, Pod, Search, Settings, Space, document, runtime_parameters
from pipeline import kubeflow_runner
from pipeline.configs import base
from tests.support import paths

SETTINGS = {key: (found, known) for key, found, known in leaves(Settings())}
# Values that differ from the defaults, where the type alone does not tell one.
OTHERS = {
    "budget.keep": ("train.epochs",),
    "data.image_size": 32,
    "data.resize": "pad",
    "data.background": "black",
    "data.channels": 1,
    "data.store": "original",
    "data.name": "digits2",
    "space.name": "mobile",
    "space.operations": ("k3_e3", "skip"),
    "search.objective": "spectrum",
    "search.mixed_precision": "bfloat16",
    "train.mixed_precision": "bfloat16",
    "train.network": "imagenet",
    "train.schedule": "exponential",
    "derive.source": "best",
    "derive.max_skip_connections": 2,
    "derive.front": 20,
    "derive.latency_backend": "tensorflow",
    "derive.budget.latency_ms": 3.5,
    "derive.budget.params": 1000,
    "derive.budget.macs": 1000,
    "derive.budget.file_mb": 3.5,
    "oracle.rule": "elite",
    "oracle.warmup_rounds": 3,
    "oracle.paper.projection": "softmax",
    "oracle.paper.accuracy": "mean",
    "oracle.pairwise.accuracy": "mean",
    "evaluate.accuracy_threshold": 0.5,
    "baselines.names": ("cnn",),
    "export.formats": ("litert",),
    "deploy.infra_validation": "docker",
    "deploy.bulk_inference": "test",
    "kubeflow.gpu_node_label": "a=b",
}


def other(key):
    """Another valid value of a setting."""
    found = SETTINGS[key][0]
    if key in OTHERS:
        return OTHERS[key]
    if isinstance(found, bool):
        return not found
    if isinstance(found, int):
        return found + 1
    if isinstance(found, float):
        return found / 2 if found else 0.5
    return {"depth": 3} if isinstance(found, dict) else "another"


def changed(key):
    """The settings with another value of one."""
    values = json.loads(Settings().to_json())
    *sections, name = key.split(".")
    section = values
    for part in sections:
        section = section[part]
    section[name] = other(key)
    return Settings.parse(values)


@pytest.mark.parametrize("key", SETTINGS)
def test_a_setting_changes_the_keys_of_what_it_is_declared_to_change_and_no_other(key):
    default, found = Settings(), changed(key)
    assert value(found, key) == other(key) != value(default, key)
    known = SETTINGS[key][1]
    assert known.changes and set(known.changes) <= {EXAMPLES, SEARCH, TRAINING, AFTERWARDS, PLAN, NOTHING}
    for kind in (SEARCH, TRAINING):
        differs = fingerprint(default.key(kind)) != fingerprint(found.key(kind))
        # Options of a rule that is not chosen are refused before, so they are in no key.
        without_use = key.startswith("oracle.") and key.count(".") == 2 and not key.startswith("oracle.paper.")
        without_use |= known.objective == "spectrum" or (kind == SEARCH and key.startswith("train."))
        assert differs == (kind in known.changes and not without_use and key != "oracle.custom"), kind


@pytest.mark.parametrize("key", [key for key in SETTINGS if key.startswith("data.")])
def test_what_changes_the_examples_is_a_parameter_of_their_component(key, monkeypatch):
    monkeypatch.setattr("components.tfds_example_gen.source.Source.check", lambda self: None)
    monkeypatch.setattr("components.tfds_example_gen.source.Source.fingerprint", lambda self: "")
    one, another = (TfdsExampleGen(**dict(settings.data)).exec_properties for settings in (Settings(), changed(key)))
    assert (one != another) == (EXAMPLES in SETTINGS[key][1].changes)


def test_an_option_of_the_chosen_rule_changes_the_key_and_those_of_others_are_in_none():
    elite = Settings.parse({"oracle": {"rule": "elite"}})
    more = Settings.parse({"oracle": {"rule": "elite", "elite": {"eta": 0.1}}})
    assert elite.key(SEARCH) != more.key(SEARCH)
    assert not [key for key in elite.key(SEARCH) if key.startswith("oracle.paper")]
    custom = Settings.parse({"oracle": {"rule": "my.Rule", "custom": {"depth": 1}}})
    assert custom.key(SEARCH)["oracle.custom"] == {"depth": 1}
    assert custom.oracle.options == {"depth": 1}


def test_a_search_that_trains_nothing_depends_on_the_final_networks_size_and_on_no_training():
    spectrum = {"objective": "spectrum"}
    default = Settings.parse({"search": spectrum}).key(SEARCH)
    for sections in ({"train": {"cells": 4}}, {"train": {"channels": 4}}, {"search": {"score_images": 8}}):
        assert Settings.parse({**sections, "search": {**spectrum, **sections.get("search", {})}}).key(SEARCH) != default
    assert Settings.parse({"search": {**spectrum, "learning_rate": 1.0}, "train": {"epochs": 5}}).key(SEARCH) == default


def test_options_of_a_custom_space_are_part_of_the_key():
    one, two = (Settings.parse({"space": {"name": "my.space", "level": level}}).key(SEARCH) for level in (1, 2))
    assert one != two


def test_the_documentation_is_true():
    with open(paths.PROJECT / "docs" / "settings.md") as file:
        assert file.read() == document(), "run `make settings`"


@pytest.mark.parametrize("key", SETTINGS)
def test_every_setting_says_what_it_means_and_what_is_allowed(key):
    section, _, name = key.rpartition(".")
    fields = type(value(Settings(), section) if section else Settings()).model_fields
    assert fields[name].description and expected(fields[name]) != "None"


def test_the_configs_have_every_setting_and_nothing_else():
    config = json.loads(json.dumps(base.get_config().to_dict()))
    assert config == json.loads(Settings().to_json())
    with base.get_config().unlocked():
        config = base.get_config()
        config.oracle.warmup_rounds, config.evaluate.accuracy_threshold = 2, 0.5  # placeholders have their type
    with pytest.raises(TypeError):
        config.oracle.warmup_rounds = "many"


def test_sections_come_back_from_json_as_they_were():
    settings = changed("evaluate.accuracy_threshold")
    for name, section in settings:
        if hasattr(section, "to_json") and name != "space":
            assert type(section).from_json(section.to_json()) == section
    assert Settings.from_json(settings.to_json()) == settings
    assert Search.from_json(Search().to_json(), epochs=7) == Search(epochs=7)
    with pytest.raises(ConfigError, match=r"config\.search\.epochs: found 0; expected a whole number, 1 or more\."):
        Search.from_json(Search().to_json(), epochs=0)


def test_settings_without_effect_can_be_left_out():
    assert "cache_mb" not in json.loads(Data().to_json(with_effect=True))
    assert Data.from_json(Data(image_size=8).to_json(with_effect=True)) == Data(image_size=8)


@pytest.mark.parametrize(
    "values, lines",
    [
        (
            {"search": {"epochs": 0, "flip": 1}, "data": {"chanels": 3}, "seed": "one"},
            [
                r"config\.seed: found 'one'; expected a number from 0 to .*",
                r"config\.data\.chanels: there is no such setting; expected name, .* Did you mean 'channels'\?",
                r"config\.search\.epochs: found 0; expected a whole number, 1 or more\.",
                r"config\.search\.flip: found 1; expected True or False\.",
            ],
        ),
        (
            {"space": {"name": "mobile", "backbone": 3}},
            [r"config\.space\.backbone: found 3; expected a text or a mapping\."],
        ),
        ({"oracle": {"elite": {"floor": 2.0}}}, [r"config\.oracle\.elite: floor of the rule 'elite': found 2\.0; .*"]),
        (
            {"train": {"ema": float("nan")}},
            [r"config\.train\.ema: found nan; expected a number from 0 to 1 .*"],
        ),
        ({"kubeflow": {"search": {"gpus": -1}}}, [r"config\.kubeflow\.search\.gpus: found -1; expected .*0 or more\."]),
        ({"data": 3}, [r"config\.data: .*"]),
    ],
)
def test_every_problem_is_told_with_key_found_and_expected(values, lines):
    with pytest.raises(ConfigError) as error:
        Settings.parse(values)
    found = str(error.value).splitlines()
    assert len(found) == len(lines)
    for line, pattern in zip(found, lines, strict=True):
        assert re.fullmatch(pattern, line), line


def test_a_runtime_parameter_is_declared_once():
    names = runtime_parameters()
    assert names == {
        "seed": "seed",
        "search_epochs": "search.epochs",
        "data_dir": "data.data_dir",
        "data_seed": "data.seed",
        "data_version": "data.version",
        "image_folder": "data.image_folder",
        "budget_minutes": "budget.minutes",
    }
    assert set(kubeflow_runner.RUNTIME_PARAMETERS) == {*names, "training", "data_fingerprint"}


def test_sections_are_immutable_and_have_the_declared_types():
    with pytest.raises(Exception, match="frozen"):
        Settings().seed = 1
    assert MobileSpace().backbone == "mdenas_gpu" and Pod().gpus == 0
    for key, (found, _) in SETTINGS.items():
        assert isinstance(found, str | int | float | bool | tuple | dict | type(None)), key
    assert typing.get_type_hints(Settings)["search"] is Search


@pytest.mark.parametrize(
    "values",
    [
        {"name": "nasbench201"},
        {"name": "mobile", "backbone": {"stem": 8, "stem_stride": 1, "blocks": [[8, 1]], "head": 16}},
        {"name": "tests.support.tiny_space", "depth": 3},
    ],
)
def test_a_space_that_a_component_gets_as_json_has_all_its_settings(values):
    space = Settings.parse({"space": values}).space
    assert Space.from_json(space.to_json()) == space
    with pytest.raises(ConfigError, match=r"config\.space\.backbone: there is no such setting"):
        Space.parse({"name": "cell", "backbone": "mdenas_gpu"})
