"""Latency tables without real time."""

from models.architectures.nasbench201 import connected
from models.costs import table_measurement
from models.networks import profiling
from models.networks.nasbench201 import NasBench201Cell

CALL, FIXED = 0.25, 0.5


def counted(layers, shape):
    """A stopwatch that counts: a call and multiply-adds, which in whole networks take half as much again, and more."""
    if hasattr(layers[0], "genotype"):
        return CALL + FIXED + 1.5e-3 * sum(map(profiling.multiply_adds, _computed(layers[0])))
    return CALL + 1e-3 * sum(map(profiling.multiply_adds, layers))


def _computed(network):
    """The layers that LiteRT computes, without what is cut off from image or output."""
    if not hasattr(network, "skeleton"):
        return [network]
    found = [network.head]
    for layer in network.skeleton:
        cell = isinstance(layer, NasBench201Cell)
        found += layer.path_layers(connected(network.genotype.operations)) if cell else [layer]
    return found


def measured(path, space, train, image_shape, classes, timed=counted, **options):
    """Returns a table that the stopwatch `timed` has measured."""
    options = {"backend": "litert", "networks": 6, "rounds": 1, **options}
    return table_measurement.measure(str(path), space, train, image_shape, classes, timed=timed, **options)
