"""Whether the tuned TensorFlow paths are taken or plain Keras operations."""

import functools

import tensorflow as tf

_tuned = True


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
