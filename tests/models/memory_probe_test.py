"""models/memory_probe.py: measured in a process of its own."""

import json
import subprocess
import sys

from models.memory import Need
from pipeline.configs import digits
from tests.support.configs import DIGITS, trained

GB = 10**9


def test_the_child_measures_a_space_of_ones_own():
    config = trained(digits, **DIGITS)
    config.space.name = "tests.support.tiny_space"
    asked = {"stage": "search", "config": config.to_dict(), "image_shape": [32, 32, 3], "classes": 10}
    command = [sys.executable, "-m", "models.memory_probe"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["path"] == dict.fromkeys(("block_0", "block_1", "block_2"), "conv_3x3")
    need = Need(measured["host"]["fixed"], measured["host"]["per_image"])
    assert 0.2 * GB < need.at(64) < 2 * GB
