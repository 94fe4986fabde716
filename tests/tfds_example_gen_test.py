"""TfdsExampleGen: what it writes, and what it refuses."""

import collections
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from tfx.types import artifact_utils

from components.tfds_example_gen import executor, source
from components.tfds_example_gen.component import TfdsExampleGen
from models import dataset_info, input
from models.dataset_info import DataError
from tests import image_fixtures


def read(examples):
    """Returns split -> id -> (label, encoded image)."""
    found = {}
    for split in artifact_utils.decode_split_names(examples.split_names):
        pattern = os.path.join(artifact_utils.get_split_uri([examples], split), "*.gz")
        found[split] = {
            image_id.decode(): (int(label), image)
            for batch in input.read_examples(pattern).as_numpy_iterator()
            for image_id, label, image in zip(batch["id"], batch["label"], batch["image"], strict=True)
        }
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return image_fixtures.write_folder(tmp_path_factory.mktemp("images"), train=11, test=2)


@pytest.fixture(scope="module")
def examples(folder, tmp_path_factory):
    return image_fixtures.run_example_gen(tmp_path_factory.mktemp("run"), image_folder=folder, val_fraction=0.4)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The digits prepared in several files, and the examples made of them."""
    directory = str(tmp_path_factory.mktemp("digits"))
    builder = tfds.builder("digits", data_dir=directory)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return builder, image_fixtures.run_example_gen(directory, name="digits", data_dir=directory)


def test_a_folder_is_taken_over_file_by_file(folder, examples):
    found = read(examples)
    assert list(found) == ["train", "val", "test"]
    written = {path: entry for images in found.values() for path, entry in images.items()}
    expected = {
        str(path.relative_to(folder)): (["cat", "dog"].index(path.parent.name), path.read_bytes())
        for path in pathlib.Path(folder).glob("*/*/*")
    }
    assert written == expected
    assert sum(map(len, found.values())) == len(expected)
    assert all(path.startswith("test/") for path in found["test"])


def test_val_is_the_stated_share_of_the_training_images_exactly(examples):
    found = read(examples)
    assert (len(found["train"]), len(found["val"])) == (13, 9)  # of 22, 0.4 * 22 = 8.8


def test_the_cut_depends_on_ids_and_seed_alone():
    ids = [f"train/cat/{number}.png" for number in range(1000)]

    def val(ids, seed=0, fraction=0.5):
        bound = executor.val_bound(ids, fraction, seed)
        return {image_id for image_id in ids if executor.order_key(image_id, seed) < bound}

    assert len(val(ids)) == 500
    assert val(ids) == val(ids[::-1])
    assert 400 < len(val(ids) ^ val(ids, seed=1)) < 600
    assert len((val(ids) ^ val([*ids, "train/cat/new.png"])) - {"train/cat/new.png"}) <= 1
    assert val(ids, fraction=0.2) < val(ids)


def test_tfds_images_are_taken_over_whatever_files_they_lie_in(digits):
    builder, examples = digits
    assert len(builder.info.splits["train"].shard_lengths) == 3
    expected, in_order = {}, tfds.ReadConfig(interleave_cycle_length=1)
    for split in ("train", "test"):
        for index, example in enumerate(tfds.as_numpy(builder.as_dataset(split=split, read_config=in_order))):
            expected[f"digits/{split}/{index:0{4 if split == 'train' else 3}}"] = example
    found = read(examples)
    written = {image_id: entry for images in found.values() for image_id, entry in images.items()}
    assert written.keys() == expected.keys()
    for image_id, (label, encoded) in written.items():
        assert label == expected[image_id]["label"]
        np.testing.assert_array_equal(tf.io.decode_png(encoded), expected[image_id]["image"])
    assert (len(found["train"]), len(found["val"]), len(found["test"])) == (719, 718, 360)


def test_facts_of_the_data_travel_with_the_examples(folder, examples):
    info = dataset_info.load(examples.uri)
    assert info.class_names == ("cat", "dog")
    counts = {
        split: tuple(collections.Counter(label for label, _ in images.values())[label] for label in (0, 1))
        for split, images in read(examples).items()
    }
    assert info.counts == counts
    assert (info.height, info.width, info.channels) == ((8, 8), (8, 8), (3, 3))
    assert json.loads(examples.get_string_custom_property("class_names")) == ["cat", "dog"]


def test_normalization_is_that_of_all_training_images(folder, examples):
    normalization = dataset_info.load(examples.uri).normalization
    pixels = np.stack([np.asarray(Image.open(path)) for path in pathlib.Path(folder).glob("train/*/*")]) / 255
    np.testing.assert_allclose(normalization[3].mean, pixels.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(normalization[3].std, pixels.std((0, 1, 2)), rtol=1e-6)
    grey = pixels @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose((normalization[1].mean, normalization[1].std), [[grey.mean()], [grey.std()]], rtol=1e-6)


def test_the_same_run_twice_writes_the_same_facts(folder, examples, tmp_path):
    again = image_fixtures.run_example_gen(tmp_path, image_folder=folder, val_fraction=0.4)
    assert dataset_info.load(again.uri) == dataset_info.load(examples.uri)
    assert read(again) == read(examples)


@pytest.fixture
def damaged(tmp_path):
    """A folder in which 3 of 24 images cannot be decoded, and another is grey and of another size."""
    folder = pathlib.Path(image_fixtures.write_folder(tmp_path / "images", train=10))
    whole = image_fixtures.encode(1, size=(40, 40), file_format="JPEG")
    (folder / "train/cat/0.png").write_bytes(whole[: len(whole) // 2])
    (folder / "train/dog/1.png").write_bytes(b"no image")
    (folder / "test/dog/1.png").write_bytes(b"")
    (folder / "train/cat/1.png").write_bytes(image_fixtures.encode(2, size=(5, 9), mode="L"))
    return str(folder)


def test_undecodable_images_are_refused_by_name(damaged, tmp_path):
    with pytest.raises(DataError) as error:
        image_fixtures.run_example_gen(tmp_path, image_folder=damaged, max_corrupt_share=0.1)
    message = str(error.value)
    assert "3 of 24 images cannot be decoded" in message
    assert "config.data.max_corrupt_share allows 0.1" in message
    assert "train/cat/0.png: " in message
    assert "train/dog/1.png: not a PNG or JPEG file" in message
    assert "test/dog/1.png: the file is empty" in message


def test_undecodable_images_are_left_out_up_to_the_stated_share(damaged, tmp_path):
    examples = image_fixtures.run_example_gen(tmp_path, image_folder=damaged, max_corrupt_share=0.125)
    found = read(examples)
    assert sum(map(len, found.values())) == 21
    assert "test/dog/1.png" not in found["test"]
    info = dataset_info.load(examples.uri)
    assert [image_id for image_id, _ in info.undecodable] == ["test/dog/1.png", "train/cat/0.png", "train/dog/1.png"]
    assert sum(map(sum, info.counts.values())) == 21

    # Different images are kept as they are; how to make them alike is for training to say.
    assert (info.height, info.width, info.channels) == ((8, 9), (5, 8), (1, 3))
    assert info.image_shape(image_size=16, channels=1) == (16, 16, 1)
    with pytest.raises(DataError, match=r"heights 8 to 9, widths 5 to 8.*config\.data\.image_size"):
        info.image_shape(channels=1)
    with pytest.raises(DataError, match=r"config\.data\.channels"):
        info.image_shape(image_size=16)


def test_a_class_that_only_one_part_has_is_refused(tmp_path):
    folder = image_fixtures.write_folder(tmp_path / "images", train=1)
    with pytest.raises(DataError, match=r"no image of 1 of 2 classes \((cat|dog)\).*config\.data\.val_fraction=0\.5"):
        image_fixtures.run_example_gen(tmp_path, image_folder=folder)


def _without(*path):
    return lambda root: shutil.rmtree(root.joinpath(*path))


def _empty(*path):
    def change(root):
        shutil.rmtree(root.joinpath(*path))
        root.joinpath(*path).mkdir()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without(), r"image_folder=.*images is not a directory"),
        (_without("train"), r"has no directory train/; found: test\."),
        (_without("test"), r"has no directory test/; found: train\."),
        (_without("test", "dog"), r"differ \(only in train/: dog\)"),
        (_without("train", "cat"), r"differ \(only in test/: cat\)"),
        (_empty("train", "cat"), r"train/cat holds no image \(\.png, \.jpg, \.jpeg\); 1 of 2 classes are empty"),
        (_empty("test"), r"differ \(only in train/: cat, dog\)"),
        (
            lambda root: (_without("train", "dog")(root), _without("test", "dog")(root)),
            r"has 1 class directories \(cat\)",
        ),
    ],
)
def test_an_unfit_folder_is_refused_when_the_pipeline_is_built(tmp_path, change, message):
    root = pathlib.Path(image_fixtures.write_folder(tmp_path / "images"))
    change(root)
    with pytest.raises(DataError, match=message):
        TfdsExampleGen(image_folder=str(root))


def test_files_that_are_no_images_by_their_names_are_warned_of(tmp_path, caplog):
    root = pathlib.Path(image_fixtures.write_folder(tmp_path / "images"))
    image_fixtures.run_example_gen(tmp_path / "without", image_folder=str(root))
    assert "not used" not in caplog.text
    for name in ("one.webp", "two.webp", "notes.txt", "README", ".hidden"):
        (root / "train" / "cat" / name).write_bytes(b"")
    image_fixtures.run_example_gen(tmp_path / "with", image_folder=str(root))
    (warning,) = (record.getMessage() for record in caplog.records if "not used" in record.getMessage())
    assert "4 files are not used (2 of .webp, 1 of " in warning and "1 of no ending" in warning
    assert warning.endswith("images end in .png, .jpg, .jpeg.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"give config\.data\.image_folder=DIR or config\.data\.name"),
        ({"name": "no_such_data"}, r"config\.data\.name is 'no_such_data': TFDS .* knows no such data set"),
        ({"name": "mnist"}, r"'mnist' 3\.0\.1 is not prepared in .*config\.data\.download=True"),
        ({"name": "mnist", "version": "0.0.7"}, r"config\.data\.version='0\.0\.7'.*0\.0\.7"),
        ({"name": "mnist/no_such_config"}, r"config\.data\.name='mnist/no_such_config'.*no_such_config"),
        ({"name": "digits", "val_fraction": 1.0}, r"config\.data\.val_fraction is 1\.0"),
        ({"name": "digits", "max_corrupt_share": -0.1}, r"config\.data\.max_corrupt_share is -0\.1"),
    ],
)
def test_unfit_arguments_are_refused_when_the_pipeline_is_built(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        TfdsExampleGen(**{"data_dir": str(tmp_path), **arguments})


class Unlabelled(tfds.core.GeneratorBasedBuilder):
    """A data set of another kind."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({"text": tfds.features.Text()}))

    def _split_generators(self, _):
        return {"train": iter([(0, {"text": "a"})])}

    def _generate_examples(self):
        pass


