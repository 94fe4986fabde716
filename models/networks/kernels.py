"""Faster ways, in TensorFlow, to the values and gradients of `models/networks/layers.py`.

What is fast here was measured on a CPU (docs/performance.md); on a machine with a GPU only the fused
batch norm is used and everything else is left to cuDNN. `set_tuned(False)` turns all of it off: the layers then compute
what `keras.ops` says.

Reasons worth knowing:

- Slicing with a stride is slow, and the gradient of any slice is slower than a convolution.
- The depthwise filter gradient is quick for kernels up to 3 wide only: wider ones are cut into pieces of that width.
- A dilated convolution is an undilated one on images whose rows of one parity became images of their own, and whose
  columns of one parity became channels; the latter is a mere reshape.
- Likewise a convolution of stride 2 is one of stride 1 on the four phases of the image.
- To trace an operation costs some 0.15 ms. What a derivation would spread over many (zeros for outputs that nobody
  uses, inverse permutations, shapes) is written as a gradient of few.

Such gradients are attached in two ways. `tf.custom_gradient` works everywhere, but registers each use for good, with
the graph around it. Under `with registered_gradients():`, for graphs whose gradients are taken by `tf.gradients`, the
gradient functions are forgotten at its end.
"""

import collections
import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

FAST_WIDTH = 3  # of a depthwise filter gradient

_tuned = True
_tracing = threading.local()  # replicas are traced by threads of their own, in turns


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
def on_cpu():
    """Whether TensorFlow has no GPU here."""
    return not tf.config.list_physical_devices("GPU")


def tuned_for_cpu():
    """Whether to take the ways that were found faster on a CPU."""
    return _tuned and on_cpu()


@dataclasses.dataclass
class _Notes:
    """What is known of a graph while it is traced."""

    gradients: dict[str, Callable] = dataclasses.field(default_factory=dict)  # by the name of an operation
    constants: dict[Any, tf.Tensor] = dataclasses.field(default_factory=dict)
    reads: dict[int, tf.Tensor] = dataclasses.field(default_factory=dict)  # by the id of a variable
    shared: dict[Any, tf.Tensor] = dataclasses.field(default_factory=dict)  # see `_shared`


@contextlib.contextmanager
def registered_gradients():
    """Says that gradients are taken by `tf.gradients`, inside of this context too, and not by a tape."""
    before, _tracing.notes = _registered(), collections.defaultdict(_Notes)
    try:
        yield
    finally:
        _tracing.notes = before


def _registered():
    """The notes of the graphs that are traced under `registered_gradients`, or None."""
    return getattr(_tracing, "notes", None)


def _notes():
    graph, registered = tf.compat.v1.get_default_graph(), _registered()
    if registered is not None:
        return registered[graph]
    if not hasattr(graph, "mdenas_notes"):
        graph.mdenas_notes = _Notes()
    return graph.mdenas_notes


_GRADIENT = "MdenasGradient"


@tf.RegisterGradient(_GRADIENT)
def _noted_gradient(operation, *gradients):
    return _notes().gradients[operation.name](gradients[-1])


def _compute(function, *inputs, training, operation=None):
    """The output of a `function` that returns an output and its gradient, differentiable if `training`.

    If the function makes one operation alone, of the type `operation` and with these inputs, the gradient becomes that
    operation's own.
    """
    if not training:
        return function(*inputs)[0]
    if _registered() is None:
        return tf.custom_gradient(function)(*inputs)
    override = tf.compat.v1.get_default_graph().gradient_override_map
    if operation:
        with override({operation: _GRADIENT}):
            output, gradient = function(*inputs)
        _notes().gradients[output.op.name] = gradient
        return output
    output, gradient = function(*inputs)
    return _attach(inputs, output, gradient)


def _attach(inputs, output, gradient):
    """`output` as a tensor from which `gradient` leads to `inputs`, past whatever computed it."""
    with tf.compat.v1.get_default_graph().gradient_override_map({"IdentityN": _GRADIENT}):
        attached = tf.raw_ops.IdentityN(input=[*inputs, output])[-1]
    _notes().gradients[attached.op.name] = lambda outputs: [*gradient(outputs), None]
    return attached


