"""Faster ways, in TensorFlow, to the values and gradients of `models/layers.py`.

What is fast here was measured on a CPU (docs/performance.md has the figures); on a machine with a
GPU only the fused batch norm is used and everything else is left to cuDNN. `set_tuned(False)`
turns all of it off: the layers then compute what `keras.ops` says.

Reasons worth knowing:

- Slicing with a stride is slow, and the gradient of any slice is slower than a convolution.
- The depthwise filter gradient is quick for kernels up to 3 wide only: wider ones are cut into
  pieces of that width.
- A dilated convolution is an undilated one on images whose rows of one parity became images of
  their own, and whose columns of one parity became channels; the latter is a mere reshape.
- Likewise a convolution of stride 2 is one of stride 1 on the four phases of the image.

The filter gradient is registered with TensorFlow once and chosen in two ways. Where gradients are
taken by `tf.gradients` in a graph (`with registered_gradients():`) the operation is marked with its
name, which costs nothing; a tape does not look at that mark, so elsewhere `tf.custom_gradient` is
used, whose graphs are never freed.
"""

import contextlib
import functools

import numpy as np
import tensorflow as tf

FAST_WIDTH = 3  # of a depthwise filter gradient

_tuned = True
_registered = False


def set_tuned(tuned):
    """Whether the layers take the ways of this module (the default) or the plain ones.

    A function traced before stays as it is.
    """
    global _tuned
    _tuned = tuned


def tuned():
    """What `set_tuned` said last."""
    return _tuned


@functools.cache
def _on_cpu():
    return not tf.config.list_physical_devices("GPU")


def tuned_for_cpu():
    """Whether to take the ways that were found faster on a CPU."""
    return _tuned and _on_cpu()


@contextlib.contextmanager
def registered_gradients():
    """Says that the gradients of what is traced inside are taken by `tf.gradients`."""
    global _registered
    before, _registered = _registered, True
    try:
        yield
    finally:
        _registered = before


def shared(function):
    """Makes a function of one tensor compute once per tensor of a graph, whoever asks.

    Several edges of a cell start at the same node, and start with the same ReLU.
    """
    attribute = f"_mdenas_{function.__name__}"

    @functools.wraps(function)
    def call(tensor, *args):
        if tf.executing_eagerly() or tensor.graph is not tf.compat.v1.get_default_graph():
            return function(tensor, *args)
        results = tensor.__dict__.setdefault(attribute, {})
        if args not in results:
            results[args] = function(tensor, *args)
        return results[args]

    return call


@shared
def _pad(images, rows, columns, value=0.0):
    """Pads by (before, after) `rows` and `columns`; a negative number of columns crops."""
    left, right = columns
    if left < 0 or right < 0:
        width = images.shape[2]
        images = images[:, :, max(-left, 0) : width - max(-right, 0)]
    paddings = [(0, 0), rows, (max(left, 0), max(right, 0)), (0, 0)]
    return tf.pad(images, paddings, constant_values=value)


def conv(images, kernel, strides, padding):
    """A convolution with `padding` pixels of zeros on every side."""
    if _is_same(kernel.shape[0], strides, padding):
        return tf.nn.conv2d(images, kernel, strides, "SAME")
    explicit = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    return tf.nn.conv2d(images, kernel, strides, explicit)


