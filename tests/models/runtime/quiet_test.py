"""models/runtime/quiet.py: what native code writes to stderr is dropped, and later output is not."""

import os

import pytest

from models.runtime.quiet import quiet


def test_stderr_is_silent_in_the_block_alone(capfd):
    with quiet():
        os.write(2, b"noise\n")
    os.write(2, b"after\n")
    with pytest.raises(ValueError, match="wrong"), quiet():
        raise ValueError("wrong")
    os.write(2, b"last\n")
    assert capfd.readouterr().err == "after\nlast\n"
