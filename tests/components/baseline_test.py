"""components/baseline.py: which earlier model a new one is compared with."""

import dataclasses
import json
import os

import pytest
from absl import logging
from tfx.types import standard_artifacts

from components import baseline
from models.data import dataset_info
from models.data.image_format import ImageFormat
from tests.support import image_fixtures

FORM = ImageFormat((8, 8, 3))


def write_model(folder, class_names=("cat", "dog"), **form) -> str:
    """Writes what is looked at of a model's artifact: no SavedModel, but its files; returns the artifact's URI."""
    saved_model = os.path.join(folder, "Format-Serving")
    os.makedirs(os.path.join(saved_model, "assets"))
    os.makedirs(os.path.join(saved_model, "assets.extra"))
    os.makedirs(os.path.join(saved_model, "variables"))
    for name in ("saved_model.pb", "variables/variables.index"):
        with open(os.path.join(saved_model, name), "w"):
            pass
    with open(os.path.join(saved_model, "assets", "class_names.txt"), "w") as file:
        file.writelines(f"{name}\n" for name in class_names)
    if form:
        described = {"image_shape": [8, 8, 3], "resize": "crop", "background": [255, 255, 255], **form}
        with open(os.path.join(saved_model, "assets.extra", "preprocessing.json"), "w") as file:
            json.dump(described, file)
    return str(folder)


@pytest.mark.parametrize(
    "earlier,now,reason",
    [
        (("cat", "dog"), ("cat", "dog"), ""),
        (("cat", "dog"), ("cat", "wolf"), "its classes are different (added: 'wolf'; removed: 'dog')"),
        (("cat", "dog"), ("cat", "dog", "fox"), "its classes are different (added: 'fox')"),
        (("cat", "dog", "fox"), ("cat", "dog"), "its classes are different (removed: 'fox')"),
        (("cat", "dog"), ("dog", "cat"), "its classes are different (they are in another order)"),
        (("cat", "dog"), ("Cat", "dog"), "its classes are different (added: 'Cat'; removed: 'cat')"),
        (("Käfer", "a b", "x\u2028y"), ("Käfer", "a b", "x\u2028y"), ""),
        (("a", "b"), ("c", "d", "e", "f"), "added: 'c', 'd', 'e' and 1 more; removed: 'a', 'b'"),
    ],
    ids=["same", "renamed", "added", "removed", "permuted", "other letters", "odd names", "many"],
)
def test_classes_must_be_the_same_in_the_same_order(tmp_path, earlier, now, reason):
    found = baseline.why_not_comparable(write_model(tmp_path, earlier), now, FORM)
    assert reason in found and bool(reason) == bool(found)


@pytest.mark.parametrize(
    "form,reason",
    [
        ({}, ""),  # from before models told
        ({"resize": "crop"}, ""),
        ({"image_shape": [16, 16, 3]}, "image_shape is (16, 16, 3), now (8, 8, 3)"),
        ({"image_shape": [8, 8, 1]}, "image_shape is (8, 8, 1), now (8, 8, 3)"),
        ({"resize": "pad"}, "resize is pad, now crop"),
        ({"background": [0, 0, 0]}, "background is (0, 0, 0), now (255, 255, 255)"),
    ],
    ids=["not told", "same", "size", "channels", "resize", "background"],
)
def test_images_must_be_the_same(tmp_path, form, reason):
    found = baseline.why_not_comparable(write_model(tmp_path, **form), ("cat", "dog"), FORM)
    assert reason in found and bool(reason) == bool(found)


@pytest.mark.parametrize("gone", ["", "Format-Serving", "Format-Serving/saved_model.pb", "Format-Serving/variables"])
def test_a_model_that_is_gone_is_not_comparable(tmp_path, gone):
    uri = write_model(tmp_path / "model")
    os.rename(os.path.join(uri, gone), tmp_path / "gone")
    assert " is missing in " in baseline.why_not_comparable(uri, ("cat", "dog"), FORM)


def _resolve(tmp_path, monkeypatch, *models):
    """Returns the URIs that are chosen among blessed models of these classes, the oldest first, and the warnings."""
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: warnings.append(message % values))
    artifacts, blessings = [], []
    for number, class_names in enumerate(models, 1):
        model = standard_artifacts.Model()
        model.id, model.uri = number, write_model(tmp_path / str(number), class_names)
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property("current_model_id", number)
        blessing.set_int_custom_property("blessed", 1)
        artifacts.append(model)
        blessings.append(blessing)
    examples = image_fixtures.write_examples(tmp_path / "examples", {"train": []})
    strategy = baseline.LatestComparableModel(image_size=0, channels=0, resize="crop", background="white")
    found = strategy.resolve_artifacts(None, {"model": artifacts, "model_blessing": blessings, "examples": [examples]})
    assert found["examples"] == [examples]
    assert [b.get_int_custom_property("current_model_id") for b in found["model_blessing"]] == [
        model.id for model in found["model"]
    ]
    return [os.path.basename(model.uri) for model in found["model"]], warnings


def test_the_latest_blessed_model_is_chosen_without_a_word(tmp_path, monkeypatch):
    assert _resolve(tmp_path, monkeypatch, ("cat", "dog"), ("cat", "dog")) == (["2"], [])


def test_no_blessed_model_is_no_reason_for_a_warning(tmp_path, monkeypatch):
    assert _resolve(tmp_path, monkeypatch) == ([], [])


def test_an_older_model_takes_the_place_of_one_that_cannot_be_compared(tmp_path, monkeypatch):
    chosen, (warning,) = _resolve(tmp_path, monkeypatch, ("cat", "dog"), ("cat", "dog"), ("cat", "wolf"))
    assert chosen == ["2"]
    assert f"{tmp_path}/3, cannot be compared with the new model: its classes are different (" in warning
    assert warning.endswith(f"The new model is compared with an older blessed model, {tmp_path}/2.")


def test_where_none_can_be_compared_the_evaluator_is_given_the_latest_to_tell_why(tmp_path, monkeypatch):
    chosen, (warning,) = _resolve(tmp_path, monkeypatch, ("a", "b"), ("cat", "wolf"))
    assert chosen == ["2"]
    assert warning.endswith("The new model is compared with no other model.")


@pytest.mark.parametrize(("stored", "chosen"), [("resized", 1), ("original", 0)])
def test_the_form_counts_only_where_examples_hold_resized_images(tmp_path, monkeypatch, stored, chosen):
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: warnings.append(message % values))
    model, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    model.id, model.uri = 1, write_model(tmp_path / "model", image_shape=[16, 16, 3])
    blessing.set_int_custom_property("current_model_id", 1)
    blessing.set_int_custom_property("blessed", 1)
    examples = image_fixtures.write_examples(tmp_path / "examples", {"train": []})
    dataclasses.replace(dataset_info.load(examples.uri), stored=stored).save(examples.uri)
    strategy = baseline.LatestComparableModel(image_size=8, channels=3, resize="crop", background="white")
    strategy.resolve_artifacts(None, {"model": [model], "model_blessing": [blessing], "examples": [examples]})
    assert len(warnings) == chosen
