"""benchmarks/search_quality/lite0.py: PyTorch's old format without PyTorch."""

import collections
import io
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from benchmarks.search_quality import lite0


def _file(monkeypatch, function="_rebuild_tensor_v2") -> bytes:
    """Returns what `torch.save` wrote: one tensor that was transposed before it was saved, and its last values."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})

    def rebuild(*_):
        raise AssertionError("the function of the file was called")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", function
    setattr(utils, function, rebuild)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Values:
        pass

    class Tensor:
        def __init__(self, *arguments):
            self.arguments = arguments

        def __reduce__(self):
            return rebuild, self.arguments

    class Pickler(pickle.Pickler):
        def persistent_id(self, found):
            return ("storage", torch.FloatStorage, "7", "cpu", 6, None) if isinstance(found, Values) else None

    values, file = Values(), io.BytesIO()
    for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(head, file, protocol=2)
    tensors = {
        "turned": Tensor(values, 0, (3, 2), (1, 3), False, collections.OrderedDict()),
        "end": Tensor(values, 4, (2,), (1,), False, collections.OrderedDict()),
    }
    Pickler(file, protocol=2).dump(collections.OrderedDict(tensors))
    pickle.dump(["7"], file, protocol=2)
    file.write(struct.pack("<q", 6) + np.arange(6, dtype=np.float32).tobytes())
    return file.getvalue()


def test_tensors_have_their_values_also_if_they_were_transposed(monkeypatch):
    found = lite0.read_pytorch(_file(monkeypatch))
    np.testing.assert_array_equal(found["turned"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(found["end"], [4, 5])


def test_nothing_else_in_the_file_is_called(monkeypatch):
    with pytest.raises(KeyError, match=r"torch\._utils\.something"):
        lite0.read_pytorch(_file(monkeypatch, function="something"))
