"""Folders of images as people have them: which files count, and what is said of the others."""

import os
import pathlib

import pytest
import tensorflow as tf

from components.tfds_example_gen import folder, source
from components.tfds_example_gen.component import TfdsExampleGen
from models.data.dataset_info import DataError
from models.settings import Data
from pipeline import validation
from pipeline.configs import image_folder

IMAGES = ["a.png", "b.jpg", "c.JPEG"]


def lay_out(root: pathlib.Path, *paths: str) -> str:
    """Makes empty files, which are images as far as a scan can tell: a path with a trailing slash gets three."""
    for path in paths:
        for file in [path + name for name in IMAGES] if path.endswith("/") else [path]:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(b"")
    return str(root)


def both(split: str) -> list[str]:
    """Returns paths for `lay_out`: images of two classes in a split's folder."""
    return [f"{split}cat/", f"{split}dog/"]


def found(root, *paths):
    """Returns split -> class -> how many images, after a scan of what was laid out."""
    scanned = folder.scan(lay_out(root, *paths))
    assert {split: len(found) for split, found in scanned.paths.items()} == {
        split: sum(classes.values()) for split, classes in scanned.counts.items()
    }
    return scanned.counts


TWO = {"cat": 3, "dog": 3}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        # the splits' folders
        ([*both("")], {"train": TWO}),
        ([*both("train/")], {"train": TWO}),
        ([*both("train/"), *both("test/")], {"train": TWO, "test": TWO}),
        ([*both("train/"), *both("val/"), *both("test/")], {"train": TWO, "val": TWO, "test": TWO}),
        ([*both("train/"), *both("valid/"), *both("test/")], {"train": TWO, "val": TWO, "test": TWO}),
        ([*both("train/"), *both("validation/"), *both("test/")], {"train": TWO, "val": TWO, "test": TWO}),
        ([*both("train/"), *both("val/")], {"train": TWO, "test": TWO}),
        ([*both("train/"), *both("validation/")], {"train": TWO, "test": TWO}),
        ([*both("Train/"), *both("TEST/")], {"train": TWO, "test": TWO}),
        ([*both("Training/"), *both("Testing/")], {"train": TWO, "test": TWO}),
        # whatever else there is
        (
            [*both("train/"), *both("test/"), *both("originals/"), "README.txt", ".git/x.png"],
            {"train": TWO, "test": TWO},
        ),
        ([*both("train/"), *both("test/"), "runs/mine/artifacts/x.png"], {"train": TWO, "test": TWO}),
        ([*both(""), "labels.csv", "loose.png", ".git/objects/x.png", "__MACOSX/cat/._a.png"], {"train": TWO}),
        ([*both("train/"), *both("test/"), "train/.ipynb_checkpoints/", "test/.thumbs/"], {"train": TWO, "test": TWO}),
        ([*both(""), "cat/._a.png", "cat/.DS_Store", "dog/Thumbs.db", "cat/@eaDir/a.png"], {"train": TWO}),
        # images at any depth; the class is the first level
        (
            [*both("train/"), *both("test/"), "train/cat/indoor/", "train/cat/a/b/c/"],
            {"train": {"cat": 9, "dog": 3}, "test": TWO},
        ),
        ([*both(""), "cat/x.jpg/"], {"train": {"cat": 6, "dog": 3}}),
        (["a.jpg/", "b.jpg/"], {"train": {"a.jpg": 3, "b.jpg": 3}}),
        # classes that are called like splits
        (["car/", "train/", "plane/"], {"train": {"car": 3, "plane": 3, "train": 3}}),
        (["test/", "control/"], {"train": {"control": 3, "test": 3}}),
        # names
        (["Cat/", "cat/"], {"train": {"Cat": 3, "cat": 3}}),
        (["a,b\nc/", "[x]*?{y}/"], {"train": {"[x]*?{y}": 3, "a,b\nc": 3}}),
        (["über∕straße/", "🐈/"], {"train": {"über∕straße": 3, "🐈": 3}}),
        ([f"{'x' * 255}/", f"cat/{'y' * 251}.png"], {"train": {"cat": 1, "x" * 255: 3}}),
        (["cat/a.png", "cat/A.png", "cat/a.PNG", "dog/a.png"], {"train": {"cat": 3, "dog": 1}}),
        # endings
        (
            [f"{name}/x{ending}" for name in ("cat", "dog") for ending in folder.READABLE],
            {"train": {"cat": 7, "dog": 7}},
        ),
    ],
)
def test_what_counts(tmp_path, paths, expected):
    assert found(tmp_path, *paths) == expected


