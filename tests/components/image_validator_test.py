"""ImageValidator: what it refuses, what it warns of, and the schema of an image data set."""

import dataclasses
import hashlib
import io
import json
import os

import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from PIL import Image
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, channel, standard_artifacts

from components import artifacts
from components.image_validator import executor, pictures
from components.image_validator.component import SCHEMA_FILE, ImageValidator
from models.data import dataset_info
from models.data.dataset_info import DataError
from models.runtime import artifact_files
from tests.support import image_fixtures


def images():
    """Split -> (id, label, file), all as they should be: 8 images a split, 4 of each class."""
    return {
        split: [
            (f"{split}/{number}.png", number % 2, image_fixtures.encode(10 * first + number)) for number in range(8)
        ]
        for first, split in enumerate(("train", "val", "test"))
    }


def validate(directory, splits, anomalies=None, **settings):
    """Runs the component on examples written by hand; returns its report."""
    return check(directory, image_fixtures.write_examples(directory / "examples", splits), anomalies, **settings)


def check(directory, examples, anomalies=None, beam_args=image_fixtures.BEAM_ARGS, **settings):
    component = ImageValidator(channel.Channel(type=standard_artifacts.Examples), **settings)
    report = artifacts.ImageReport()
    report.uri = str(directory / "report")
    inputs = {"examples": [examples], **({"anomalies": [anomalies]} if anomalies else {})}
    context = base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=list(beam_args))
    executor.Executor(context).Do(inputs, {"image_report": [report]}, component.exec_properties)
    with open(os.path.join(report.uri, artifact_files.IMAGE_REPORT.name)) as file:
        return json.load(file)


def test_good_images_pass_and_are_counted(tmp_path):
    report = validate(tmp_path, images())
    assert report["problems"] == report["warnings"] == []
    assert report["images"] == {"train": 8, "val": 8, "test": 8}
    assert report["classes"] == {name: {"train": 4, "val": 4, "test": 4} for name in ("cat", "dog")}
    assert report["sizes"] == {"8x8": 24}
    assert report["channels"] == {"3": 24}


def _replaced(split, number, label=None, file=None):
    def change(splits):
        image_id, old_label, old_file = splits[split][number]
        splits[split][number] = (image_id, old_label if label is None else label, file or old_file)

    return change


def _kept(split, label):
    def change(splits):
        splits[split] = [image for image in splits[split] if image[1] == label]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_replaced("val", 3, label=2), r"1 labels lie outside the 2 classes \(0 to 1\): val/3\.png has 2\."),
        (_replaced("test", 0, label=-1), r"1 labels lie outside .* test/0\.png has -1"),
        (_kept("train", 0), r"train has 1 classes; 2 or more are needed"),
        (_kept("val", 1), r"val has 1 classes"),
        (
            _replaced("test", 5, file=image_fixtures.encode(99, size=(9, 7))),
            r"differ in size: 23 have 8x8, 1 do not: test/5\.png has 9x7\. Set config\.data\.image_size",
        ),
        (
            _replaced("train", 1, file=image_fixtures.encode(99, mode="L")),
            r"differ in channels: 23 have 3, 1 do not: train/1\.png has 1\. Set config\.data\.channels",
        ),
    ],
)
def test_unfit_images_are_refused_by_name(tmp_path, change, message):
    splits = images()
    change(splits)
    with pytest.raises(DataError, match=message):
        validate(tmp_path, splits)


def test_a_class_without_training_images_is_refused(tmp_path):
    splits = images()
    splits["train"] = [(image_id, 2 * label, file) for image_id, label, file in splits["train"]]
    examples = image_fixtures.write_examples(tmp_path / "examples", splits, class_names=("cat", "dog", "eel"))
    with pytest.raises(DataError) as error:
        check(tmp_path, examples)
    assert "train has no image of 1 classes: dog." in str(error.value)
    assert "val has no image of 1 classes: eel." in str(error.value)


def test_every_problem_is_in_the_message_and_in_the_report(tmp_path):
    splits = images()
    _replaced("val", 3, label=7)(splits)
    _kept("train", 0)(splits)
    with pytest.raises(DataError) as error:
        validate(tmp_path, splits)
    with open(tmp_path / "report" / artifact_files.IMAGE_REPORT.name) as file:
        problems = json.load(file)["problems"]
    assert len(problems) == 2
    assert all(problem in str(error.value) for problem in problems)


