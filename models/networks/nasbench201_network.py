"""The network of a NAS-Bench-201 architecture (Dong and Yang 2020, arXiv 2001.00326)."""

import functools

import keras

from models.architectures import limits
from models.architectures.checks import require_genotype
from models.architectures.nasbench201 import NasBench201Genotype
from models.networks import layers
from models.networks.heads import CIFAR_EPSILON, Head, require_input
from models.networks.nasbench201 import STAGES, features, positions, skeleton


class NasBench201Network(keras.Model):
    """Three stages of equal cells. Make one by `nasbench201_network`.

    As in the benchmark, every operation of the genotype has its weights, also where it is cut off from the output.

    Args:
        genotype: the cell.
        input_shape: (height, width, channels) of an image.
        classes: number of classes.
        channels, cells: as for `nasbench201_network`.
    """

    def __init__(self, genotype, input_shape, classes, channels, cells, **kwargs):
        super().__init__(**kwargs)
        norm = functools.partial(layers.BatchNorm, epsilon=CIFAR_EPSILON)
        self.genotype = genotype
        self.skeleton = skeleton([(name,) for name in genotype.operations], input_shape, channels, cells, norm)
        self.head = Head(classes)
        self.head.build((None, None, None, channels * 2 ** (STAGES - 1)))
        self.built = True

    def call(self, images, training=False):
        return self.head(features(self.skeleton, images, self.genotype.operations)[-1])

    def positions(self) -> dict[str, keras.layers.Layer]:
        """Returns the layers by their place (models/networks/inheritance.py)."""
        return positions(self.skeleton, self.head)


def nasbench201_network(
    genotype: NasBench201Genotype, input_shape, classes: int, *, channels: int = 16, cells: int = 5
) -> NasBench201Network:
    """Returns the network of a NAS-Bench-201 genotype.

    Args:
        genotype: the cell.
        input_shape: (height, width, channels) of an image; 4x4 pixels or more.
        classes: number of classes, 2 or more.
        channels: channels of the first stage; they double from stage to stage. Default 16 (the benchmark's).
        cells: cells of each of the three stages, 1 or more. Default 5 (the benchmark's).

    Raises:
        ValueError: if an argument is not as said above; GenotypeError for the genotype.
    """
    require_genotype(genotype, NasBench201Genotype)
    input_shape = require_input(input_shape, classes, limits.HALVINGS["nasbench201"])
    return NasBench201Network(genotype, input_shape, classes, channels, cells)
