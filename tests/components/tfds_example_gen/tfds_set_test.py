"""TFDS data sets as there are many: which of their splits and features are used."""

import functools

import numpy as np
import pytest
import tensorflow_datasets as tfds

from components.tfds_example_gen import executor, source
from components.tfds_example_gen.component import TfdsExampleGen
from models.data.dataset_info import DataError
from models.settings import Data

IMAGE = tfds.features.Image(shape=(4, 4, 3))
LABEL = tfds.features.ClassLabel(names=["cat", "dog"])
USUAL = {"image": IMAGE, "label": LABEL}
FLOAT = tfds.features.Image(shape=(4, 4, 1), dtype=np.float32)
KNOWN, UNKNOWN = (0, 1, 0, 1), (-1, -1, -1, -1)


@functools.cache
def _base(features, splits, supervised):
    def info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(dict(features)), supervised_keys=supervised
        )

    def example(label):
        return {
            name: label if isinstance(feature, tfds.features.ClassLabel)
            else "text" if isinstance(feature, tfds.features.Text)
            else np.zeros((2, *feature.shape[1:]), np.uint8) if isinstance(feature, tfds.features.Video)
            else np.zeros(feature.shape, feature.np_dtype)
            for name, feature in features
        }  # fmt: skip

    def generators(self, _):
        return {split: iter([(key, example(label)) for key, label in enumerate(labels)]) for split, labels in splits}

    with tfds.core.registered.skip_registration():
        return type(
            "Strange",
            (tfds.core.GeneratorBasedBuilder,),
            {
                "VERSION": tfds.core.Version("1.0.0"),
                "_info": info,
                "_split_generators": generators,
                "_generate_examples": lambda self: None,
                "pkg_dir_path": None,
            },
        )


def prepare(directory, features=USUAL, supervised=None, **splits):
    """Prepares a data set called strange, of labels per split."""
    splits = splits or {"train": KNOWN, "test": KNOWN}
    _base(tuple(features.items()), tuple(splits.items()), supervised)(data_dir=str(directory)).download_and_prepare()
    return {"name": "strange", "data_dir": str(directory)}


@pytest.mark.parametrize(
    ("splits", "settings", "expected"),
    [
        ({"train": KNOWN, "test": KNOWN}, {}, {"train": "train", "test": "test"}),
        (
            {"train": KNOWN, "validation": KNOWN, "test": KNOWN},
            {},
            {"train": "train", "val": "validation", "test": "test"},
        ),
        ({"train": KNOWN, "validation": KNOWN}, {}, {"train": "train", "test": "validation"}),
        (
            {"train": KNOWN, "validation": KNOWN, "test": UNKNOWN},
            {},
            {"train": "train", "test": "validation, because test has no labels"},
        ),
        ({"train": KNOWN, "test": UNKNOWN}, {}, {"train": "train"}),
        ({"train": KNOWN}, {}, {"train": "train"}),
        ({"train": KNOWN, "extra": KNOWN}, {}, {"train": "train"}),
        ({"train": KNOWN, "extra": KNOWN}, {"test_split": "extra"}, {"train": "train", "test": "extra"}),
        (
            {"train": KNOWN, "validation": KNOWN, "test": KNOWN},
            {"test_split": "validation"},
            {"train": "train", "test": "validation"},
        ),
        (
            {"train": KNOWN, "validation": KNOWN, "test_v2": KNOWN},
            {"test_split": "test_v2"},
            {"train": "train", "val": "validation", "test": "test_v2"},
        ),
    ],
)
def test_splits(tmp_path, splits, settings, expected):
    found = source.Source(Data(**prepare(tmp_path, **splits), **settings)).prepare("")
    assert found.origins == expected
    assert set(found.splits) == set(expected)


def cut(images):
    """Returns what the executor makes of the images: the parts of the splits, and their origins."""
    items = {split: images.items(split) for split in images.splits}
    return executor._cut(images, items, seed=0, test_fraction=0.2, val_fraction=0.5)


def test_what_a_set_lacks_is_cut_from_train_and_said_in_one_line(tmp_path, capsys):
    images = source.Source(Data(**prepare(tmp_path, train=(0, 1) * 10))).prepare("")
    parts, origins = cut(images)
    executor._say_split(parts, origins)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "images: 8 train (train), 8 val (50% of each class, config.data.val_fraction), "
        "4 test (20% of each class, config.data.test_fraction)"
    )


def test_a_val_split_of_its_own_leaves_train_whole(tmp_path):
    images = source.Source(Data(**prepare(tmp_path, train=(0, 1), validation=KNOWN, test=KNOWN))).prepare("")
    parts, _ = cut(images)
    assert {split: found.tolist() for split, found in parts.items()} == {
        "train": [0] * 2,
        "val": [1] * 4,
        "test": [2] * 4,
    }


