"""Faster ways, in TensorFlow, to the values and gradients of `models/networks/layers.py`.

What is fast here was measured on a CPU (docs/performance.md). On a machine with a GPU only the fused batch norm is
used, and all else is left to cuDNN. `set_tuned(False)` (models/runtime/tuning.py) turns all of it off: the layers then
compute what `keras.ops` says.

Reasons worth knowing:

- Slicing with a stride is slow, and the gradient of any slice is slower than a convolution.
- The depthwise filter gradient is quick for kernels up to 3 wide only: wider ones are cut into pieces of that width.
- A dilated convolution is an undilated one on images whose rows of one parity became images of their own, and whose
  columns of one parity became channels; the latter is a mere reshape.
- Likewise a convolution of stride 2 is one of stride 1 on the four phases of the image.
- To trace an operation costs some 0.15 ms. What a derivation would spread over many (zeros for outputs that nobody
  uses, inverse permutations, shapes) is written as a gradient of few.
"""

import functools

import numpy as np
import tensorflow as tf

from models.networks import traced

FAST_WIDTH = 3  # of a depthwise filter gradient


def conv(images, kernel, strides, padding):
    """Returns a convolution with `padding` pixels of zeros on every side."""
    same = _is_same(kernel.shape[0], strides, padding)
    geometry = {
        "strides": [1, strides, strides, 1],
        "padding": "SAME" if same else "EXPLICIT",
        "explicit_paddings": [] if same else [0, 0, padding, padding, padding, padding, 0, 0],
    }

    def convolve(images, kernel):
        def gradient(outputs):
            return _conv_gradients(images, kernel, outputs, **geometry)

        return tf.raw_ops.Conv2D(input=images, filter=kernel, **geometry), gradient

    # A tape has what TensorFlow itself makes of it.
    return traced.compute(
        convolve, images, traced.read(kernel), training=traced.registered() is not None, operation="Conv2D"
    )


@functools.cache
def has_grouped_gradients():
    """Returns whether this TensorFlow has gradients of a convolution whose kernel has fewer inputs than the images.

    On a CPU only oneDNN has them, which TF_ENABLE_ONEDNN_OPTS=0 switches off.
    """
    with tf.init_scope():
        pixel, kernel = tf.zeros((1, 1, 1, 2)), tf.zeros((1, 1, 1, 2))
        try:
            _conv_gradients(pixel, kernel, pixel, strides=[1, 1, 1, 1], padding="SAME", explicit_paddings=[])
        except tf.errors.OpError:
            return False
    return True


def _conv_gradients(images, kernel, outputs, **geometry):
    """Of images and kernel; TensorFlow's own makes operations for their shapes."""
    images_gradient = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=traced.shape(images), filter=kernel, out_backprop=outputs, **geometry
    )
    kernel_gradient = tf.raw_ops.Conv2DBackpropFilter(
        input=images, filter_sizes=traced.shape(kernel), out_backprop=outputs, **geometry
    )
    return images_gradient, kernel_gradient


def depthwise(images, kernel, strides, dilation, training):
    """Returns a depthwise convolution padded by `dilation * (kernel size // 2)`."""
    kernel = traced.read(kernel)
    size = kernel.shape[0]
    even = not any(side % 2 for side in images.shape[1:3])
    if dilation > 1 and strides > 1:
        images, strides, dilation = subsample(images), 1, 1
    if dilation > 1:
        if even:
            return traced.compute(_dilated, images, kernel, training=training)
        return tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "SAME", dilations=[dilation, dilation])
    if strides > 1:
        by_phases = even and size > FAST_WIDTH
        return traced.compute(_by_phases if by_phases else _padded, images, kernel, training=training)
    if size <= FAST_WIDTH and traced.registered() is None:
        return _depthwise(images, kernel)
    return traced.compute(_undilated, images, kernel, training=training, operation="DepthwiseConv2dNative")


def _undilated(images, kernel):
    """Returns a convolution of stride 1, and its gradient."""

    def gradient(outputs):
        return _images_gradient(images, kernel, outputs), _kernel_gradient(images, kernel.shape, outputs)

    return _depthwise(images, kernel), gradient


def _padded(images, kernel):
    """Returns a convolution of stride 2, and its gradient."""
    before = kernel.shape[0] // 2
    _, height, width, channels = images.shape
    padded = traced.pad(images, (before, before), (before, before))

    def gradient(outputs):
        padded_gradient = _images_gradient(padded, kernel, outputs, 2, "VALID")
        images_gradient = traced.slice_of(padded_gradient, (0, before, before, 0), (-1, height, width, -1))
        return images_gradient, _native_kernel_gradient(padded, kernel.shape, outputs, 2, "VALID")

    return _depthwise(padded, kernel, 2, "VALID"), gradient


