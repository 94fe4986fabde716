"""Eight more operations for the cell space, to measure what a larger space costs."""

import functools

import keras

from models.networks import layers
from models.networks.operations import Chain


def _convolution(size, channels, strides, norm):
    return Chain([keras.ops.relu, layers.Conv2D(channels, size, strides), norm()])


def _depthwise(size, channels, strides, norm, dilation=1):
    return Chain([keras.ops.relu, layers.DepthwiseConv2D(size, strides, dilation), norm()])


def _pool(pool, channels, strides, norm):
    return Chain([pool(5, strides), norm()])


conv_1x1 = functools.partial(_convolution, 1)
conv_3x3 = functools.partial(_convolution, 3)
conv_5x5 = functools.partial(_convolution, 5)
depthwise_3x3 = functools.partial(_depthwise, 3)
depthwise_5x5 = functools.partial(_depthwise, 5)
dilated_3x3 = functools.partial(_depthwise, 3, dilation=2)
max_pool_5x5 = functools.partial(_pool, layers.MaxPool)
avg_pool_5x5 = functools.partial(_pool, layers.AvgPool)

NAMES = tuple(f"{__name__}.{name}" for name, value in list(globals().items()) if isinstance(value, functools.partial))