def test_a_data_set_of_another_kind_is_refused(tmp_path):
    Unlabelled(data_dir=str(tmp_path)).download_and_prepare()
    with pytest.raises(DataError, match=r"unlabelled/1\.0\.0 has no Image feature; found are text"):
        TfdsExampleGen("unlabelled", data_dir=str(tmp_path))


def test_a_failed_download_says_which_data_set_and_where(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("tensorflow_datasets.core.DatasetBuilder.download_and_prepare", fail)
    with pytest.raises(DataError, match=rf"mnist/3\.0\.1 could not be prepared in {tmp_path}.*no route to host"):
        source.Source("mnist", data_dir=str(tmp_path), download=True).prepare("")


def fingerprint(**arguments):
    return TfdsExampleGen(**arguments).exec_properties["fingerprint"]


def test_fingerprint_of_a_folder_changes_with_its_files(tmp_path):
    folder = image_fixtures.write_folder(tmp_path)
    first = fingerprint(image_folder=folder)
    assert fingerprint(image_folder=folder) == first
    image = tmp_path / "train/cat/0.png"
    content, stat = image.read_bytes(), image.stat()

    image.write_bytes(content[:-1] + b"x")
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**6))
    changed = fingerprint(image_folder=folder)
    image.rename(tmp_path / "train/cat/renamed.png")
    renamed = fingerprint(image_folder=folder)
    assert len({first, changed, renamed}) == 3


def test_fingerprint_of_a_prepared_data_set_changes_with_its_files(digits, tmp_path):
    builder, _ = digits
    shutil.copytree(builder.data_dir, tmp_path / "copy/1.0.0")
    first = fingerprint(name="copy", data_dir=str(tmp_path))
    assert fingerprint(name="copy", data_dir=str(tmp_path)) == first
    os.utime(next((tmp_path / "copy/1.0.0").glob("*train*")), ns=(0, 0))
    assert fingerprint(name="copy", data_dir=str(tmp_path)) != first


def test_fingerprint_of_a_download_is_the_same_before_and_after(tmp_path):
    before = fingerprint(name="mnist", data_dir=str(tmp_path), download=True)
    assert before.startswith("mnist/3.0.1 ")
    assert before == fingerprint(name="mnist", data_dir=str(tmp_path), download=True)