def _shared(function):
    """Makes a function of one tensor compute once per tensor of a graph, whoever asks.

    Several edges of a cell start at the same node, and need the same preparation of it.
    """

    @functools.wraps(function)
    def call(tensor, *args):
        if tf.executing_eagerly() or tensor.graph is not tf.compat.v1.get_default_graph():
            return function(tensor, *args)
        results = _notes().shared
        key = function.__name__, tensor.ref(), args
        if key not in results:
            results[key] = function(tensor, *args)
        return results[key]

    return call


def _constant(value, dtype="int32"):
    """A constant, one per graph."""
    if tf.executing_eagerly():
        return tf.constant(value, dtype)
    constants = _notes().constants
    key = value, dtype
    if key not in constants:
        with tf.control_dependencies(None):
            constants[key] = tf.constant(value, dtype)
    return constants[key]


def read(variable):
    """The value of a Keras variable, in the layer's own precision; read once where gradients are registered."""
    value, registered = variable.value, _registered()
    if registered is None or not isinstance(value, tf.Variable):
        return tf.convert_to_tensor(value)
    reads = _notes().reads
    if id(value) not in reads:
        reads[id(value)] = tf.convert_to_tensor(value)
    return reads[id(value)]


def _shape(tensor):
    static = tensor.shape
    return _constant(tuple(static)) if static.is_fully_defined() else tf.shape(tensor)


def _reshape(tensor, *shape):
    return tf.raw_ops.Reshape(tensor=tensor, shape=_constant(shape))


def _transpose(tensor, *order):
    return tf.raw_ops.Transpose(x=tensor, perm=_constant(order))


def _concat(tensors, axis):
    return tf.raw_ops.ConcatV2(values=tensors, axis=_constant(axis))


def _sum(tensor, axis):
    return tf.raw_ops.Sum(input=tensor, axis=_constant(axis))


def _slice(tensor, begin, size):
    """The part of a `size` (-1: all there is) from `begin` on."""
    return tf.raw_ops.Slice(input=tensor, begin=_constant(begin), size=_constant(size))


@_shared
def _pad(images, rows, columns, value=0.0):
    """Pads by (before, after) `rows` and `columns`; a negative number of columns crops."""
    left, right = columns
    if left < 0 or right < 0:
        width = images.shape[2] + min(left, 0) + min(right, 0)
        images = _slice(images, (0, 0, max(-left, 0), 0), (-1, -1, width, -1))
    paddings = _constant(((0, 0), rows, (max(left, 0), max(right, 0)), (0, 0)))
    if not value:
        return tf.raw_ops.Pad(input=images, paddings=paddings)
    return tf.raw_ops.PadV2(input=images, paddings=paddings, constant_values=tf.constant(value, images.dtype))


def conv(images, kernel, strides, padding):
    """A convolution with `padding` pixels of zeros on every side."""
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
    return _compute(convolve, images, read(kernel), training=_registered() is not None, operation="Conv2D")


def _conv_gradients(images, kernel, outputs, **geometry):
    """Of images and kernel; TensorFlow's own makes operations for their shapes."""
    images_gradient = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=_shape(images), filter=kernel, out_backprop=outputs, **geometry
    )
    kernel_gradient = tf.raw_ops.Conv2DBackpropFilter(
        input=images, filter_sizes=_shape(kernel), out_backprop=outputs, **geometry
    )
    return images_gradient, kernel_gradient


def depthwise(images, kernel, strides, dilation, training):
    """A depthwise convolution padded by `dilation * (kernel size // 2)`."""
    kernel = read(kernel)
    size = kernel.shape[0]
    even = not any(side % 2 for side in images.shape[1:3])
    if dilation > 1 and strides > 1:
        images, strides, dilation = subsample(images), 1, 1
    if dilation > 1:
        if even:
            return _compute(_dilated, images, kernel, training=training)
        return tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "SAME", dilations=[dilation, dilation])
    if strides > 1:
        by_phases = even and size > FAST_WIDTH
        return _compute(_by_phases if by_phases else _padded, images, kernel, training=training)
    if size <= FAST_WIDTH and _registered() is None:
        return _depthwise(images, kernel)
    return _compute(_undilated, images, kernel, training=training, operation="DepthwiseConv2dNative")


