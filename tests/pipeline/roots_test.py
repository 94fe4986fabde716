"""pipeline/roots.py: what --root may be."""

import os

import pytest

from pipeline import roots


@pytest.mark.parametrize(
    "root,said",
    [
        ("", "--root is empty"),
        ("runs/[1]", "contains the character '['"),
        ("runs/a*", "contains the character '*'"),
        ("what?", "contains the character '?'"),
        ("back\\slash", "with which TFX cannot find files"),
        ("line\nbreak", "with which TFX cannot find files"),
        ("caf\udce9", "is not UTF-8"),
        ("gs://bucket/run", "is an address"),
        ("~nobody-of-this-name/run", "there is no user 'nobody-of-this-name'"),
        ("a_file", "is a file"),
    ],
)
def test_a_root_that_cannot_be_is_refused_with_the_reason(tmp_path, monkeypatch, root, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").write_text("")
    with pytest.raises(roots.UsageError) as error:
        roots.resolve(root, "")
    assert said in str(error.value)
    assert os.listdir(tmp_path) == ["a_file"]


@pytest.mark.parametrize(
    "root,path",
    [
        ("run", "run"),
        ("run/", "run"),
        ("./x/../run", "run"),
        ("mit Leerzeichen/ünïcode 画", "mit Leerzeichen/ünïcode 画"),
        ("~/run", "home/run"),
        ("link", "run"),
        ("link/inner", "run/inner"),
    ],
)
def test_a_root_is_known_by_one_path(tmp_path, monkeypatch, root, path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "link").symlink_to("run")
    assert roots.resolve(root, "") == str(tmp_path / path)


@pytest.mark.parametrize("name", ["artifacts", "checkpoints", "serving_model"])
def test_a_file_where_a_folder_of_the_run_belongs_is_told_of_before_the_run(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(roots.UsageError, match=f"{name} is not a folder that can be written"):
        roots.resolve(str(tmp_path), "")


@pytest.mark.parametrize("name", ["metadata.sqlite", "pipeline.log", "summary.json"])
def test_a_folder_where_a_file_of_the_run_belongs_is_told_of_before_the_run(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(roots.UsageError, match=f"{name} is not a file that can be written"):
        roots.resolve(str(tmp_path), "")


@pytest.mark.parametrize(
    "root,images,allowed",
    [
        ("images", "images", False),
        ("images/run", "images", False),
        ("images/train/run", "images/", False),
        ("link/run", "images", False),
        ("images/run", "link", False),
        ("images2", "images", True),
        ("run", "run/images", True),
        ("images/run", "gs://bucket/images", True),
        ("images/run", "", True),
    ],
)
def test_a_root_among_the_images_is_refused(tmp_path, monkeypatch, root, images, allowed):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to("images")
    if allowed:
        roots.resolve(root, images)
    else:
        with pytest.raises(roots.UsageError, match="is inside config.data.image_folder"):
            roots.resolve(root, images)
