"""Tests of the benchmarks' labelled images."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from benchmarks.search_quality import images
from models.data import dataset
from tests.support import image_fixtures


def zipped(folder, path):
    """The folder as a zip file whose names begin with another folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, f"some/{file.relative_to(folder)}")
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    image_fixtures.write_folder(folder, train=7, test=3, classes=("cat", "dog", "emu"))
    return folder


def test_classes_are_even_and_no_image_is_in_both_parts_nor_a_test_image(folder):
    (train, val), names = images.draw(str(folder), (8, 6), seed=3)
    assert names == ("cat", "dog", "emu")
    assert [label for _, label, _ in train] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [label for _, label, _ in val] == [0, 1, 2, 0, 1, 2]
    drawn = [name for name, _, _ in train + val]
    assert len(set(drawn)) == 14
    for name, label, content in train + val:
        assert name.startswith(f"train/{names[label]}/")
        assert content == (folder / name).read_bytes()
    assert images.draw(str(folder), (8, 6), seed=3) == ([train, val], names)
    assert images.draw(str(folder), (8, 6), seed=4) != ([train, val], names)


def test_folder_and_zip_file_give_the_same_images(folder, tmp_path):
    parts, names = images.draw(str(folder), (6, 6))
    assert images.draw(zipped(folder, tmp_path / "images.zip"), (6, 6)) == (
        [[(f"some/{name}", label, content) for name, label, content in part] for part in parts],
        names,
    )


def test_images_are_resized_and_normalised_by_the_training_images(folder):
    train, val = images.read(str(folder), size=4, train=9, val=6)
    assert train.images.shape == (9, 4, 4, 3)
    assert val.images.shape == (6, 4, 4, 3)
    assert train.labels.tolist() == [0, 1, 2] * 3
    assert len(set(train.ids) | set(val.ids)) == 15
    assert (val.mean, val.std) == (train.mean, train.std)
    ((pixels, labels),) = dataset.batches(train, 9)
    np.testing.assert_allclose(np.mean(pixels, (0, 1, 2)), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(np.std(pixels, (0, 1, 2)), np.ones(3), atol=1e-5)
    assert labels.numpy().tolist() == train.labels.tolist()


def test_resizing_averages_what_lies_under_a_pixel(tmp_path):
    image_fixtures.write_folder(tmp_path, train=2, size=(16, 16))
    train, _ = images.read(str(tmp_path), size=1, train=1, val=1)
    name = train.ids[0].decode().split(" ")[1]
    # Of random pixels: without antialiasing the mean of four.
    np.testing.assert_allclose(train.images[0, 0, 0], np.mean(Image.open(tmp_path / name), (0, 1)), atol=12)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image", r"train/dog/0.png: the image cannot be decoded"),
        (None, "found 3 images of 'dog'; expected enough"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, message):
    image_fixtures.write_folder(tmp_path, train=4)
    wrong = tmp_path / "train" / "dog" / "0.png"
    wrong.unlink() if content is None else wrong.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        images.read(str(tmp_path), size=8, train=4, val=4)


def test_what_holds_no_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"found 0 classes; expected 2 or more"):
        images.draw(str(tmp_path), (1, 1))
    (tmp_path / "file").write_text("text")
    with pytest.raises(ValueError, match="found no zip file"):
        images.draw(str(tmp_path / "file"), (1, 1))
    with pytest.raises(OSError, match="nowhere"):
        images.draw(str(tmp_path / "nowhere"), (1, 1))
