"""Whether the tuned TensorFlow paths are taken or plain Keras operations."""

import functools

import tensorflow as tf

_tuned = True


def set_tuned(tuned):
    """Sets whether the layers use the tuned kernels (the default) or plain Keras operations.

    A function traced before stays as it is.
    """
    global _tuned
    _tuned = tuned


def tuned():
    """Returns the value of the last `set_tuned`."""
    return _tuned


@functools.cache
def on_cpu():
    """Returns whether TensorFlow has no GPU here."""
    return not tf.config.list_physical_devices("GPU")


def tuned_for_cpu():
    """Returns whether to take the ways that were found faster on a CPU."""
    return _tuned and on_cpu()
