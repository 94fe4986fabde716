"""The supernet of the mobile space: all candidates of every block of a chain."""

from collections.abc import Sequence

import keras

from models.architectures.choices import Choice, Path
from models.architectures.mobile import SKIP, Backbone, parse, path_genotype
from models.networks import operations
from models.networks.heads import IMAGENET_EPSILON, Head, require_input
from models.networks.mobile_network import mobile_feature_mix, mobile_stem
from models.networks.supernet import Supernet, search_norm


class MobileSupernet(Supernet):
    """A chain in which every block exists in all its kinds. Make one by `MobileSpace.supernet`."""

    def __init__(self, backbone: Backbone, choices: Sequence[Choice], input_shape, classes, **kwargs):
        input_shape = require_input(input_shape, classes, backbone.halvings)
        super().__init__(input_shape, **kwargs)
        self.backbone = backbone
        norm = search_norm(IMAGENET_EPSILON)
        shape = (None, *input_shape)
        self.stem = mobile_stem(backbone, norm)
        self.stem.build(shape)
        shape = self.stem.compute_output_shape(shape)
        self.blocks = {}
        for choice, (channels, strides) in zip(choices, backbone.blocks, strict=True):
            for name in choice.operations:
                if name != SKIP:
                    block = operations.InvertedResidual(channels, *parse(name), strides, norm)
                    block.build(shape)
                    self.blocks[f"{choice.name}_{name}"] = block
            shape = block.compute_output_shape(shape)
        self.feature_mix = mobile_feature_mix(backbone, norm)
        self.feature_mix.build(shape)
        self.head = Head(classes)
        self.head.build(self.feature_mix.compute_output_shape(shape))
        self.built = True

    def call(self, images, path: Path, training: bool = False):
        return self.head(self.stages(images, path)[-1])

    def stages(self, images, path: Path) -> list:
        ends = []
        for layer in self.path_layers(path)[:-1]:
            if isinstance(layer, operations.InvertedResidual) and layer.strides > 1:
                ends.append(images)
            images = layer(images)
        return [*ends, images]

    def positions(self) -> dict[str, keras.layers.Layer]:
        return {self.stem.name: self.stem, **self.blocks, "feature_mix": self.feature_mix, self.head.name: self.head}

    def path_layers(self, path: Path) -> list[keras.layers.Layer]:
        path_genotype(path, self.backbone)  # checks it
        used = []
        for index in range(len(self.backbone.blocks)):
            choice = f"block_{index}"
            name = path[choice]
            if name == SKIP:
                continue
            if f"{choice}_{name}" not in self.blocks:
                raise ValueError(f"path: this supernet has no operation {name!r} for {choice}")
            used.append(self.blocks[f"{choice}_{name}"])
        return [self.stem, *used, self.feature_mix, self.head]
