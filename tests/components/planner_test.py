"""SearchPlanner and TrainingPlanner: real measurements on tiny data, and what they do with odd inputs."""

import json

import pytest
from tensorflow.python.framework import config as tensorflow_config
from tfx.types import channel, standard_artifacts

from components import artifacts
from components.planner import executor
from components.planner.component import SearchPlanner, TrainingPlanner
from models.planning import measure, plan, rules
from models.planning.costs import NetworkTimes, SearchTimes
from models.planning.plan import Plan
from models.runtime import artifact_files, clock
from models.search import spectrum
from models.search_spaces.registry import create_space
from models.settings import ConfigError, Settings
from tests.support import image_fixtures

SMALL = {
    "space": {"operations": ("skip_connect", "sep_conv_3x3", "none")},
    "search": {"objective": "spectrum", "score_images": 4},
    "oracle": {"rule": "interactions"},
    "train": {"cells": 3, "channels": 4, "auxiliary_weight": 0.0, "pad": 1, "cutout": 2},
}
KEEP = ("train.cells", "train.channels", "train.cutout")


def settings(minutes, *keep, **sections) -> Settings:
    return Settings.parse({**SMALL, **sections, "budget": {"minutes": minutes, "keep": keep}})


@pytest.fixture
def examples(tmp_path):
    """Grey images of 8x8 pixels, sorted by class: many cats, three dogs, one of which is in each split."""
    splits = {
        split: [(f"{number}", 0, number) for number in range(cats)] + [("dog", 1, 99)]
        for split, cats in (("train", 9), ("val", 8), ("test", 5))
    }
    splits = {
        split: [(f"{split}/{name}", label, image_fixtures.encode(seed, mode="L")) for name, label, seed in images]
        for split, images in splits.items()
    }
    return image_fixtures.write_examples(tmp_path / "examples", splits)


@pytest.fixture(autouse=True)
def deterministic_again():
    yield
    tensorflow_config.disable_op_determinism()


def plan_search(tmp_path, examples, used) -> Plan:
    node = SearchPlanner(
        channel.Channel(type=standard_artifacts.Examples), channel.Channel(type=artifacts.ImageReport), settings=used
    )
    made = artifacts.Plan()
    made.uri = str(tmp_path / "plan")
    executor.SearchPlanner().Do({"examples": [examples]}, {"plan": [made]}, node.exec_properties)
    return artifact_files.PLAN.load(made.uri, Plan.from_document)


def plan_training(tmp_path, examples, used, seconds=7.0):
    """Returns the plan and what the Trainer gets; the search is said to have taken so many seconds."""
    node = TrainingPlanner(
        channel.Channel(type=standard_artifacts.Examples),
        channel.Channel(type=artifacts.Plan),
        channel.Channel(type=standard_artifacts.HyperParameters),
        channel.Channel(type=artifacts.Distribution),
        settings=used,
    )
    inputs = {
        "examples": [examples],
        "search_plan": [artifacts.Plan()],
        "derived": [standard_artifacts.HyperParameters()],
        "distribution": [artifacts.Distribution()],
    }
    for name, folder in (("search_plan", "plan"), ("derived", "derived")):
        inputs[name][0].uri = str(tmp_path / folder)
    inputs["distribution"][0].set_float_custom_property("seconds", seconds)
    genotype = measure.random_architecture(create_space(used.space), 0)
    artifact_files.HYPERPARAMETERS.save(inputs["derived"][0].uri, {"genotype": genotype.to_dict()})
    outputs = {"plan": [artifacts.Plan()], "hyperparameters": [standard_artifacts.HyperParameters()]}
    for name, (output,) in outputs.items():
        output.uri = str(tmp_path / "corrected" / name)
    executor.TrainingPlanner().Do(inputs, outputs, node.exec_properties)
    return (
        artifact_files.PLAN.load(outputs["plan"][0].uri, Plan.from_document),
        artifact_files.HYPERPARAMETERS.load(outputs["hyperparameters"][0].uri, dict),
    )


@pytest.fixture
def quick(monkeypatch):
    """Replaces the measurements: a network is built in 2 s, a step takes 0.1 s, a score 0.2 s."""
    measured = []

    def network(used, *_):
        size = used.train.cells, used.train.channels
        measured.append(size)
        return NetworkTimes(*size, 100, used.train.batch_size, 2.0, 0.1, 0.5, 0.02)

    def search(space, used, *_):
        return SearchTimes(used.train.cells, used.train.channels, 1.0, 0.2)

    monkeypatch.setattr(measure, "network", network)
    monkeypatch.setattr(measure, "scored_search", search)
    monkeypatch.setattr(measure, "trained_search", search)
    return measured


def test_a_run_on_tiny_data_is_planned_and_corrected_by_real_measurements(tmp_path, examples, monkeypatch):
    monkeypatch.setattr(spectrum.SpectralScore, "compute_reference", None)  # only the search needs it
    used = settings(300.0, *KEEP)
    made = plan_search(tmp_path, examples, used)
    assert made.minutes == 300 and made.over == (plan.BEFORE,)
    assert not set(KEEP) & set(made.choices)
    assert sum(made.seconds.values()) == pytest.approx(300 * 60, abs=1)
    assert min(made.seconds.values()) >= 0
    assert made.choices["train.batch_size"] == 8  # 19 images
    assert made.choices["train.epochs"] * 3 >= 1000  # steps
    (network,), (search,) = made.figures["networks"], made.figures["searches"]
    assert network["batch"] == 8 and min(network["step"], network["start"], search["epoch"], search["start"]) > 0

    corrected, given = plan_training(tmp_path, examples, used)
    assert corrected.over == (plan.BEFORE, plan.PLANNING, plan.SEARCH)
    assert corrected.seconds[plan.SEARCH] == 7.0 and corrected.first == made.seconds
    assert corrected.figures["derived"]["step"] > 0
    assert given["settings"] == corrected.choices
    assert given["seconds_after"] == pytest.approx(corrected.seconds[plan.EVALUATION] + corrected.seconds[plan.REPORT])
    assert corrected.choices.keys() == made.choices.keys()


