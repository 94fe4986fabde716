"""Batch norm statistics of a sampled architecture, taken from some batches and then held fixed.

A supernet keeps no moving statistics, since none fit all of its sub-networks, so its batch norm normalises each batch
by itself. That is right for training. A validation must not depend on which images share a batch: a batch of one class
only looks like no batch that the weights were trained on. So statistics are estimated for the path on training images
and held fixed while it is validated.

`recorded` and `fixed` are contexts for the code that calls a supernet, `next_fixed` and `record` are what `BatchNorm`
(layers.py) calls. The layers of a path are called in the same order each time, which is what matches statistics with
layers.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence

import tensorflow as tf


class _Active(threading.local):  # replicas are traced in threads of their own
    recorded: list[tuple[tf.Tensor, tf.Tensor]] | None = None
    fixed: Iterator[tuple[tf.Tensor, tf.Tensor]] | None = None


_active = _Active()


@contextlib.contextmanager
def recorded() -> Iterator[list[tuple[tf.Tensor, tf.Tensor]]]:
    """Collects what each batch norm without moving statistics normalises by: mean and biased variance, (channels,)."""
    _active.recorded = []
    try:
        yield _active.recorded
    finally:
        _active.recorded = None


@contextlib.contextmanager
def fixed(statistics: Sequence[tuple[tf.Tensor, tf.Tensor]]) -> Iterator[None]:
    """Makes each batch norm without moving statistics normalise by the given ones.

    Args:
        statistics: Mean and biased variance, float32 (channels,), of each layer in the order of the calls.
    """
    _active.fixed = iter(statistics)
    try:
        yield
    finally:
        _active.fixed = None


def record(mean: tf.Tensor, variance: tf.Tensor) -> None:
    """Notes the statistics of a batch where `recorded` is active.

    Args:
        mean: float32 (channels,).
        variance: Biased, float32 (channels,).
    """
    if _active.recorded is not None:
        _active.recorded.append((mean, variance))


def next_fixed() -> tuple[tf.Tensor, tf.Tensor] | None:
    """Returns the statistics that the layer being called has to use, or None for those of its batch."""
    return next(_active.fixed) if _active.fixed is not None else None


def pooled(batches: Sequence[Sequence[tuple[tf.Tensor, tf.Tensor]]]) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Returns each layer's statistics over batches of about the same size.

    Args:
        batches: Of each batch what `recorded` collected.
    """
    pooled = []
    for layer in zip(*batches, strict=True):
        means, variances = (tf.stack(values) for values in zip(*layer, strict=True))
        mean = tf.reduce_mean(means, axis=0)
        # The variance of all: the mean variance within the batches and the variance of their means.
        variance = tf.reduce_mean(variances, axis=0) + tf.reduce_mean(tf.square(means - mean), axis=0)
        pooled.append((mean, variance))
    return pooled