def test_classes_and_images_come_in_the_order_of_their_names(tmp_path):
    scanned = folder.scan(lay_out(tmp_path, "b/2.png", "b/10.png", "b/1/z.png", "B/x.png", "a b/x.png", "a/x.png"))
    assert scanned.class_names == ("B", "a", "a b", "b")
    paths, labels = scanned.items("train")
    assert list(paths) == ["B/x.png", "a/x.png", "a b/x.png", "b/1/z.png", "b/10.png", "b/2.png"]
    assert labels.tolist() == [0, 1, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (None, r"image_folder=.* is not a folder"),
        ([], r"has 0 class folders; expected 2 or more.*cat/1\.jpg"),
        (["a.png", "b.png"], r"has 0 class folders"),
        (["cat/"], r"has 1 class folders \(cat\); expected 2 or more"),
        ([*both("images/")], r"1 class folders \(images\).*config\.data\.image_folder=.*/images\?"),
        ([*both("data/train/"), *both("data/test/")], r"config\.data\.image_folder=.*/data\?"),
        ([*both("test/")], r"has no folder train/; found: test; expected train/<class>/ beside test/"),
        ([*both("val/"), *both("test/")], r"has no folder train/; found: test, val"),
        (["train/a.png", "test/a.png"], r"/train has no class folders.*Put the images into train/<class>/"),
        ([*both("train/"), "test/a.png"], r"/test has no class folders.*or rename test/ so that it is skipped"),
        ([*both("train/"), *both("val/"), *both("valid/")], r"has val/ and valid/, which mean the same: keep one"),
        ([*both("train/"), *both("Train/")], r"has Train/ and train/, which mean the same"),
        ([*both("train/"), "test/cat/"], r"differ \(only in train/: dog\)"),
        ([*both("train/"), *both("test/"), "test/fox/"], r"differ \(only in test/: fox\)"),
        ([*both("train/"), *both("test/"), "val/cat/"], r"differ \(only in train/: dog\)"),
        ([*both("train/"), "val/Cat/", "val/dog/"], r"differ \(only in train/: cat; only in val/: Cat\)"),
        (
            [*both("train/"), *both("test/"), "train/fox/x.txt", "test/fox/"],
            r"train/fox contains no image \(\.png, .*1 of 3",
        ),
        (["cat/", "dog/notes.txt"], r"/dog contains no image \(\.png, .*\.gif\); 1 of 2 classes are empty"),
        (["cat/", "dog/.a.png"], r"/dog contains no image"),
        ([*both(""), "fox/a.png"], r"1 of 3 classes have fewer than 2 training images: fox \(1\)"),
        (["cat/a.png", "dog/a.png", "fox/"], r"2 of 3 classes have fewer than 2 training images: cat \(1\), dog \(1\)"),
        (["train/cat/a.png", "train/dog/", *both("val/")], r"1 of 2 classes have fewer than 2 .*: cat \(1\)"),
        (
            [*both(""), "cat/x.webp", "cat/y.WEBP", "dog/z.tiff"],
            r"3 of 9 images are of kinds that cannot be read \(2 of "
            r"\.webp, 1 of \.tiff: cat/x\.webp, cat/y\.WEBP, dog/z\.tiff\)\. "
            r"Convert them to PNG or JPEG.*config\.data\.max_corrupt_share",
        ),
    ],
)
def test_an_unfit_folder_is_refused_in_one_line_when_the_pipeline_is_built(tmp_path, paths, message):
    root = str(tmp_path / "none") if paths is None else lay_out(tmp_path, *paths)
    with pytest.raises(DataError, match=message) as error:
        TfdsExampleGen(image_folder=root)
    assert "\n" not in str(error.value)


def test_one_training_image_a_class_is_enough_beside_a_val_folder(tmp_path):
    lay_out(tmp_path, "train/cat/a.png", "train/dog/a.png", *both("val/"), *both("test/"))
    TfdsExampleGen(image_folder=str(tmp_path))


@pytest.mark.parametrize("what", ["file", "folder", "class"])
def test_names_that_are_no_text_are_refused_by_name(tmp_path, what):
    lay_out(tmp_path, *both(""))
    path = {"file": b"cat/caf\xe9.png", "folder": b"cat/caf\xe9/x.png", "class": b"caf\xe9/x.png"}[what]
    path = os.fsencode(tmp_path) + b"/" + path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "wb").close()
    with pytest.raises(DataError, match=r"caf\\xe9.*: the name is not UTF-8.*Rename it") as error:
        folder.scan(str(tmp_path))
    str(error.value).encode()


