"""The operations that networks and supernets are composed of (section 3.1 of the paper).

A cell operation is a function `(channels, strides, norm) -> keras.layers.Layer` from `channels` to
`channels` channels:

| argument | meaning |
|---|---|
| `channels` | channels of its input and of its output |
| `strides` | 1, or 2 to halve the sides (rounded up) |
| `norm` | makes a batch norm layer: call it wherever the operation normalises |

To add one, write such a function anywhere and name it by its dotted path, both in
`config.space.operations` and in genotypes:

    def conv_5x5(channels, strides, norm):
        return Chain([keras.ops.relu, layers.Conv2D(channels, 5, strides), norm()])

    config.space.operations = ("sep_conv_3x3", "skip_connect", "my_package.my_module.conv_5x5")
"""

import functools
import importlib
import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from models.networks import layers

Norm = Callable[[], keras.layers.Layer]
Operation = Callable[[int, int, Norm], keras.layers.Layer]

GROUPS = 4
"""Groups of a grouped convolution; fewer, the greatest common divisor, if the channels cannot be divided by 4."""


class Chain(keras.layers.Layer):
    """Layers one after the other, built at once from the shape of the input.

    Args:
        steps: layers, and plain functions of one tensor that keep its shape.
    """

    def __init__(self, steps: Sequence[Callable], **kwargs):
        super().__init__(**kwargs)
        self.steps = list(steps)

    def build(self, input_shape):
        for step in self.steps:
            if isinstance(step, keras.layers.Layer):
                step.build(input_shape)
                input_shape = step.compute_output_shape(input_shape)

    @property
    def starts_with_relu(self) -> bool:
        """Whether the first step is a ReLU, which operations on the same input can share."""
        return self.steps[0] is ops.relu

    def call(self, images, activated=None):
        """Computes the steps.

        Args:
            images: float (batch, height, width, channels).
            activated: None, or the ReLU of `images`, where the chain starts with one and the caller has it already.
        """
        steps = self.steps
        if activated is not None:
            images, steps = activated, steps[1:]
        for step in steps:
            images = step(images)
        return images

    def compute_output_shape(self, input_shape):
        for step in self.steps:
            if isinstance(step, keras.layers.Layer):
                input_shape = step.compute_output_shape(input_shape)
        return input_shape


class Identity(keras.layers.Layer):
    """Its input, unchanged. Drop path leaves it alone."""

    def build(self, input_shape):
        pass

    def call(self, images):
        return images

    def compute_output_shape(self, input_shape):
        return input_shape


def relu_conv_norm(channels: int, norm: Norm) -> Chain:
    """ReLU, 1x1 convolution to `channels`, batch norm: how a cell prepares its inputs."""
    return Chain([ops.relu, layers.Conv2D(channels), norm()])


def factorized_reduction(channels: int, norm: Norm) -> Chain:
    """ReLU, two shifted 1x1 convolutions of stride 2, batch norm: halves the sides."""
    return Chain([ops.relu, layers.FactorizedReduction(channels), norm()])


def _max_pool(channels, strides, norm):
    return Chain([layers.MaxPool(3, strides), norm()])


def _avg_pool(channels, strides, norm):
    return Chain([layers.AvgPool(3, strides), norm()])


def _skip_connect(channels, strides, norm):
    return Identity() if strides == 1 else factorized_reduction(channels, norm)


def _separable(channels, strides, norm, kernel_size, dilation=1):
    return [
        ops.relu,
        layers.DepthwiseConv2D(kernel_size, strides, dilation),
        layers.Conv2D(channels),
        norm(),
    ]


def _sep_conv(channels, strides, norm, kernel_size):
    return Chain(
        [
            *_separable(channels, strides, norm, kernel_size),
            *_separable(channels, 1, norm, kernel_size),
        ]
    )


def _dil_conv(channels, strides, norm, kernel_size):
    return Chain(_separable(channels, strides, norm, kernel_size, dilation=2))


def _conv(channels, strides, norm, kernel_size):
    return Chain([ops.relu, layers.Conv2D(channels, kernel_size, strides), norm()])


def _group_conv(channels, strides, norm, kernel_size):
    return Chain([ops.relu, layers.GroupConv2D(kernel_size, strides, math.gcd(GROUPS, channels)), norm()])


OPERATIONS: dict[str, Operation] = {
    "max_pool_3x3": _max_pool,
    "avg_pool_3x3": _avg_pool,
    "skip_connect": _skip_connect,
    "sep_conv_3x3": functools.partial(_sep_conv, kernel_size=3),
    "sep_conv_5x5": functools.partial(_sep_conv, kernel_size=5),
    "dil_conv_3x3": functools.partial(_dil_conv, kernel_size=3),
    "dil_conv_5x5": functools.partial(_dil_conv, kernel_size=5),
    "conv_1x1": functools.partial(_conv, kernel_size=1),
    "conv_3x3": functools.partial(_conv, kernel_size=3),
    "group_conv_3x3": functools.partial(_group_conv, kernel_size=3),
}
"""The cell operations of all sets (`models.architectures.cell.OPERATION_SETS`), the paper's first.

`none` is not among them: an edge without operation adds nothing.
"""


def resolve(name: str) -> Operation:
    """Returns the cell operation of a name.

    Args:
        name: one of `OPERATIONS`, or the dotted path of a function.

    Raises:
        ValueError: if there is no such operation.
    """
    if name in OPERATIONS:
        return OPERATIONS[name]
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"unknown operation {name!r} ({error}); expected one of {', '.join(OPERATIONS)}, or the "
            "dotted path of a function (channels, strides, norm) that returns a layer"
        ) from error


class InvertedResidual(keras.layers.Layer):
    """MobileNetV2's block: 1x1 expand, depthwise, 1x1 linear, each with batch norm.

    ReLU6 after the first two. There is no expanding convolution at expansion 1, and an identity
    shortcut where the stride is 1 and the channels are equal.

    Args:
        channels: channels of the output.
        kernel_size: side of the depthwise kernel in pixels, odd.
        expansion: how many times more channels there are inside, 1 or more.
        strides: 1 or 2.
        norm: makes a batch norm layer.
    """

    def __init__(self, channels, kernel_size, expansion, strides, norm, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.kernel_size = kernel_size
        self.expansion = expansion
        self.strides = strides
        self.norm = norm

    def build(self, input_shape):
        channels_in = input_shape[-1]
        expand = []
        if self.expansion > 1:
            expand = [layers.Conv2D(channels_in * self.expansion), self.norm(), ops.relu6]
        self.body = Chain(
            [
                *expand,
                layers.DepthwiseConv2D(self.kernel_size, self.strides),
                self.norm(),
                ops.relu6,
                layers.Conv2D(self.channels),
                self.norm(),
            ]
        )
        self.body.build(input_shape)
        self.shortcut = self.strides == 1 and channels_in == self.channels

    def call(self, images):
        outputs = self.body(images)
        return images + outputs if self.shortcut else outputs

    def compute_output_shape(self, input_shape):
        return self.body.compute_output_shape(input_shape)