def _undilated(images, kernel):
    """A convolution of stride 1, and its gradient."""

    def gradient(outputs):
        return _images_gradient(images, kernel, outputs), _kernel_gradient(images, kernel.shape, outputs)

    return _depthwise(images, kernel), gradient


def _padded(images, kernel):
    """A convolution of stride 2, and its gradient."""
    before = kernel.shape[0] // 2
    _, height, width, channels = images.shape
    padded = _pad(images, (before, before), (before, before))

    def gradient(outputs):
        padded_gradient = _images_gradient(padded, kernel, outputs, 2, "VALID")
        images_gradient = _slice(padded_gradient, (0, before, before, 0), (-1, height, width, -1))
        return images_gradient, _native_kernel_gradient(padded, kernel.shape, outputs, 2, "VALID")

    return _depthwise(padded, kernel, 2, "VALID"), gradient


def _dilated(images, kernel):
    """A convolution of dilation 2 on images of even sides, and its gradient."""
    size, _, channels, _ = kernel.shape
    folded = _fold(images)
    twice = _concat([kernel, kernel], 2)

    def gradient(outputs):
        outputs = _fold(outputs)
        kernels = _kernel_gradient(folded, twice.shape, outputs)
        kernels = _sum(_reshape(kernels, size, size, 2, channels, 1), 2)
        return _unfold(_images_gradient(folded, twice, outputs), images.shape), kernels

    return _unfold(_depthwise(folded, twice), images.shape), gradient


