"""pipeline/memory_plan.py: the batches that follow from what a step needs of memory and what there is."""

import math
import os

import pytest
from PIL import Image

from models import memory
from models.data.dataset_info import DataError
from models.memory import Limit, Need
from pipeline import memory_plan
from pipeline.configs import digits, image_folder
from pipeline.validation import ConfigError
from tests.support.configs import DIGITS, trained

GB = 10**9


@pytest.mark.parametrize(
    "objective,architecture,minutes,stages",
    [
        ("val_accuracy", "", 0.0, ("search", "train")),
        ("spectrum", "", 0.0, ("train",)),
        ("val_accuracy", "mdenas_cifar10", 0.0, ("train",)),
        ("val_accuracy", "", 5.0, ("search",)),
        ("spectrum", "", 5.0, ()),
    ],
)
def test_a_search_that_trains_nothing_and_a_planned_training_have_no_batch_to_fit(
    objective, architecture, minutes, stages
):
    config = digits.get_config()
    config.search.objective, config.architecture, config.budget.minutes = objective, architecture, minutes
    assert memory_plan._stages(config) == stages


def test_ample_memory_is_seen_without_a_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "limit", lambda: Limit(10 * GB, "free here"))
    monkeypatch.setattr(memory_plan, "_measure", lambda *_: pytest.fail("measured"))
    config = trained(digits, **DIGITS)
    (line,) = memory_plan.fit(config, str(tmp_path), ())
    assert (
        "search in batches of 64: at most 2.1 GB of 10.0 GB free here; train in batches of 64: at most 2.3 GB" in line
    )
    config.architecture = "mdenas_cifar10"
    (line,) = memory_plan.fit(config, str(tmp_path), ())
    assert "search" not in line


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "images" / "train" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (48, 40)).save(tmp_path / "images" / "train" / name / f"{number}.png")
    return str(tmp_path / "images")


@pytest.fixture
def plan(tmp_path, monkeypatch, folder):
    """Plans a run of 100 MB an image where there are 10 GB; `measured` lists the stages that were measured."""
    measured = []

    def measure(stage, config, images, heaviest, there):
        measured.append(stage)
        need = {"fixed": 1 * GB - memory_plan._PIPELINE - images["bytes"], "per_image": 0.1 * GB, "program": 0.0}
        return {"path": {"some": "path"}, "host": need}

    monkeypatch.setattr(memory_plan, "_measure", measure)
    monkeypatch.setattr(memory, "limit", lambda: Limit(10 * GB, "free here"))
    monkeypatch.setattr(memory_plan, "_bound", lambda *_: None)

    def run(root="root", given=(), **settings):
        config = trained(image_folder)
        config.data.image_folder = folder
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in settings.items()})
        (tmp_path / root).mkdir(exist_ok=True)
        lines = list(memory_plan.fit(config, str(tmp_path / root), given))
        return config, lines

    run.measured = measured
    return run


def test_a_batch_that_does_not_fit_is_lowered_and_the_learning_rates_with_it(plan):
    config, lines = plan(search__batch_size=512, search__min_learning_rate=0.001, train__batch_size=48)
    assert config.search.batch_size == 80  # 9 GB but for the reserve: (9 - 1) / 0.1
    assert math.isclose(config.search.learning_rate, 0.025 * 80 / 512)
    assert math.isclose(config.search.min_learning_rate, 0.001 * 80 / 512)
    assert (config.train.batch_size, config.train.learning_rate) == (48, 0.025)
    assert "52.2 GB of 10.0 GB free here, lowered to 80 (9.0 GB; learning rate 0.00391)" in lines[-1]
    assert "train in batches of 48: 5.8 GB of 10.0 GB" in lines[-1]


def test_what_was_given_is_not_changed(plan):
    config, _ = plan(given=("search.learning_rate",), search__learning_rate=0.5, search__min_learning_rate=0.1)
    assert (config.search.learning_rate, config.search.min_learning_rate) == (0.5, 0.1)
    config, _ = plan(root="other", given=("search.min_learning_rate",), search__min_learning_rate=0.02)
    assert (config.search.learning_rate, config.search.min_learning_rate) == (0.02, 0.02)


@pytest.mark.parametrize("stage", ["search", "train"])
def test_a_batch_that_was_given_and_does_not_fit_is_refused_with_the_largest_that_does(plan, stage):
    with pytest.raises(ConfigError, match=rf"--config\.{stage}\.batch_size=80\.") as error:
        plan(given=(f"{stage}.batch_size",), **{"search__batch_size": 64, f"{stage}__batch_size": 512})
    assert f"config.{stage}.batch_size is 512, which needs 52.2 GB" in str(error.value)
    assert "\n" not in str(error.value)


def test_where_no_batch_fits_the_run_is_refused(plan, monkeypatch):
    monkeypatch.setattr(memory, "limit", lambda: Limit(1.2 * GB, "free here"))
    with pytest.raises(ConfigError, match=r"No batch fits: lower config\.data\.image_size"):
        plan()


