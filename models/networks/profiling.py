"""Parameters and multiply-adds of a network or of a sampled path, from shapes alone: nothing is run.

A weight of two or more dimensions is a convolution's or linear layer's kernel. Each of its numbers takes part in one
multiply-add at every position of the layer's output, which is all there is to count: batch norm, pooling, biases and
activations are left out, as in the literature.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Profile:
    """What a network costs.

    Args:
        params: trainable parameters without the auxiliary head, which only training needs.
        params_with_auxiliary: trainable parameters with it; as many as `params` where there is none.
        macs: multiply-adds of convolutions and linear layers, forward, one image, no auxiliary head.
    """

    params: int
    params_with_auxiliary: int
    macs: int


def profile(model: keras.Model, path: Mapping[str, str] | None = None) -> Profile:
    """Counts a network, or the sub-network of a path in a supernet.

    Args:
        model: a built network or `models.networks.supernet.Supernet`.
        path: the operation of each choice, for a supernet. Default None: all there is.
    """
    layers = [model] if path is None else model.path_layers(path)
    auxiliary_head = getattr(model, "auxiliary_head", None)
    auxiliary = [auxiliary_head] if auxiliary_head is not None else []
    total, extra = sum(map(parameters, layers)), sum(map(parameters, auxiliary))
    macs = sum(map(multiply_adds, layers)) - sum(map(multiply_adds, auxiliary))
    return Profile(params=total - extra, params_with_auxiliary=total, macs=macs)


def parameters(layer: keras.layers.Layer) -> int:
    """Returns the trainable parameters of a built layer."""
    return sum(math.prod(variable.shape) for variable in layer.trainable_variables)


def multiply_adds(layer: keras.layers.Layer) -> int:
    """Returns the multiply-adds of a built layer and of all inside it, for one image."""
    return sum(
        math.prod(output_shape(leaf)[1:-1]) * sum(math.prod(w.shape) for w in leaf.weights if len(w.shape) > 1)
        for leaf in _leaves(layer)
        if leaf.weights
    )


def output_shape(layer: keras.layers.Layer) -> tuple:
    """Returns the shape that a layer returns for what it was built for; the batch is None."""
    config = layer.get_build_config()
    shapes = config.get("shapes_dict") or config
    return layer.compute_output_shape(*shapes.values())


def _leaves(layer) -> Iterator[keras.layers.Layer]:
    # Keras lists the layers inside a Model in public, those inside a plain layer only here.
    inside = list(layer._flatten_layers(include_self=False, recursive=False))
    if not inside:
        yield layer
    for child in inside:
        yield from _leaves(child)