@pytest.mark.parametrize(
    ("features", "supervised", "settings", "expected"),
    [
        ({"picture": IMAGE, "kind": LABEL}, None, {}, ("picture", "kind")),
        ({"mask": IMAGE, "image": IMAGE, "coarse": LABEL, "label": LABEL}, None, {}, ("image", "label")),
        ({"a": IMAGE, "b": IMAGE, "c": LABEL, "d": LABEL}, ("b", "d"), {}, ("b", "d")),
        (
            {"image": IMAGE, "image_right": IMAGE, "label": LABEL, "coarse": LABEL},
            None,
            {"image_feature": "image_right", "label_feature": "coarse"},
            ("image_right", "coarse"),
        ),
        ({"image": FLOAT, "photo": IMAGE, "label": LABEL}, None, {"image_feature": "photo"}, ("photo", "label")),
    ],
)
def test_features(tmp_path, features, supervised, settings, expected):
    found = source.Source(Data(**prepare(tmp_path, features, supervised), **settings)).prepare("")
    assert (found.image, found.label) == expected


@pytest.mark.parametrize(
    ("features", "splits", "settings", "message"),
    [
        ({"text": tfds.features.Text()}, {}, {}, r"strange/1\.0\.0 has no Image feature; found text \(Text\)"),
        ({"image": IMAGE}, {}, {}, r"has no ClassLabel feature; found image \(Image\)"),
        (
            {"a": IMAGE, "b": IMAGE, "label": LABEL},
            {},
            {},
            r"has 2 Image features \(a, b\), and none is called image: name one in config\.data\.image_feature",
        ),
        (
            {"image": IMAGE, "species": LABEL, "breed": LABEL},
            {},
            {},
            r"has 2 ClassLabel features \(\w+, \w+\), and none is called label: name one in "
            r"config\.data\.label_feature",
        ),
        (USUAL, {}, {"image_feature": "photo"}, r"image_feature=photo: .*not among its features.*Image: image\."),
        (USUAL, {}, {"label_feature": "image"}, r"label_feature=image: .* it is a Image\..*ClassLabel: label\."),
        ({"image": FLOAT, "label": LABEL}, {}, {}, r"feature image .* holds float32 images; .*uint8 and uint16"),
        (
            {"video": tfds.features.Video(shape=(None, 4, 4, 3)), "label": LABEL},
            {},
            {},
            r"has no Image feature; found .*video \(Video\)",
        ),
        (
            {"image": IMAGE, "label": tfds.features.ClassLabel(names=["cat"])},
            {"train": (0,) * 4},
            {},
            r"only one class",
        ),
        (USUAL, {"test": KNOWN}, {}, r"has the splits test; expected a split 'train'"),
        (USUAL, {}, {"test_split": "holdout"}, r"test_split: found holdout; expected one of the splits test of the"),
        (USUAL, {}, {"test_split": "train"}, r"test_split: found train; expected one of the splits test of the"),
        (
            USUAL,
            {},
            {"test_split": "train[80%:]"},
            r"test_split: found train\[80%:\]; expected one of the splits test of the",
        ),
        (USUAL, {"train": KNOWN}, {"test_split": "test"}, r"has only the split train. Set .* to an empty text"),
    ],
)
def test_an_unfit_set_is_refused_when_the_pipeline_is_built(tmp_path, features, splits, settings, message):
    with pytest.raises(DataError, match=message):
        TfdsExampleGen(**prepare(tmp_path, features, **splits), **settings)


@pytest.mark.parametrize(
    ("splits", "settings", "message"),
    [
        ({"train": UNKNOWN, "test": KNOWN}, {}, r"labels in its split train that lie outside the 2 classes: -1"),
        ({"train": (0, 1, 0, -1), "test": KNOWN}, {}, r"labels in its split train .*: -1\. Each image needs a class"),
        ({"train": KNOWN, "test": (0, 1, -1)}, {}, r"labels in its split test .*: -1"),
        (
            {"train": KNOWN, "test": UNKNOWN},
            {"test_split": "test"},
            r"test_split=test: no image of this split .* label",
        ),
        ({"train": (0, 0, 0, 1), "test": KNOWN}, {}, r"1 of 2 classes have fewer than 2 training images: dog \(1\)"),
        ({"train": (0, 0, 0), "test": KNOWN}, {}, r"1 of 2 classes have fewer than 2 training images: dog \(0\)"),
    ],
)
def test_labels_that_cannot_be_trained_on_are_refused_before_an_image_is_read(tmp_path, splits, settings, message):
    named = source.Source(Data(**prepare(tmp_path, **splits), **settings))
    with pytest.raises(DataError, match=message):
        cut(named.prepare(""))