def test_a_resumed_run_has_the_batches_of_the_first_however_much_is_free(plan, monkeypatch):
    first, _ = plan()
    monkeypatch.setattr(memory, "limit", lambda: Limit(100 * GB, "free here"))
    again, lines = plan()
    assert again.to_dict() == first.to_dict() and again.search.batch_size == 80
    assert plan.measured == ["search", "train"]
    assert len(lines) == 1 and "of an earlier run" in lines[0]
    other, _ = plan(search__channels=8)
    assert other.search.batch_size == 512


@pytest.mark.parametrize(
    ("key", "value", "anew"),
    [
        ("data.cache_mb", 1, True),
        ("space.operations", ("sep_conv_3x3", "none"), True),
        ("search.traced_architectures", 2, True),
        ("train.ema", 0.9, True),
        ("deterministic", False, True),
        ("search.learning_rate", 0.1, False),
        ("train.learning_rate", 0.1, False),
        ("search.epochs", 3, False),
    ],
)
def test_only_settings_that_memory_depends_on_decide_anew(plan, key, value, anew):
    plan()
    plan.measured.clear()
    plan(**{key.replace(".", "__"): value})
    assert bool(plan.measured) == anew


def test_an_option_of_a_custom_space_decides_anew(plan, monkeypatch):
    config = image_folder.get_config()
    config.space.name = "my.space"
    before = memory_plan._depends(config, ())
    with config.space.unlocked():
        config.space.level = 2
    assert memory_plan._depends(config, ()) != before


def test_a_refusal_decides_nothing(plan, monkeypatch):
    with pytest.raises(ConfigError):
        plan(given=("search.batch_size",))
    monkeypatch.setattr(memory, "limit", lambda: Limit(100 * GB, "free here"))
    config, _ = plan(given=("search.batch_size",))
    assert config.search.batch_size == 512


def test_a_known_architecture_has_no_search_to_measure(plan):
    plan(architecture="mdenas_cifar10")
    assert plan.measured == ["train"]


def test_every_further_program_of_the_search_counts():
    config = image_folder.get_config()
    measured = {"host": {"fixed": 1.0, "per_image": 2.0, "program": 10.0}, "path": {}}
    kinds = memory_plan._kinds(config, "search", {"bytes": 100}, measured, Limit(1, ""))
    assert kinds == [(Need(1.0 + 7 * 10.0 + 100 + memory_plan._PIPELINE, 2.0), Limit(1, ""))]


def test_a_gpu_has_a_limit_of_its_own():
    need = {"fixed": 1 * GB, "per_image": 0.1 * GB, "program": 0.0}
    measured = {"host": {**need, "per_image": 0.0}, "card": need, "card_bytes": 5 * GB, "path": {}}
    config = image_folder.get_config()
    kinds = memory_plan._kinds(config, "train", {"bytes": 0}, measured, Limit(100 * GB, "free"))
    assert memory_plan._choose("train", 96, kinds, given=False) == 32


def test_memory_that_could_not_be_measured_leaves_the_batches_also_of_the_runs_to_come(plan):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_plan, "_measure", lambda *_: {"error": "it was killed"})
        config, lines = plan()
    assert config.search.batch_size == 512
    assert "search could not be measured (it was killed), so its batch size remains 512" in lines[-1]
    assert plan()[0].search.batch_size == 512


def test_where_nothing_is_known_batches_stay(plan, monkeypatch):
    monkeypatch.setattr(memory, "limit", lambda: None)
    config, (line,) = plan()
    assert config.search.batch_size == 512 and "not estimated" in line


def test_the_images_of_a_folder_are_looked_at(folder):
    config = image_folder.get_config()
    config.data.image_folder, config.data.image_size = folder, 0
    images = memory_plan.images_of(config.data)
    assert (images["shape"], images["classes"]) == ((40, 48, 3), 2)
    encoded = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
    assert images["bytes"] == 2 * 6 * 40 * 48 * 3 + encoded
    config.data.image_size, config.data.channels = 32, 1
    images = memory_plan.images_of(config.data)
    assert images["shape"] == (32, 32, 1)
    assert images["bytes"] == 3 * 6 * 32 * 32  # decoded twice, and stored
    config.data.store = "original"
    assert memory_plan.images_of(config.data)["bytes"] == 2 * 6 * 32 * 32 + encoded


def test_data_that_cannot_be_used_are_refused_before_anything_is_measured(folder, plan):
    os.rename(os.path.join(folder, "train"), os.path.join(folder, "test"))
    with pytest.raises(DataError, match="has no folder train/"):
        plan()


def test_the_images_of_a_data_set_are_known_from_tfds():
    images = memory_plan.images_of(digits.get_config().data)
    assert (images["shape"], images["classes"]) == ((8, 8, 1), 10)