def test_a_budget_that_is_too_small_is_refused_with_the_least_minutes(tmp_path, examples, quick):
    with pytest.raises(ConfigError, match=r"config\.budget\.minutes: found 0\.1; expected (\d+\.?\d*) or more") as told:
        plan_search(tmp_path, examples, settings(0.1))
    least = float(str(told.value).split("expected ")[1].split(" or more")[0])
    # The measuring itself takes more or less time than before.
    assert plan_search(tmp_path, examples, settings(least + 0.3)).choices["train.epochs"] >= 1


def test_kept_epochs_that_do_not_fit_are_refused_and_others_are_planned_around(tmp_path, examples, quick):
    train = {**SMALL["train"], "epochs": 5000}
    with pytest.raises(ConfigError, match=r"5,000 training epochs with the settings that are kept"):
        plan_search(tmp_path, examples, settings(5.0, "train.epochs", train=train))
    made = plan_search(tmp_path, examples, settings(60.0, "train.epochs", train=train))
    assert "train.epochs" not in made.choices
    assert made.apply(settings(60.0, train=train)).train.epochs == 5000


def test_a_warm_up_that_does_not_fit_is_lowered_in_both_plans(tmp_path, examples, quick):
    used = settings(300.0, "train.warmup_epochs", "train.cells", "train.channels", train={"warmup_epochs": 9000})
    made = plan_search(tmp_path, examples, used)
    corrected, _ = plan_training(tmp_path, examples, used)
    for found in (made, corrected):
        assert found.choices["train.warmup_epochs"] == found.choices["train.epochs"] - 1


def test_the_time_before_the_plan_counts(tmp_path, examples, quick, monkeypatch):
    used = settings(5.0)
    monkeypatch.setattr(clock, "seconds", lambda: 200.0)
    late = plan_search(tmp_path, examples, used)
    monkeypatch.setattr(clock, "seconds", lambda: None)  # on Kubeflow
    examples.set_float_custom_property("seconds", 11.0)
    early = plan_search(tmp_path, examples, used)
    assert late.seconds[plan.BEFORE] == 200 and early.seconds[plan.BEFORE] == 11
    assert late.choices["train.epochs"] < early.choices["train.epochs"]


def test_a_search_that_took_longer_leaves_fewer_epochs(tmp_path, examples, quick):
    used = settings(4.0, *KEEP)
    plan_search(tmp_path, examples, used)
    (short, _), (long, _) = (plan_training(tmp_path, examples, used, seconds) for seconds in (10.0, 150.0))
    assert 1 <= long.choices["train.epochs"] < short.choices["train.epochs"]
    assert long.choices["search.epochs"] == short.choices["search.epochs"]


def test_in_a_short_budget_the_correction_counts_seconds_and_measures_nothing(tmp_path, examples, quick, monkeypatch):
    for share, measured in ((0.0, 0), (1.0, 1)):  # of the budget, for measuring
        monkeypatch.setattr(rules, "CORRECTION_SHARE", share)
        used = settings(5.0, *KEEP)
        plan_search(tmp_path, examples, used)
        quick.clear()
        corrected, _ = plan_training(tmp_path, examples, used)
        assert len(quick) == measured == bool(corrected.figures["derived"])
        assert corrected.seconds[plan.SEARCH] == 7.0 and corrected.choices["train.epochs"] >= 1


def test_further_sizes_are_measured_while_there_is_time(tmp_path, examples, quick):
    made = plan_search(tmp_path, examples, settings(60.0))
    assert len(set(quick)) == len(quick) > 1
    assert (made.choices["train.cells"], made.choices["train.channels"]) in quick


def test_a_given_architecture_and_a_search_on_shared_weights_are_planned_too(tmp_path, examples, quick):
    made = plan_search(tmp_path, examples, settings(30.0, architecture="darts_v2"))
    assert made.seconds[plan.SEARCH] == 0 and "search.epochs" not in made.choices
    trained = {"search": {"objective": "val_accuracy"}, "oracle": {"rule": "paper"}}
    made = plan_search(tmp_path, examples, settings(30.0, **trained))
    assert made.choices["search.epochs"] == 200  # of 0.2 s


def test_without_minutes_nothing_is_planned(tmp_path, examples):
    """On Kubeflow a pipeline that was compiled with a budget can be started without one."""
    assert plan_search(tmp_path, examples, settings(0.0)) == Plan(0.0)
    made, given = plan_training(tmp_path, examples, settings(0.0))
    assert made == Plan(0.0)
    assert given["settings"] == {} and given["genotype"]["space"] == "cell"


def test_only_what_changes_a_plan_is_a_parameter():
    """TFX makes a plan anew, and with it all that follows, when a parameter changes."""

    def properties(**sections):
        return SearchPlanner(
            channel.Channel(type=standard_artifacts.Examples),
            channel.Channel(type=artifacts.ImageReport),
            settings=settings(5.0, **sections),
        ).exec_properties

    same = ({"train": {**SMALL["train"], "checkpoint_seconds": 5.0}}, {"serving": {"top_k": 2}}, {"name": "x"})
    for sections in same:
        assert properties(**sections) == properties()
    for sections in ({"seed": 5}, {"train": {**SMALL["train"], "epochs": 5}}, {"architecture": "darts_v2"}):
        assert properties(**sections) != properties()
    assert json.loads(properties(architecture="darts_v2")["architecture"])["space"] == "cell"