@_shared
def _fold(images):
    """(n, h, w, c) to (2n, h / 2, w / 2, 2c): rows by parity into images, columns into channels."""
    _, height, width, channels = images.shape
    rows = _transpose(_reshape(images, -1, height // 2, 2, width * channels), 0, 2, 1, 3)
    return _reshape(rows, -1, height // 2, width // 2, 2 * channels)


def _unfold(images, shape):
    _, height, width, channels = shape
    rows = _transpose(_reshape(images, -1, 2, height // 2, width * channels), 0, 2, 1, 3)
    return _reshape(rows, -1, height, width, channels)


def _by_phases(images, kernel):
    """A convolution of stride 2 on images of even sides, and its gradient.

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
    by_phase = _transpose(_reshape(padded, points, 2, points, 2, channels), 0, 2, 1, 3, 4)
    by_phase = _reshape(by_phase, points, points, 4 * channels, 1)
    _, height, width, _ = phases.shape

    def gradient(outputs):
        outputs = _concat([outputs] * 4, 3)
        kernels = _kernel_gradient(phases, by_phase.shape, outputs)
        kernels = _transpose(_reshape(kernels, points, points, 2, 2, channels), 0, 2, 1, 3, 4)
        kernels = _reshape(kernels, 2 * points, 2 * points, channels, 1)
        kernels = _slice(kernels, (lead, lead, 0, 0), (size, size, -1, -1))
        pixels = _reshape(_images_gradient(phases, by_phase, outputs), -1, height, width, 2, 2 * channels)
        return _reshape(_transpose(pixels, 0, 1, 3, 2, 4), -1, 2 * height, 2 * width, channels), kernels

    parts = _reshape(_depthwise(phases, by_phase), -1, height, width, 4, channels)
    return _sum(parts, 3), gradient


@_shared
def _phases(images):
    """(n, h, w, c) to (n, h / 2, w / 2, 4c): a pixel's row and column parity into channels."""
    _, height, width, channels = images.shape
    pixels = _reshape(images, -1, height // 2, 2, width // 2, 2 * channels)
    return _reshape(_transpose(pixels, 0, 1, 3, 2, 4), -1, height // 2, width // 2, 4 * channels)


def _depthwise(images, kernel, strides=1, padding="SAME"):
    return tf.raw_ops.DepthwiseConv2dNative(
        input=images, filter=kernel, strides=[1, strides, strides, 1], padding=padding
    )


def _images_gradient(images, kernel, outputs, strides=1, padding="SAME"):
    return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=_shape(images),
        filter=kernel,
        out_backprop=outputs,
        strides=[1, strides, strides, 1],
        padding=padding,
    )


def _native_kernel_gradient(images, shape, outputs, strides=1, padding="SAME"):
    return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=images,
        filter_sizes=_constant(tuple(shape)),
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
        seen = images if same else _pad(images, rows, (left, width_of_piece - 1 - left))
        shape = (height, width_of_piece, channels, 1)
        piece = _native_kernel_gradient(seen, shape, outputs, padding="SAME" if same else "VALID")
        pieces.append(_slice(piece, (0, done - start, 0, 0), (-1, -1, -1, -1)) if start < done else piece)
        done = start + width_of_piece
    return _concat(pieces, 1) if len(pieces) > 1 else pieces[0]


def batch_norm(images, gamma, beta, epsilon):
    """Normalises by the batch's statistics; also returns its mean and unbiased variance."""
    scale, offset = _scale_and_offset(images, gamma, beta)
    empty = _constant((), "float32")
    outputs = tf.raw_ops.FusedBatchNormV3(
        x=images, scale=scale, offset=offset, mean=empty, variance=empty, epsilon=epsilon, is_training=True
    )
    if _registered() is None:
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
    normalized = _attach([images, *weights], outputs.y, gradient)
    return normalized, outputs.batch_mean, outputs.batch_variance


def replicas():
    """How many replicas share the batch of the step that is being traced."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def share_of_replica(*tensors):
    """The rows of each tensor (batch, ...) that this replica computes."""
    count = replicas()
    if count == 1:
        return tensors
    number = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
    size = tensors[0].shape[0] or tf.shape(tensors[0])[0]
    return [tensor[size * number // count : size * (number + 1) // count] for tensor in tensors]


def sum_over_replicas(tensors):
    """Each tensor summed over the replicas; without a gradient."""
    if replicas() == 1:
        return tensors

    def merge(strategy, *values):
        return strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, [(value, value) for value in values])

    # ReplicaContext.all_reduce is a tf.custom_gradient, and would keep every traced graph.
    return tf.distribute.get_replica_context().merge_call(merge, args=tensors)


def statistics_over_replicas(images):
    """Mean, biased variance and count, per channel, of the batch that the replicas share."""
    axes = [0, 1, 2]
    count = tf.cast(tf.size(images) // images.shape[-1], tf.float32)
    sums = tf.stack([tf.reduce_sum(images, axes), tf.reduce_sum(images**2, axes), tf.fill(images.shape[-1:], count)])

    def summed(values):
        def gradient(sums):
            return sum_over_replicas((sums,))

        return sum_over_replicas((values,))[0], gradient

    total, total_of_squares, count = tf.unstack(_compute(summed, sums, training=True))
    mean = total / count
    return mean, tf.maximum(total_of_squares / count - mean**2, 0.0), count


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
        return read(gamma), read(beta)
    channels = images.shape[-1]
    return _constant((1.0,) * channels, "float32"), _constant((0.0,) * channels, "float32")


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


def factorized_reduction(images, kernel, shifted_kernel, training):
    """Both 1x1 kernels as the diagonal of a 2x2 kernel of stride 2."""
    return _compute(_diagonal, images, read(kernel), read(shifted_kernel), training=training)


def _diagonal(images, kernel, shifted_kernel):
    channels, first = kernel.shape[2:]
    shifted = shifted_kernel.shape[3]
    kernels = tf.raw_ops.Pad(input=kernel, paddings=_constant(((0, 1), (0, 1), (0, 0), (0, shifted)))) + tf.raw_ops.Pad(
        input=shifted_kernel, paddings=_constant(((1, 0), (1, 0), (0, 0), (first, 0)))
    )
    geometry = {"strides": [1, 2, 2, 1], "padding": "SAME"}

    def gradient(outputs):
        images_gradient, both = _conv_gradients(images, kernels, outputs, **geometry)
        kernel_gradient = _slice(both, (0, 0, 0, 0), (1, 1, -1, first))
        return images_gradient, kernel_gradient, _slice(both, (1, 1, 0, first), (1, 1, -1, -1))

    return tf.raw_ops.Conv2D(input=images, filter=kernels, **geometry), gradient
