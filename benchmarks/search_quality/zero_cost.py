"""Scores of untrained architectures by others, as baselines: NASWOT and synflow, for paths of a supernet."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from keras import ops

from models.architectures.choices import Path
from models.networks import batch_statistics
from models.networks.operations import Chain
from models.networks.supernet import Supernet

IMAGES = 64  # of a batch


def naswot(supernet: Supernet, images: tf.Tensor) -> Callable[[Path], float]:
    """Returns the score of Mellor et al. (2021, arXiv 2006.04647), version 3: log-determinant of the patterns' kernel.

    The kernel of two images counts the ReLUs that are open for both or closed for both.

    Args:
        supernet: Untrained.
        images: float32 (batch, height, width, channels).
    """
    patterns: list[np.ndarray] = []

    def relu(tensor):
        patterns.append(np.reshape(tensor > 0, (len(images), -1)).astype(np.float32))
        return ops.relu(tensor)

    for layer in supernet._flatten_layers():
        if isinstance(layer, Chain):
            layer.steps = [relu if step is ops.relu else step for step in layer.steps]

    def score(path: Path) -> float:
        patterns.clear()
        supernet(images, path=path)
        if not patterns:
            return -np.inf
        codes = np.concatenate(patterns, axis=1)
        sign, logarithm = np.linalg.slogdet((codes @ codes.T + (1 - codes) @ (1 - codes).T).astype(np.float64))
        return float(logarithm) if sign > 0 else -np.inf

    return score


def synflow(supernet: Supernet, images: tf.Tensor) -> Callable[[Path], float]:
    """Returns the score of Tanaka et al. (2020, arXiv 2006.05467) as a sum over weights, in logarithm.

    All weights become absolute, batch norm an identity, and the image ones.

    Args:
        supernet: Untrained; its weights are changed.
        images: For the shape.
    """
    for variable in supernet.trainable_variables:
        variable.assign(tf.abs(variable.value))
    ones = tf.ones((1, *images.shape[1:]))

    def score(path: Path) -> float:
        with batch_statistics.recorded() as recorded:
            supernet(ones, path=path)
        # Normalising by mean 0 and variance 1 changes nothing but for epsilon.
        identity = [(tf.zeros_like(mean), tf.ones_like(variance)) for mean, variance in recorded]
        variables = [variable.value for variable in supernet.path_variables(path)]
        with tf.GradientTape() as tape, batch_statistics.fixed(identity):
            flow = tf.reduce_sum(supernet(ones, path=path))
        gradients = tape.gradient(flow, variables)
        total = sum(
            float(tf.reduce_sum(gradient * variable))
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None
        )
        return float(np.log(total)) if total > 0 else -np.inf

    return score