def test_a_message_names_five_images_and_counts_the_rest(tmp_path):
    splits = images()
    splits["val"] = [(image_id, label + 5, file) for image_id, label, file in splits["val"]]
    with pytest.raises(DataError, match=r"8 labels .*: val/0\.png has 5, .*val/4\.png has 5 and 3 more\."):
        validate(tmp_path, splits)


def test_images_too_small_for_the_networks_are_refused_unless_they_are_resized(tmp_path):
    splits = images()
    _replaced("test", 5, file=image_fixtures.encode(99, size=(8, 7)))(splits)
    small = {"smallest_side": 8, "needed_by": "the network"}
    with pytest.raises(
        DataError, match=r"1 images have .* less than 8 pixels, but the network needs 8: test/5\.png has 8x7"
    ):
        validate(tmp_path / "small", splits, **small)
    assert not validate(tmp_path / "resized", splits, image_size=8, **small)["problems"]


def test_differing_images_pass_where_a_setting_makes_them_alike(tmp_path):
    splits = images()
    _replaced("test", 5, file=image_fixtures.encode(99, size=(9, 7)))(splits)
    _replaced("train", 1, file=image_fixtures.encode(99, mode="L"))(splits)
    report = validate(tmp_path, splits, image_size=8, channels=3)
    assert report["problems"] == []
    assert report["sizes"] == {"8x8": 23, "9x7": 1}


def _drawn(make, splits=("train", "val")):
    """Gives every image the file that `make` returns for its number and label."""

    def change(found):
        for split in splits:
            found[split] = [
                (image_id, label, make(number, label)) for number, (image_id, label, _) in enumerate(found[split])
            ]

    return change


