"""Weights of a supernet for the network that is derived from it.

Supernets and networks have a method `positions`: name of a place -> layer. An operation is at the same place if it has
the same name on the same edge of the same cell (or block). Its weights fit if their number and their shapes are equal.
A supernet's batch norm has no weights, so that of the network always starts with fresh ones.
"""

from collections.abc import Mapping

import keras
import numpy as np

_OF_BATCH_NORM = ("gamma", "beta")


def give(supernet: keras.Model) -> dict[str, np.ndarray]:
    """Returns the weights of a supernet, for `take`: "place/number" -> array."""
    return {
        f"{place}/{number}": np.asarray(weight)
        for place, layer in supernet.positions().items()
        for number, weight in enumerate(_weights(layer))
    }


def take(network: keras.Model, given: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Replaces the weights of the operations that a supernet has too and whose weights fit.

    Args:
        network: The network; it is changed in place.
        given: The weights of a supernet, from `give`.

    Returns:
        The number of weights that were replaced, and the number of all trainable weights.
    """
    taken = 0
    for place, layer in network.positions().items():
        weights = _weights(layer)
        found = [given.get(f"{place}/{number}") for number in range(len(weights))]
        if all(array is not None and array.shape == tuple(w.shape) for array, w in zip(found, weights, strict=True)):
            for array, weight in zip(found, weights, strict=True):
                weight.assign(array)
                taken += array.size
    return taken, sum(int(np.prod(weight.shape)) for weight in network.trainable_variables)


def _weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    return [weight for weight in layer.trainable_variables if weight.name not in _OF_BATCH_NORM]
