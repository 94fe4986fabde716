"""TfdsExampleGen: what it writes, and what it refuses."""

import collections
import io
import itertools
import json
import os
import pathlib
import pickle
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from tfx.types import artifact_utils

from components.tfds_example_gen import plan, shards, source
from components.tfds_example_gen.component import TfdsExampleGen
from models.data import dataset_info, preprocessing
from models.data.dataset_info import DataError
from models.data.examples import read_examples
from models.data.image_format import ImageFormat
from models.settings import Data
from tests.support import image_fixtures


def read(examples):
    """Returns split -> id -> (label, encoded image)."""
    found = {}
    for split in artifact_utils.decode_split_names(examples.split_names):
        pattern = os.path.join(artifact_utils.get_split_uri([examples], split), "*.gz")
        found[split] = {
            image_id.decode(): (int(label), image)
            for batch in read_examples(pattern).as_numpy_iterator()
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


def test_each_class_gives_the_stated_share_of_its_training_images(examples):
    info = dataset_info.load(examples.uri)
    assert info.counts == {"train": (7, 7), "val": (4, 4), "test": (2, 2)}  # of 11 each, 0.4 * 11 = 4.4
    assert info.origins == {
        "train": "train/",
        "val": "40% of each class, config.data.val_fraction",
        "test": "test/",
    }


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
    assert (len(found["train"]), len(found["val"]), len(found["test"])) == (717, 720, 360)


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


def statistics(pixels):
    return pixels.mean((0, 1, 2)) / 255, pixels.std((0, 1, 2)) / 255


def test_normalization_is_that_of_all_images_but_those_of_test(folder, examples):
    normalization = dataset_info.load(examples.uri).normalization
    assert set(normalization) == {3}  # no other number of channels can be trained on
    pixels = np.stack([np.asarray(Image.open(path)) for path in pathlib.Path(folder).glob("train/*/*")])
    np.testing.assert_allclose((normalization[3].mean, normalization[3].std), statistics(pixels), rtol=1e-6)


def test_normalization_is_that_of_the_images_that_are_trained_on(folder, tmp_path):
    examples = image_fixtures.run_example_gen(tmp_path, image_folder=folder, image_size=4, channels=1)
    normalization = dataset_info.load(examples.uri).normalization
    image_format = ImageFormat((4, 4, 1))
    paths = pathlib.Path(folder).glob("train/*/*")
    pixels = np.stack([preprocessing.decode_image(path.read_bytes(), image_format) for path in paths])
    np.testing.assert_allclose((normalization[1].mean, normalization[1].std), statistics(pixels), rtol=1e-6)


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


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A flat folder of large images of several kinds, most of which are not square."""
    root = tmp_path_factory.mktemp("photos")
    sizes = [(40, 30), (30, 40), (33, 33), (8, 8), (5, 9), (64, 64)]
    kinds = [("RGB", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "BMP")]
    for label in ("cat", "dog"):
        (root / label).mkdir()
        for number, ((mode, file_format), size) in enumerate(itertools.product(kinds, sizes)):
            encoded = image_fixtures.encode(number, size, mode, file_format)
            (root / label / f"{number}.{file_format.lower()}").write_bytes(encoded)
    return str(root)


@pytest.mark.parametrize(("resize", "channels"), [("crop", 3), ("pad", 3), ("squash", 1)])
def test_stored_pictures_decode_as_the_files_would(photos, tmp_path, resize, channels):
    examples = image_fixtures.run_example_gen(
        tmp_path, image_folder=photos, image_size=8, channels=channels, resize=resize, background="#102030"
    )
    image_format = ImageFormat((8, 8, channels), resize, (0x10, 0x20, 0x30))
    kept = 0
    for images in read(examples).values():
        for path, (_, stored) in images.items():
            encoded = pathlib.Path(photos, path).read_bytes()
            expected = preprocessing.decode_image(encoded, image_format)
            np.testing.assert_array_equal(preprocessing.decode_image(stored, image_format), expected)
            kept += stored == encoded
            if stored != encoded:
                np.testing.assert_array_equal(tf.io.decode_png(stored), expected)
    assert kept == 12  # those of 8x8 need no change
    info = dataset_info.load(examples.uri)
    assert (info.height, info.width, info.stored) == ((8, 64), (5, 64), "resized")


def test_files_are_stored_as_they_are_where_that_is_asked_for(photos, tmp_path):
    examples = image_fixtures.run_example_gen(tmp_path, image_folder=photos, image_size=8, store="original")
    for images in read(examples).values():
        for path, (_, stored) in images.items():
            assert stored == pathlib.Path(photos, path).read_bytes()
    assert dataset_info.load(examples.uri).stored == "original"


def test_grey_and_coloured_pictures_keep_their_channels_where_none_are_given(photos, tmp_path):
    examples = image_fixtures.run_example_gen(tmp_path, image_folder=photos, image_size=16)
    for images in read(examples).values():
        for path, (_, stored) in images.items():
            grey = Image.open(os.path.join(photos, path)).mode == "L"
            assert Image.open(io.BytesIO(stored)).mode == ("L" if grey else "RGB")
    assert set(dataset_info.load(examples.uri).normalization) == {1, 3}


def content(directory):
    """Returns path -> bytes of all files below a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def two_workers(mode):
    """Returns Beam's options for two workers on this machine."""
    return [f"--direct_running_mode={mode}", "--direct_num_workers=2", "--requirements_file=/dev/null"]


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_the_bytes_do_not_depend_on_beams_workers(photos, tmp_path, mode, monkeypatch):
    monkeypatch.setattr("components.tfds_example_gen.plan._SMALLEST", 7)
    settings = {"image_folder": photos, "image_size": 8, "val_fraction": 0.3}
    image_fixtures.run_example_gen(tmp_path / "one", **settings)
    image_fixtures.run_example_gen(tmp_path / "two", beam_args=two_workers(mode), **settings)
    one, two = (content(tmp_path / name / "examples") for name in ("one", "two"))
    assert one == two
    assert len(one) > 10 and not [path for path in one if "unfinished" in path]


def test_the_bytes_of_a_tfds_data_set_do_not_depend_on_beams_workers(digits, tmp_path):
    builder, examples = digits
    data_dir = str(pathlib.Path(builder.data_dir).parents[1])
    again = image_fixtures.run_example_gen(
        tmp_path, beam_args=two_workers("multi_threading"), name="digits", data_dir=data_dir
    )
    one, two = (content(pathlib.Path(found.uri)) for found in (examples, again))
    assert one == two
    assert len(one) > 20


def test_a_shard_that_is_written_again_takes_the_place_of_the_first(folder, tmp_path):
    images = source.Source(Data(image_folder=folder)).prepare("")
    items = {split: images.items(split) for split in images.splits}
    parts = {"train": np.array([0, 1] * 11), "test": np.full(4, 2)}
    path = str(tmp_path / "plan")
    planned = plan.write(items, parts, path)
    directories = {part: str(tmp_path / part) for part in ("train", "val", "test")}
    for directory in (*directories.values(), str(tmp_path / "unfinished")):
        os.mkdir(directory)
    write = shards.WriteShard(images.reader, Data(), path, directories, str(tmp_path / "unfinished"))
    assert plan.written(planned, directories) == 0
    (tmp_path / "unfinished/train-data_tfrecord-00000-of-00001.gz").write_bytes(b"cut off")
    once = next(write.process(planned[0].place)), content(tmp_path)
    twice = next(write.process(planned[0].place)), content(tmp_path)
    assert once[1] == twice[1] and once[0].counts == twice[0].counts
    assert plan.written(planned, directories) == 22


def test_beams_job_does_not_grow_with_the_number_of_images(tmp_path):
    def job(count):
        images = source.Source(Data(image_folder=image_fixtures.write_folder(tmp_path / str(count), count))).prepare("")
        write = shards.WriteShard(images.reader, Data(), "plan", {"train": "train"}, "unfinished")
        return len(pickle.dumps(write))

    assert job(2) == job(9)


def test_undecodable_images_are_refused_by_name(damaged, tmp_path):
    with pytest.raises(DataError) as error:
        image_fixtures.run_example_gen(tmp_path, image_folder=damaged, max_corrupt_share=0.1)
    message = str(error.value)
    assert "3 of 24 images cannot be decoded" in message
    assert "config.data.max_corrupt_share allows 0.1" in message
    assert "train/cat/0.png: " in message
    assert "train/dog/1.png: not a PNG, JPEG, BMP or GIF file" in message
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, r"give config\.data\.image_folder=DIR or config\.data\.name"),
        ({"name": "no_such_data"}, r"config\.data\.name is 'no_such_data': TFDS .* knows no such data set"),
        ({"name": "mnist"}, r"'mnist' 3\.0\.1 is not prepared in .*config\.data\.download=True"),
        ({"name": "mnist", "version": "0.0.7"}, r"config\.data\.version='0\.0\.7'.*0\.0\.7"),
        ({"name": "mnist/no_such_config"}, r"config\.data\.name='mnist/no_such_config'.*no_such_config"),
        ({"name": "digits", "test_fraction": 0.0}, r"config\.data\.test_fraction: found 0\.0"),
        ({"name": "digits", "val_fraction": 1.0}, r"config\.data\.val_fraction: found 1\.0"),
        ({"name": "digits", "max_corrupt_share": -0.1}, r"config\.data\.max_corrupt_share: found -0\.1"),
    ],
)
def test_unfit_arguments_are_refused_when_the_pipeline_is_built(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        TfdsExampleGen(**{"data_dir": str(tmp_path), **arguments})


def test_a_failed_download_says_which_data_set_and_where(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("tensorflow_datasets.core.DatasetBuilder.download_and_prepare", fail)
    with pytest.raises(DataError, match=rf"mnist/3\.0\.1 could not be prepared in {tmp_path}.*no route to host"):
        source.Source(Data(name="mnist", data_dir=str(tmp_path), download=True)).prepare("")


def fingerprint(**arguments):
    return TfdsExampleGen(**arguments).exec_properties["data_fingerprint"]


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
