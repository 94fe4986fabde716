"""README.md: what a person copies from it works."""

import re

import keras
import numpy as np
from PIL import Image

from models import export
from models.data.image_format import ImageFormat
from tests.support import paths

ROOT = paths.PROJECT
README = (ROOT / "README.md").read_text()


def test_the_lines_that_classify_a_picture_print_the_classes_best_first(tmp_path, monkeypatch, capsys):
    form, names = ImageFormat((8, 8, 3)), ("cat", "Hündin", "猫 and dog")
    for version in ("1795614103", "1795614203"):
        model = keras.Sequential([keras.Input(form.image_shape), keras.layers.Flatten(), keras.layers.Dense(3)])
        bias = [0.0, 2.0, 1.0] if version == "1795614203" else [9.0, 0.0, 0.0]
        model.set_weights([np.zeros((192, 3)), np.array(bias)])
        directory = tmp_path / "runs" / "mine" / "serving_model" / version
        export.export_model(model, str(directory), image_format=form, class_names=names, mean=[0.5] * 3, std=[0.5] * 3)
    Image.new("RGB", (40, 30), "red").save(tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    (lines,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(lines, "README.md", "exec"), {})
    expected = np.exp([2.0, 1.0, 0.0]) / np.exp([2.0, 1.0, 0.0]).sum()
    shown = capsys.readouterr().out.splitlines()
    assert shown == [f"{name} {p:.3f}" for name, p in zip(("Hündin", "猫 and dog", "cat"), expected, strict=True)]


def test_every_config_is_named():
    configs = {path.name for path in (ROOT / "pipeline" / "configs").glob("*.py")} - {"__init__.py", "base.py"}
    assert configs == set(re.findall(r"^\| `(\w+\.py)` \|", README, flags=re.MULTILINE))