def depthwise(images, kernel, strides, dilation, training):
    """A depthwise convolution padded by `dilation * (kernel size // 2)`."""
    size = kernel.shape[0]
    if strides > 1 and dilation > 1:
        images, strides, dilation = subsample(images), 1, 1
    even = not any(side % 2 for side in images.shape[1:3])
    if dilation > 1:
        if not even:
            return tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "SAME", dilations=[dilation, dilation])
        kernel = tf.concat([kernel, kernel], axis=2)
        return _unfold(_depthwise(_fold(images), kernel, training), *images.shape[1:])
    if strides == 1:
        return _depthwise(images, kernel, training)
    if size > FAST_WIDTH and even:
        return _depthwise_by_phases(images, kernel, training)
    both = (size // 2, size // 2)
    return _native_depthwise(_pad(images, both, both), kernel, strides, "VALID")


@shared
def _fold(images):
    """(n, h, w, c) to (2n, h / 2, w / 2, 2c): rows by parity into images, columns into channels."""
    _, height, width, channels = images.shape
    rows = tf.reshape(images, [-1, height // 2, 2, width * channels])
    rows = tf.transpose(rows, [0, 2, 1, 3])
    return tf.reshape(rows, [-1, height // 2, width // 2, 2 * channels])


def _unfold(images, height, width, channels):
    rows = tf.reshape(images, [-1, 2, height // 2, width * channels])
    return tf.reshape(tf.transpose(rows, [0, 2, 1, 3]), [-1, height, width, channels])


@shared
def _phases(images):
    """(n, h, w, c) to (n, h / 2, w / 2, 4c): a pixel's row and column parity into channels."""
    _, height, width, channels = images.shape
    pixels = tf.reshape(images, [-1, height // 2, 2, width // 2, 2 * channels])
    pixels = tf.transpose(pixels, [0, 1, 3, 2, 4])
    return tf.reshape(pixels, [-1, height // 2, width // 2, 4 * channels])


def _depthwise_by_phases(images, kernel, training):
    """The convolution of stride 2: one of stride 1 for each phase of the image, summed."""
    size, _, channels, _ = kernel.shape
    # The points of the kernel in pixels are -p .. p; in phases, q = floor(point / 2) and parity.
    p = size // 2
    q = (p + 1) // 2
    lead = 2 * q - p
    trail = 2 * (2 * q + 1) - size - lead
    kernel = tf.pad(kernel[..., 0], [(lead, trail), (lead, trail), (0, 0)])
    kernel = tf.reshape(kernel, [2 * q + 1, 2, 2 * q + 1, 2, channels])
    kernel = tf.reshape(tf.transpose(kernel, [0, 2, 1, 3, 4]), [2 * q + 1, 2 * q + 1, 4 * channels, 1])
    parts = _depthwise(_phases(images), kernel, training)
    _, height, width, _ = parts.shape
    return tf.reduce_sum(tf.reshape(parts, [-1, height, width, 4, channels]), axis=3)


def _depthwise(images, kernel, training):
    """A depthwise convolution of stride 1 with a quick filter gradient."""
    if kernel.shape[1] <= FAST_WIDTH or not training:
        return _native_depthwise(images, kernel)
    if _registered:
        graph = tf.compat.v1.get_default_graph()
        with graph.gradient_override_map({"DepthwiseConv2dNative": _GRADIENT}):
            return _native_depthwise(images, kernel)
    # As a tensor: tf.custom_gradient refuses functions that read variables themselves.
    return _taped_depthwise(images, tf.convert_to_tensor(kernel))


def _native_depthwise(images, kernel, strides=1, padding="SAME"):
    return tf.raw_ops.DepthwiseConv2dNative(
        input=images, filter=kernel, strides=[1, strides, strides, 1], padding=padding
    )


_GRADIENT = "MdenasDepthwise"


@tf.RegisterGradient(_GRADIENT)
def _registered_gradient(operation, gradient):
    return _depthwise_gradients(*operation.inputs, gradient)


@tf.custom_gradient
def _taped_depthwise(images, kernel):
    outputs = _native_depthwise(images, kernel)
    return outputs, functools.partial(_depthwise_gradients, images, kernel)


def _depthwise_gradients(images, kernel, gradient):
    """Gradients of images and kernel, the latter in pieces that are `FAST_WIDTH` wide."""
    images_gradient = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=tf.shape(images),
        filter=kernel,
        out_backprop=gradient,
        strides=[1, 1, 1, 1],
        padding="SAME",
    )
    height, width, channels, _ = kernel.shape
    rows = (height // 2, height // 2)
    pieces, done = [], 0
    while done < width:
        start = min(done, width - FAST_WIDTH)
        left = width // 2 - start
        same = left == FAST_WIDTH // 2
        piece = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=images if same else _pad(images, rows, (left, FAST_WIDTH - 1 - left)),
            filter_sizes=[height, FAST_WIDTH, channels, 1],
            out_backprop=gradient,
            strides=[1, 1, 1, 1],
            padding="SAME" if same else "VALID",
        )
        pieces.append(piece[:, done - start :])
        done = start + FAST_WIDTH
    return images_gradient, tf.concat(pieces, axis=1)


def batch_norm(images, gamma, beta, epsilon):
    """Normalises by the batch's statistics; also returns its mean and unbiased variance."""
    normalized, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images,
        scale=_or_constant(gamma, 1.0, images),
        offset=_or_constant(beta, 0.0, images),
        mean=[],
        variance=[],
        epsilon=epsilon,
        is_training=True,
    )
    return normalized, mean, variance


def normalize(images, mean, variance, gamma, beta, epsilon):
    """Normalises by the given statistics."""
    return tf.raw_ops.FusedBatchNormV3(
        x=images,
        scale=_or_constant(gamma, 1.0, images),
        offset=_or_constant(beta, 0.0, images),
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=False,
    ).y


def _or_constant(weight, value, images):
    return tf.fill(images.shape[-1:], value) if weight is None else tf.convert_to_tensor(weight)


def max_pool(images, size, strides, padding):
    """The largest value of each window; `padding` pixels on every side are left out."""
    if _is_same(size, strides, padding):
        return tf.nn.max_pool2d(images, size, strides, "SAME")
    rows, columns = _window_paddings(images, size, strides, padding)
    return tf.nn.max_pool2d(_pad(images, rows, columns, images.dtype.min), size, strides, "VALID")


def avg_pool(images, size, strides, padding):
    """The mean of each window; `padding` pixels on every side are left out."""
    if _is_same(size, strides, padding):
        return tf.nn.avg_pool2d(images, size, strides, "SAME")
    rows, columns = _window_paddings(images, size, strides, padding)
    means = tf.nn.avg_pool2d(_pad(images, rows, columns), size, strides, "VALID")
    if not padding:
        return means
    # The share of a window that is inside of the image.
    inside = [
        np.convolve(np.pad(np.ones(side), sides), np.ones(size) / size, "valid")[::strides]
        for side, sides in zip(images.shape[1:3], (rows, columns), strict=True)
    ]
    factor = 1 / np.outer(*inside)[None, :, :, None]
    return means * tf.constant(factor, means.dtype)


def _is_same(size, strides, padding):
    """Whether TensorFlow's own 'SAME' means the same."""
    return strides == 1 and 2 * padding == size - 1


def _window_paddings(images, size, strides, padding):
    """(before, after) of rows and columns, without what no window reaches."""
    for side in images.shape[1:3]:
        windows = (side + 2 * padding - size) // strides + 1
        yield padding, max((windows - 1) * strides + size - side - padding, 0)


def subsample(images):
    """Every second pixel: a pool of one pixel, as slicing with a stride is slow."""
    return tf.nn.avg_pool2d(images, 1, 2, "VALID")


def factorized_reduction(images, kernel, shifted_kernel):
    """Both 1x1 kernels as the diagonal of a 2x2 kernel of stride 2."""
    zeros, shifted_zeros = tf.zeros_like(kernel), tf.zeros_like(shifted_kernel)
    first = tf.concat([kernel, shifted_zeros], axis=3)
    shifted = tf.concat([zeros, shifted_kernel], axis=3)
    nothing = tf.zeros_like(first)
    kernel = tf.concat([tf.concat([first, nothing], axis=1), tf.concat([nothing, shifted], axis=1)], axis=0)
    return tf.nn.conv2d(images, kernel, 2, "SAME")
