"""pipeline/launch.py: mistakes are answered with one line, at once, and the root is held by one run at a time."""

import json
import os
import subprocess
import sys
import time

import pytest

from pipeline import launch
from pipeline.configs import digits

DIGITS = "--config=pipeline/configs/digits.py"


def _run(*flags):
    command = [sys.executable, "-m", "pipeline.local_runner", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_help_is_answered_without_loading_tensorflow():
    began = time.monotonic()
    done = _run("--help")
    assert "--root" in done.stdout and "--config" in done.stdout and "--beam_pipeline_args" in done.stdout
    # TensorFlow and TFX take over ten seconds to import; the bound is loose, since machines are busy.
    assert time.monotonic() - began < 8
    script = "import sys; from pipeline import launch; sys.exit('tensorflow' in sys.modules or 'tfx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


@pytest.mark.parametrize(
    "flags,said",
    [
        ((DIGITS,), "Flag --root must have a value"),
        (("--root=ROOT",), "Flag --config must have a value"),
        (("--root=ROOT", DIGITS, "--config.search.epoch=3"), 'Did you mean "epochs" instead of "epoch"?'),
        (("--root=ROOT", DIGITS, "--config.search.epochs=many"), "--config.search.epochs=many"),
        (("--root=ROOT", DIGITS, "--config.search.epochs=0"), "config.search.epochs is 0; allowed is 1 or more."),
        (("--root=ROOT", "--config=missing.py"), "missing.py"),
        (("--root=/proc/mdenas", DIGITS), "--root=/proc/mdenas cannot be written"),
    ],
    ids=["no root", "no config", "mistyped key", "wrong type", "impossible value", "no such config", "unwritable root"],
)
def test_a_mistake_is_answered_with_a_line_that_names_it(tmp_path, flags, said):
    done = _run(*(flag.replace("ROOT", str(tmp_path / "root")) for flag in flags))
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_root_in_use_says_who_holds_it(tmp_path):
    with (
        launch._locked(str(tmp_path)),
        pytest.raises(launch.UsageError, match=r"is in use by process \d+ on .*Wait for it"),
        launch._locked(str(tmp_path)),
    ):
        pass
    with launch._locked(str(tmp_path)):  # free again
        pass


def test_an_error_is_one_line_without_beams_notes():
    error = ValueError("bad image\n  a.png [while running 'Map(x)/Decode']")
    assert launch.one_line(error) == "bad image a.png"
    assert launch.one_line(KeyError()) == "KeyError"


class _FailingPush:
    """A runner that ends as a full disk ends the Pusher: a version half copied, an error raised."""

    def run(self, pipeline):
        (pusher,) = (component for component in pipeline.components if component.id == "Pusher")
        base = json.loads(pusher.exec_properties["push_destination"])["filesystem"]["base_directory"]
        os.makedirs(os.path.join(base, "2", "variables"))
        raise OSError("No space left on device")


def test_a_push_that_fails_leaves_no_version_for_tf_serving_to_find(tmp_path):
    (tmp_path / "serving_model" / "1").mkdir(parents=True)
    with pytest.raises(OSError, match="No space left"):
        launch.run(digits.get_config(), str(tmp_path), _FailingPush(), [])
    assert os.listdir(tmp_path / "serving_model") == ["1"]
