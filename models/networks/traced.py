"""What the kernels are made of: few operations to trace, and gradients that are attached to them.

Gradients are attached in two ways. `tf.custom_gradient` works everywhere, but registers each use for good, with the
graph around it. Under `with registered_gradients():`, for graphs whose gradients are taken by `tf.gradients`, the
gradient functions are forgotten at its end.
"""

import collections
import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Any

import tensorflow as tf

_tracing = threading.local()  # replicas are traced by threads of their own, in turns


@dataclasses.dataclass
class _Notes:
    """What is known of a graph while it is traced."""

    gradients: dict[str, Callable] = dataclasses.field(default_factory=dict)  # by the name of an operation
    constants: dict[Any, tf.Tensor] = dataclasses.field(default_factory=dict)
    reads: dict[int, tf.Tensor] = dataclasses.field(default_factory=dict)  # by the id of a variable
    shared: dict[Any, tf.Tensor] = dataclasses.field(default_factory=dict)  # see `shared`


@contextlib.contextmanager
def registered_gradients():
    """Says that gradients are taken by `tf.gradients`, inside of this context too, and not by a tape."""
    before, _tracing.notes = registered(), collections.defaultdict(_Notes)
    try:
        yield
    finally:
        _tracing.notes = before


def registered():
    """Returns the notes of the graphs that are traced under `registered_gradients`, or None."""
    return getattr(_tracing, "notes", None)


def _notes():
    graph, notes = tf.compat.v1.get_default_graph(), registered()
    if notes is not None:
        return notes[graph]
    if not hasattr(graph, "mdenas_notes"):
        graph.mdenas_notes = _Notes()
    return graph.mdenas_notes


_GRADIENT = "MdenasGradient"


@tf.RegisterGradient(_GRADIENT)
def _noted_gradient(operation, *gradients):
    return _notes().gradients[operation.name](gradients[-1])


def compute(function, *inputs, training, operation=None):
    """Returns the output of a `function` that returns an output and its gradient, differentiable if `training`.

    If the function makes one operation alone, of the type `operation` and with these inputs, the gradient becomes that
    operation's own.
    """
    if not training:
        return function(*inputs)[0]
    if registered() is None:
        return tf.custom_gradient(function)(*inputs)
    override = tf.compat.v1.get_default_graph().gradient_override_map
    if operation:
        with override({operation: _GRADIENT}):
            output, gradient = function(*inputs)
        _notes().gradients[output.op.name] = gradient
        return output
    output, gradient = function(*inputs)
    return attach(inputs, output, gradient)


def attach(inputs, output, gradient):
    """`output` as a tensor from which `gradient` leads to `inputs`, past whatever computed it."""
    with tf.compat.v1.get_default_graph().gradient_override_map({"IdentityN": _GRADIENT}):
        attached = tf.raw_ops.IdentityN(input=[*inputs, output])[-1]
    _notes().gradients[attached.op.name] = lambda outputs: [*gradient(outputs), None]
    return attached


def shared(function):
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


def constant(value, dtype="int32"):
    """Returns a constant, one per graph."""
    if tf.executing_eagerly():
        return tf.constant(value, dtype)
    constants = _notes().constants
    key = value, dtype
    if key not in constants:
        with tf.control_dependencies(None):
            constants[key] = tf.constant(value, dtype)
    return constants[key]


def read(variable):
    """Returns the value of a Keras variable, in the layer's own precision; read once where gradients are registered."""
    value = variable.value
    if registered() is None or not isinstance(value, tf.Variable):
        return tf.convert_to_tensor(value)
    reads = _notes().reads
    if id(value) not in reads:
        reads[id(value)] = tf.convert_to_tensor(value)
    return reads[id(value)]


def shape(tensor):
    static = tensor.shape
    return constant(tuple(static)) if static.is_fully_defined() else tf.shape(tensor)


def reshape(tensor, *shape):
    return tf.raw_ops.Reshape(tensor=tensor, shape=constant(shape))


def transpose(tensor, *order):
    return tf.raw_ops.Transpose(x=tensor, perm=constant(order))


def concat(tensors, axis):
    return tf.raw_ops.ConcatV2(values=tensors, axis=constant(axis))


def reduce_sum(tensor, axis):
    return tf.raw_ops.Sum(input=tensor, axis=constant(axis))


def slice_of(tensor, begin, size):
    """Returns the part of a `size` (-1: all there is) from `begin` on."""
    return tf.raw_ops.Slice(input=tensor, begin=constant(begin), size=constant(size))


@shared
def pad(images, rows, columns, value=0.0):
    """Pads by (before, after) `rows` and `columns`; a negative number of columns crops."""
    left, right = columns
    if left < 0 or right < 0:
        width = images.shape[2] + min(left, 0) + min(right, 0)
        images = slice_of(images, (0, 0, max(-left, 0), 0), (-1, -1, width, -1))
    paddings = constant(((0, 0), rows, (max(left, 0), max(right, 0)), (0, 0)))
    if not value:
        return tf.raw_ops.Pad(input=images, paddings=paddings)
    return tf.raw_ops.PadV2(input=images, paddings=paddings, constant_values=tf.constant(value, images.dtype))