def _dilated(images, kernel):
    """Returns a convolution of dilation 2 on images of even sides, and its gradient."""
    size, _, channels, _ = kernel.shape
    folded = _fold(images)
    twice = traced.concat([kernel, kernel], 2)

    def gradient(outputs):
        outputs = _fold(outputs)
        kernels = _kernel_gradient(folded, twice.shape, outputs)
        kernels = traced.reduce_sum(traced.reshape(kernels, size, size, 2, channels, 1), 2)
        return _unfold(_images_gradient(folded, twice, outputs), images.shape), kernels

    return _unfold(_depthwise(folded, twice), images.shape), gradient


@traced.shared
def _fold(images):
    """(n, h, w, c) to (2n, h / 2, w / 2, 2c): rows by parity into images, columns into channels."""
    _, height, width, channels = images.shape
    rows = traced.transpose(traced.reshape(images, -1, height // 2, 2, width * channels), 0, 2, 1, 3)
    return traced.reshape(rows, -1, height // 2, width // 2, 2 * channels)


def _unfold(images, shape):
    _, height, width, channels = shape
    rows = traced.transpose(traced.reshape(images, -1, 2, height // 2, width * channels), 0, 2, 1, 3)
    return traced.reshape(rows, -1, height, width, channels)


def _by_phases(images, kernel):
    """Returns a convolution of stride 2 on images of even sides, and its gradient.

    One of stride 1 on the phases of the image, whose results are summed. The points of the kernel, -p to p in pixels,
    are -q to q in phases, each of two parities.
    """
    size, _, channels, _ = kernel.shape
    p = size // 2
    q = (p + 1) // 2
    lead, points = 2 * q - p, 2 * q + 1
    trail = 2 * points - size - lead
    phases = _phases(images)
    padded = tf.pad(kernel, [(lead, trail), (lead, trail), (0, 0), (0, 0)])
    by_phase = traced.transpose(traced.reshape(padded, points, 2, points, 2, channels), 0, 2, 1, 3, 4)
    by_phase = traced.reshape(by_phase, points, points, 4 * channels, 1)
    _, height, width, _ = phases.shape

    def gradient(outputs):
        outputs = traced.concat([outputs] * 4, 3)
        kernels = _kernel_gradient(phases, by_phase.shape, outputs)
        kernels = traced.transpose(traced.reshape(kernels, points, points, 2, 2, channels), 0, 2, 1, 3, 4)
        kernels = traced.reshape(kernels, 2 * points, 2 * points, channels, 1)
        kernels = traced.slice_of(kernels, (lead, lead, 0, 0), (size, size, -1, -1))
        pixels = traced.reshape(_images_gradient(phases, by_phase, outputs), -1, height, width, 2, 2 * channels)
        return traced.reshape(traced.transpose(pixels, 0, 1, 3, 2, 4), -1, 2 * height, 2 * width, channels), kernels

    parts = traced.reshape(_depthwise(phases, by_phase), -1, height, width, 4, channels)
    return traced.reduce_sum(parts, 3), gradient


@traced.shared
def _phases(images):
    """(n, h, w, c) to (n, h / 2, w / 2, 4c): a pixel's row and column parity into channels."""
    _, height, width, channels = images.shape
    pixels = traced.reshape(images, -1, height // 2, 2, width // 2, 2 * channels)
    return traced.reshape(traced.transpose(pixels, 0, 1, 3, 2, 4), -1, height // 2, width // 2, 4 * channels)


def _depthwise(images, kernel, strides=1, padding="SAME"):
    return tf.raw_ops.DepthwiseConv2dNative(
        input=images, filter=kernel, strides=[1, strides, strides, 1], padding=padding
    )


def _images_gradient(images, kernel, outputs, strides=1, padding="SAME"):
    return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=traced.shape(images),
        filter=kernel,
        out_backprop=outputs,
        strides=[1, strides, strides, 1],
        padding=padding,
    )


def _native_kernel_gradient(images, shape, outputs, strides=1, padding="SAME"):
    return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=images,
        filter_sizes=traced.constant(tuple(shape)),
        out_backprop=outputs,
        strides=[1, strides, strides, 1],
        padding=padding,
    )


def _kernel_gradient(images, shape, outputs):
    """Gradient of a depthwise kernel of a `shape`, in pieces that are `FAST_WIDTH` wide."""
    height, width, channels, _ = shape
    width_of_piece = min(width, FAST_WIDTH)
    rows = (height // 2, height // 2)
    pieces, done = [], 0
    while done < width:
        start = min(done, width - width_of_piece)
        left = width // 2 - start
        same = left == width_of_piece // 2
        seen = images if same else traced.pad(images, rows, (left, width_of_piece - 1 - left))
        shape = (height, width_of_piece, channels, 1)
        piece = _native_kernel_gradient(seen, shape, outputs, padding="SAME" if same else "VALID")
        pieces.append(traced.slice_of(piece, (0, done - start, 0, 0), (-1, -1, -1, -1)) if start < done else piece)
        done = start + width_of_piece
    return traced.concat(pieces, 1) if len(pieces) > 1 else pieces[0]


def batch_norm(images, gamma, beta, epsilon):
    """Normalises by the batch's statistics; also returns its mean and unbiased variance."""
    scale, offset = _scale_and_offset(images, gamma, beta)
    empty = traced.constant((), "float32")
    outputs = tf.raw_ops.FusedBatchNormV3(
        x=images, scale=scale, offset=offset, mean=empty, variance=empty, epsilon=epsilon, is_training=True
    )
    if traced.registered() is None:
        return outputs[:3]
    mean, variance = outputs.reserve_space_1, outputs.reserve_space_2

    def gradient(normalized):
        images_gradient, *weights_gradients = tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=normalized,
            x=images,
            scale=scale,
            reserve_space_1=mean,
            reserve_space_2=variance,
            reserve_space_3=outputs.reserve_space_3,
            epsilon=epsilon,
            is_training=True,
        )[:3]
        return [images_gradient, *weights_gradients[: len(weights)]]

    weights = [scale, offset] if gamma is not None else []
    normalized = traced.attach([images, *weights], outputs.y, gradient)
    return normalized, outputs.batch_mean, outputs.batch_variance


def normalize(images, mean, variance, gamma, beta, epsilon):
    """Normalises by the given statistics."""
    scale, offset = _scale_and_offset(images, gamma, beta)
    return tf.raw_ops.FusedBatchNormV3(
        x=images,
        scale=scale,
        offset=offset,
        mean=tf.convert_to_tensor(mean),
        variance=tf.convert_to_tensor(variance),
        epsilon=epsilon,
        is_training=False,
    ).y


def _scale_and_offset(images, gamma, beta):
    if gamma is not None:
        return traced.read(gamma), traced.read(beta)
    channels = images.shape[-1]
    return traced.constant((1.0,) * channels, "float32"), traced.constant((0.0,) * channels, "float32")


def max_pool(images, size, strides, padding):
    """Returns the largest value of each window; `padding` pixels on every side are left out."""
    if _is_same(size, strides, padding):
        return tf.nn.max_pool2d(images, size, strides, "SAME")
    rows, columns = _window_paddings(images, size, strides, padding)
    return tf.nn.max_pool2d(traced.pad(images, rows, columns, images.dtype.min), size, strides, "VALID")


def avg_pool(images, size, strides, padding):
    """Returns the mean of each window; `padding` pixels on every side are left out."""
    if _is_same(size, strides, padding):
        return tf.nn.avg_pool2d(images, size, strides, "SAME")
    rows, columns = _window_paddings(images, size, strides, padding)
    means = tf.nn.avg_pool2d(traced.pad(images, rows, columns), size, strides, "VALID")
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
    """Returns whether TensorFlow's own 'SAME' means the same."""
    return strides == 1 and 2 * padding == size - 1


def _window_paddings(images, size, strides, padding):
    """(before, after) of rows and columns, without what no window reaches."""
    for side in images.shape[1:3]:
        windows = (side + 2 * padding - size) // strides + 1
        yield padding, max((windows - 1) * strides + size - side - padding, 0)


def subsample(images):
    """Every second pixel: a pool of one pixel, as slicing with a stride is slow."""
    return tf.nn.avg_pool2d(images, 1, 2, "VALID")


def factorized_reduction(images, kernel, shifted_kernel, training):
    """Both 1x1 kernels as the diagonal of a 2x2 kernel of stride 2."""
    return traced.compute(_diagonal, images, traced.read(kernel), traced.read(shifted_kernel), training=training)


def _diagonal(images, kernel, shifted_kernel):
    channels, first = kernel.shape[2:]
    shifted = shifted_kernel.shape[3]
    kernels = tf.raw_ops.Pad(
        input=kernel, paddings=traced.constant(((0, 1), (0, 1), (0, 0), (0, shifted)))
    ) + tf.raw_ops.Pad(input=shifted_kernel, paddings=traced.constant(((1, 0), (1, 0), (0, 0), (first, 0))))
    geometry = {"strides": [1, 2, 2, 1], "padding": "SAME"}

    def gradient(outputs):
        images_gradient, both = _conv_gradients(images, kernels, outputs, **geometry)
        kernel_gradient = traced.slice_of(both, (0, 0, 0, 0), (1, 1, -1, first))
        return images_gradient, kernel_gradient, traced.slice_of(both, (1, 1, 0, first), (1, 1, -1, -1))

    return tf.raw_ops.Conv2D(input=images, filter=kernels, **geometry), gradient