def _picture(value, mode="RGB", size=(8, 8)):
    file = io.BytesIO()
    Image.new(mode, size, value).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("make", "pictures"),
    [
        (lambda number, label: _picture((0, 0, 0)), 1),
        (lambda number, label: _picture((number, label, 9, 0), "RGBA"), 1),  # transparent altogether
        # Different files of one picture, as on transparency: its colours do not show.
        (lambda number, label: image_fixtures.encode(0) + bytes([number]), 1),
        (lambda number, label: image_fixtures.encode(number // 2), 4),  # each picture once as cat, once as dog
    ],
)
def test_pictures_that_tell_nothing_of_their_class_are_refused(tmp_path, make, pictures):
    splits = images()
    _drawn(make)(splits)
    with pytest.raises(
        DataError,
        match=rf"The 16 images for training show only {pictures} different pictures, .* for 8 images, .* right for 8\.",
    ):
        validate(tmp_path, splits)


def test_what_differs_beyond_the_size_trained_at_is_refused(tmp_path):
    splits = images()
    dot = Image.new("L", (800, 800), 255)

    def make(number, label):
        file, picture = io.BytesIO(), dot.copy()
        picture.putpixel((number, label), 0)
        picture.save(file, "PNG")
        return file.getvalue()

    _drawn(make)(splits)
    _drawn(make, ("test",))(splits)
    with pytest.raises(DataError, match="show only 1 different pictures"):
        validate(tmp_path, splits, image_size=8, channels=1)


def test_a_class_of_few_different_pictures_or_of_none_is_warned_of(tmp_path):
    splits = images()
    splits["train"] += [(f"train/more{number}.png", 0, image_fixtures.encode(0)) for number in range(40)]
    _drawn(lambda number, label: _picture((number, 0, 0)) if label else image_fixtures.encode(0))(splits)
    report = validate(tmp_path, splits, max_imbalance=100)
    assert report["problems"] == []
    assert report["warnings"][-2:] == [
        "In 1 classes each image has a single colour: dog (8 images).",
        "In 1 classes most images repeat the same pictures: cat (48 images, 1 different).",
    ]


@pytest.mark.parametrize(("brightest", "refused"), [(0, False), (1, True), (4095, True), (4096, False), (65535, False)])
def test_16_bits_that_would_come_out_black_are_refused_over_the_whole_data_set(tmp_path, brightest, refused):
    examples = image_fixtures.write_examples(tmp_path / "examples", images())
    info = dataclasses.replace(dataset_info.load(examples.uri), brightest=brightest)
    info.save(examples.uri)
    if refused:
        with pytest.raises(DataError, match=rf"16 bits .* up to {brightest} of 65535, .* Save them with 8 bits"):
            check(tmp_path, examples)
    else:
        assert check(tmp_path, examples)["problems"] == []


def _copied(source, target, label=None):
    def change(splits):
        file = splits[source[0]][source[1]][2]
        _replaced(*target, label=label, file=file)(splits)

    return change


def _saved_otherwise(file):
    other = io.BytesIO()
    Image.open(io.BytesIO(file)).save(other, "BMP")
    return other.getvalue()


@pytest.mark.parametrize(
    ("change", "warnings"),
    [
        (
            _copied(("train", 2), ("test", 4)),
            ["1 images of test are also in train, so the accuracy on test is too high: test/4.png equals train/2.png."],
        ),
        (
            _copied(("val", 2), ("test", 5)),
            [
                "1 images of test are also in val, so the accuracy on test is too high: test/5.png equals val/2.png.",
                "1 images of test that are also in val have another label in val: test/5.png equals val/2.png.",
            ],
        ),
        (
            _copied(("train", 1), ("val", 1)),
            ["1 images of val are also in train, so the accuracy on val is too high: val/1.png equals train/1.png."],
        ),
        (_copied(("train", 1), ("train", 3)), []),
        (
            _replaced("test", 5, file=_saved_otherwise(images()["train"][3][2])),
            ["1 images of test are also in train, so the accuracy on test is too high: test/5.png equals train/3.png."],
        ),
        (_kept("test", 1), ["test has no image of 1 classes: cat. Their accuracy will be unknown."]),
    ],
)
def test_doubtful_images_are_warned_of(tmp_path, change, warnings):
    splits = images()
    change(splits)
    assert validate(tmp_path, splits)["warnings"] == warnings


def test_very_unequal_classes_are_warned_of(tmp_path):
    splits = images()  # 8 cats and 8 dogs to train on; with 8 more cats 16 and 8
    splits["train"] += [(f"train/more{number}.png", 0, image_fixtures.encode(100 + number)) for number in range(8)]
    assert validate(tmp_path / "allowed", splits, max_imbalance=2)["warnings"] == []
    (warning,) = validate(tmp_path / "refused", splits, max_imbalance=1.9)["warnings"]
    assert warning.startswith("The classes are very unequal: 16 training images of cat, 8 of dog.")


THREADS = ["--direct_running_mode=multi_threading", "--direct_num_workers=2", "--requirements_file=/dev/null"]


def troublesome():
    """Images with many findings of each kind, sorted by class, with a class of one image; and what is said of them."""
    pictures = [image_fixtures.encode(number) for number in range(12)]
    splits = {
        "train": [(f"train/cat/{number}", 0, pictures[number]) for number in range(12)]
        + [(f"train/dog/{number}", 1, pictures[number % 3]) for number in range(9)]
        + [("train/eel/0", 2, image_fixtures.encode(99, mode="L"))],
        "val": [(f"val/cat/{number}", 0, image_fixtures.encode(20 + number, size=(8, 9))) for number in range(6)]
        + [(f"val/dog/{number}", 1, image_fixtures.encode(40 + number, size=(7, 9))) for number in range(6)]
        + [("val/owl/0", 7, pictures[4])],
        "test": [(f"test/cat/{number}", 0, pictures[number]) for number in range(7)]
        + [("test/dog/0", 1, image_fixtures.encode(40, size=(7, 9)))],
    }
    problems = [
        "1 labels lie outside the 3 classes (0 to 2): val/owl/0 has 7.",
        "val has no image of 1 classes: eel. Add images or remove the class.",
        "The images differ in size: 30 have 8x8, 13 do not: val/cat/0 has 8x9, val/cat/1 has 8x9, val/cat/2 has 8x9, "
        "val/cat/3 has 8x9, val/cat/4 has 8x9 and 8 more. Set config.data.image_size to the size in pixels to which "
        "all images are resized.",
        "The images differ in channels: 42 have 3, 1 do not: train/eel/0 has 1. Set config.data.channels to 1 (grey) "
        "or 3 (colours), to convert them all.",
        "7 images have a side of less than 8 pixels, but the network needs 8: val/dog/0 has 7x9, val/dog/1 has 7x9, "
        "val/dog/2 has 7x9, val/dog/3 has 7x9, val/dog/4 has 7x9 and 2 more. Set config.data.image_size to 8 or more.",
    ]
    warnings = [
        "7 images of test are also in train, so the accuracy on test is too high: test/cat/0 equals train/cat/0, "
        "test/cat/1 equals train/cat/1, test/cat/2 equals train/cat/2, test/cat/3 equals train/cat/3, test/cat/4 "
        "equals train/cat/4 and 2 more.",
        "2 images of test are also in val, so the accuracy on test is too high: test/cat/4 equals val/owl/0, "
        "test/dog/0 equals val/dog/0.",
        "1 images of test that are also in val have another label in val: test/cat/4 equals val/owl/0.",
        "1 images of val are also in train, so the accuracy on val is too high: val/owl/0 equals train/cat/4.",
        "1 images of val that are also in train have another label in train: val/owl/0 equals train/cat/4.",
        "test has no image of 1 classes: eel. Their accuracy will be unknown.",
        "The classes are very unequal: 18 training images of cat, 1 of eel. The accuracy will say little about the "
        "small classes; look at the metrics per class.",
    ]
    return splits, problems, warnings


@pytest.mark.parametrize(
    ("beam_args", "per_file", "part"),
    [(image_fixtures.BEAM_ARGS, 1000, 16_384), (image_fixtures.BEAM_ARGS, 3, 5), (THREADS, 3, 5)],
    ids=["one file", "many files", "two workers"],
)
def test_the_report_depends_neither_on_the_files_nor_on_the_workers(tmp_path, monkeypatch, beam_args, per_file, part):
    monkeypatch.setattr(pictures, "_PART", part)
    splits, problems, warnings = troublesome()
    class_names = ("cat", "dog", "eel")
    examples = image_fixtures.write_examples(tmp_path / "examples", splits, class_names, per_file)
    info = dataclasses.replace(
        dataset_info.load(examples.uri), counts={"train": (12, 9, 1)}, undecodable=(("train/dog/9", "no image"),)
    )
    info.save(examples.uri)
    with pytest.raises(DataError):
        check(tmp_path, examples, beam_args=beam_args, smallest_side=8, needed_by="the network")
    with open(tmp_path / "report" / artifact_files.IMAGE_REPORT.name) as file:
        report = json.load(file)
    assert report == {
        "problems": problems,
        "warnings": warnings,
        "images": {"train": 22, "val": 13, "test": 8},
        "classes": {
            "cat": {"train": 12, "val": 6, "test": 7},
            "dog": {"train": 9, "val": 6, "test": 1},
            "eel": {"train": 1, "val": 0, "test": 0},
        },
        "sizes": {"8x8": 30, "7x9": 7, "8x9": 6},
        "channels": {"3": 42, "1": 1},
        "undecodable": {"train/dog/9": "no image"},
    }
    assert list(report["sizes"]) == ["8x8", "7x9", "8x9"]


def test_sizes_of_equal_frequency_are_in_the_order_of_their_images(tmp_path):
    splits = images()
    sizes = [(9, 9), (8, 8), (10, 10), (7, 7)]
    for split, found in splits.items():
        splits[split] = [
            (image_id, label, image_fixtures.encode(number, size=sizes[number // 2]))
            for number, (image_id, label, _) in enumerate(found)
        ]
    report = validate(tmp_path, splits, image_size=8)
    assert list(report["sizes"].items()) == [("9x9", 6), ("8x8", 6), ("10x10", 6), ("7x7", 6)]


def test_a_picture_needs_the_same_memory_however_many_images_show_it():
    def divided(count):
        shown = ((b"digest", number % 2, (0, 0, number), f"train/{number}.png") for number in range(count))
        return dict(pictures.divide(shown, pictures.parts(1)))

    few, many = divided(100), divided(20_000)
    assert len(many[0]) < len(few[0]) + 20
    together = pictures.compare([many[0]] * 50)  # a million images
    assert (together.pictures, together.reachable, together.different) == (1, 500_000, {0: 1, 1: 1})


def test_many_pictures_are_compared_in_parts_of_bounded_size():
    count = 40_000
    shown = [(hashlib.sha256(b"%d" % number).digest(), 0, (0, 0, number), str(number)) for number in range(count)]
    found = dict(pictures.divide(shown, pictures.parts(count)))
    sizes = [pictures.compare([part]).pictures for part in found.values()]
    assert sum(sizes) == count
    assert len(sizes) == 3 and max(sizes) < 16_384


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": -1}, r"config\.data\.image_size: found -1; expected 0"),
        ({"channels": 2}, r"config\.data\.channels: found 2; expected 0 \(as the images are\), 1 or 3"),
    ],
)
def test_unfit_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageValidator(channel.Channel(type=standard_artifacts.Examples), **arguments)


def found_by_schema(**columns):
    """Returns what TFDV finds, with our schema, in a batch with these columns in place of the usual ones."""
    usual = {"image": [[b"a"], [b"b"]], "label": [[0], [1]], "id": [[b"x"], [b"y"]]}
    batch = pa.RecordBatch.from_pydict({name: values for name, values in {**usual, **columns}.items() if values})
    statistics = stats_impl.generate_statistics_in_memory(batch)
    return tfdv.validate_statistics(statistics, tfdv.load_schema_text(SCHEMA_FILE))


@pytest.mark.parametrize(
    ("columns", "feature"),
    [
        ({"label": [[0], [-1]]}, "label"),
        ({"label": [[0], None]}, "label"),
        ({"label": [[0], [0, 1]]}, "label"),
        ({"label": [[0.5], [1.0]]}, "label"),
        ({"image": None}, "image"),
        ({"image": [[1], [2]]}, "image"),
        ({"id": [[b"x"], None]}, "id"),
        ({"more": [[1], [2]]}, "more"),
    ],
)
def test_schema_knows_what_an_image_data_set_must_be(tmp_path, columns, feature):
    found = found_by_schema(**columns)
    assert list(found.anomaly_info) == [feature]
    assert validates(tmp_path, found) == feature


def test_schema_accepts_an_image_data_set(tmp_path):
    found = found_by_schema()
    assert not found.anomaly_info
    assert validates(tmp_path, found) is None


def artifact_of(tmp_path, found: anomalies_pb2.Anomalies):
    """What ExampleValidator hands on if it finds these anomalies in the training images."""
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    anomalies.split_names = artifact_utils.encode_split_names(["train"])
    directory = artifact_utils.get_split_uri([anomalies], "train")
    os.makedirs(directory)
    with open(os.path.join(directory, "SchemaDiff.pb"), "wb") as file:
        file.write(found.SerializeToString())
    return anomalies


def validates(tmp_path, found: anomalies_pb2.Anomalies):
    """Returns the feature for which the component refuses images with these anomalies, or None."""
    try:
        validate(tmp_path, images(), artifact_of(tmp_path, found))
    except DataError as error:
        (problem,) = str(error).splitlines()[1:]
        assert problem.startswith("- train: feature ")
        return problem.split(": ")[1].removeprefix("feature ")
    return None


def test_an_anomaly_below_an_error_is_a_warning_in_the_report(tmp_path):
    found = found_by_schema(more=[[1], [2]])
    found.anomaly_info["more"].severity = anomalies_pb2.AnomalyInfo.WARNING
    report = validate(tmp_path, images(), artifact_of(tmp_path, found))
    assert report["problems"] == []
    (warning,) = report["warnings"]
    assert warning.startswith("train: feature more: New column: New column")


def test_an_anomaly_of_the_data_set_as_a_whole_is_refused(tmp_path):
    found = anomalies_pb2.Anomalies()
    found.dataset_anomaly_info.severity = anomalies_pb2.AnomalyInfo.ERROR
    found.dataset_anomaly_info.description = "The dataset has 3 examples, which is fewer than expected."
    with pytest.raises(DataError, match="- train: The dataset has 3 examples"):
        validate(tmp_path, images(), artifact_of(tmp_path, found))
