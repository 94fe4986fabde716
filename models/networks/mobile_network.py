"""The network of the mobile setting: a chain of inverted-residual blocks (section 4.3 of the paper)."""

import functools

import keras
from keras import ops

from models.architectures.checks import require_genotype
from models.architectures.mobile import MobileGenotype
from models.networks import layers, operations
from models.networks.heads import IMAGENET_EPSILON, Head, require_input


def mobile_stem(backbone, norm: operations.Norm) -> operations.Chain:
    """3x3 convolution, batch norm, ReLU6."""
    convolution = layers.Conv2D(backbone.stem, 3, backbone.stem_stride)
    return operations.Chain([convolution, norm(), ops.relu6], name="stem")


def mobile_feature_mix(backbone, norm: operations.Norm) -> operations.Chain:
    """Returns the last 1x1 convolution, batch norm, ReLU6."""
    return operations.Chain([layers.Conv2D(backbone.head), norm(), ops.relu6], name="feature_mix")


class MobileNetwork(keras.Model):
    """A chain of inverted-residual blocks. Make one by `mobile_network`.

    Args:
        genotype: the blocks.
        input_shape: (height, width, channels) of an image.
        classes: number of classes.
        dropout: as for `mobile_network`.
    """

    def __init__(self, genotype, input_shape, classes, dropout, **kwargs):
        super().__init__(**kwargs)
        norm = functools.partial(layers.BatchNorm, epsilon=IMAGENET_EPSILON)
        backbone = genotype.backbone
        self.genotype = genotype
        self.stem = mobile_stem(backbone, norm)
        self.blocks = [
            operations.InvertedResidual(channels, *block, strides, norm, name=f"block_{index}")
            for index, ((channels, strides), block) in enumerate(zip(backbone.blocks, genotype.blocks, strict=True))
            if block is not None
        ]
        self.feature_mix = mobile_feature_mix(backbone, norm)
        self.head = Head(classes, dropout)
        shape = (None, *input_shape)
        for layer in (self.stem, *self.blocks, self.feature_mix):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.head.build(shape)
        self.built = True

    def call(self, images, training=False):
        for layer in (self.stem, *self.blocks, self.feature_mix):
            images = layer(images)
        return self.head(images)

    def positions(self) -> dict[str, keras.layers.Layer]:
        """Returns the layers by their place (models/networks/inheritance.py)."""
        names = [f"block_{index}_k{b[0]}_e{b[1]}" for index, b in enumerate(self.genotype.blocks) if b is not None]
        inside = dict(zip(names, self.blocks, strict=True))
        return {self.stem.name: self.stem, **inside, "feature_mix": self.feature_mix, self.head.name: self.head}


def mobile_network(genotype: MobileGenotype, input_shape, classes: int, *, dropout: float = 0.0) -> MobileNetwork:
    """Returns the network of the mobile setting (the released MdeNAS-GPU and MdeNAS-CPU networks).

    Args:
        genotype: the backbone and its blocks.
        input_shape: (height, width, channels) of an image, as large as the backbone's strides need.
        classes: number of classes, 2 or more.
        dropout: probability of dropping a feature before the classifier. Default 0.

    Raises:
        ValueError: if an argument is not as said above; GenotypeError for the genotype.
    """
    require_genotype(genotype, MobileGenotype)
    input_shape = require_input(input_shape, classes, genotype.backbone.halvings)
    return MobileNetwork(genotype, input_shape, classes, dropout)
