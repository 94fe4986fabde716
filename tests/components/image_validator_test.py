"""ImageValidator: what it refuses, what it warns of, and the schema of an image data set."""

import dataclasses
import io
import json
import os

import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from PIL import Image
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact_utils, channel, standard_artifacts

from components import artifacts
from components.image_validator import executor
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


def check(directory, examples, anomalies=None, **settings):
    component = ImageValidator(channel.Channel(type=standard_artifacts.Examples), **settings)
    report = artifacts.ImageReport()
    report.uri = str(directory / "report")
    inputs = {"examples": [examples], **({"anomalies": [anomalies]} if anomalies else {})}
    executor.Executor().Do(inputs, {"image_report": [report]}, component.exec_properties)
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
    report = artifacts.ImageReport()
    report.uri = str(tmp_path / "report")
    component = ImageValidator(channel.Channel(type=standard_artifacts.Examples))
    with pytest.raises(DataError) as error:
        executor.Executor().Do({"examples": [examples]}, {"image_report": [report]}, component.exec_properties)
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