def test_names_that_are_no_text_do_no_harm_to_what_is_passed_over(tmp_path):
    lay_out(tmp_path, *both("train/"), *both("test/"))
    open(os.fsencode(tmp_path) + b"/train/cat/caf\xe9.txt", "wb").close()
    assert folder.scan(str(tmp_path)).others == {".txt": 1}


def test_links_are_followed_and_loops_refused(tmp_path):
    lay_out(tmp_path / "elsewhere", "fox/")
    lay_out(tmp_path / "images", *both(""))
    (tmp_path / "images/fox").symlink_to(tmp_path / "elsewhere/fox")
    (tmp_path / "images/cat/gone.png").symlink_to(tmp_path / "nowhere.png")  # told of as undecodable
    assert folder.scan(str(tmp_path / "images")).counts["train"] == {"cat": 4, "dog": 3, "fox": 3}
    folder.scan(str(tmp_path / "images")).fingerprint()
    (tmp_path / "images/cat/loop").symlink_to(tmp_path / "images/cat")
    with pytest.raises(DataError, match=r"images/cat/loop is a link to .*/cat, which contains it"):
        folder.scan(str(tmp_path / "images"))
    (tmp_path / "images/cat/loop").unlink()
    (tmp_path / "images/cat/self").symlink_to("self")
    assert folder.scan(str(tmp_path / "images")).counts["train"]["cat"] == 4


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    lay_out(tmp_path, *both(""))
    real = os.scandir

    def refuse(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"/dog cannot be read: Permission denied\."):
        folder.scan(str(tmp_path))


def warnings(caplog, root):
    caplog.clear()
    source.Source(Data(image_folder=root)).prepare("")
    return [record.getMessage() for record in caplog.records]


def test_what_is_passed_over_is_named_in_one_warning_each(tmp_path, caplog):
    assert warnings(caplog, lay_out(tmp_path / "tidy", *both("train/"), *both("test/"))) == []
    paths = [*both("train/"), *both("test/"), "originals/", "LICENSE", "train/cat/one.txt", "train/cat/sub/two.txt"]
    root = lay_out(tmp_path / "split", *paths, "train/cat/README", "train/loose.png")
    assert warnings(caplog, root) == [
        f"{root}: skipped beside train/, test/: LICENSE, originals/.",
        f"{root}: 4 files are not used (2 of .txt, 1 without an ending, 1 images directly in train/); "
        "images end in .png, .jpg, .jpeg, .jpe, .jfif, .bmp, .gif.",
    ]
    root = lay_out(tmp_path / "flat", *both(""), "labels.csv")
    assert warnings(caplog, root) == [f"{root}: skipped beside the folders of classes: labels.csv."]


def test_kinds_that_cannot_be_read_may_be_left_out_up_to_a_share(tmp_path):
    root = lay_out(tmp_path, *both(""), "cat/x.webp", "dog/y.heic")
    with pytest.raises(DataError, match=r"2 of 8 images.*now 0\.24"):
        source.Source(Data(image_folder=root, max_corrupt_share=0.24)).check()
    source.Source(Data(image_folder=root, max_corrupt_share=0.25)).check()


def test_a_home_directory_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    lay_out(tmp_path / "photos", *both(""))
    TfdsExampleGen(image_folder="~/photos")
    config = image_folder.get_config()
    config.data.image_folder = "~/photos"
    validation.validate(config)


def test_an_object_store_is_scanned_by_the_same_rules():
    for split in ("train", "test"):
        for name in ("cat/a.png", "cat/deep/b.png", "dog/a.png", "dog/c.txt", ".hidden/a.png"):
            path = f"ram://image_folder_test/{split}/{name}"
            tf.io.gfile.makedirs(os.path.dirname(path))
            with tf.io.gfile.GFile(path, "w") as file:
                file.write(name)
    scanned = folder.scan("ram://image_folder_test")
    assert list(scanned.paths["train"]) == ["train/cat/a.png", "train/cat/deep/b.png", "train/dog/a.png"]
    assert scanned.counts["train"] == {"cat": 2, "dog": 1}
    assert [load() for load in scanned.reader.read("test", 0, scanned.items("test")[0])] == [
        b"cat/a.png",
        b"cat/deep/b.png",
        b"dog/a.png",
    ]
    assert scanned.fingerprint() == folder.scan("ram://image_folder_test").fingerprint()


def test_where_the_splits_come_from_is_told(tmp_path):
    root = lay_out(tmp_path, *both("train/"), *both("Valid/"))
    assert folder.scan(root).origins == {"train": "train/", "test": "Valid/, because there is no test/"}
