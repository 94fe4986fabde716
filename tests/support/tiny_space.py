"""A search space of one's own, in one file: a chain of three blocks, each a small convolution or nothing at all.

Named in a config as `tests.support.tiny_space`. Its supernet is traced in a fraction of a second.
"""

import dataclasses

import keras

from models.architectures.choices import Choice
from models.networks import layers
from models.networks.supernet import Supernet, search_norm

OPERATIONS = ("conv_1x1", "conv_3x3", "skip")
BLOCKS = 3


@dataclasses.dataclass(frozen=True)
class TinyGenotype:
    """The operation of each block."""

    blocks: tuple[str, ...]

    def to_dict(self):
        return {"space": "tests.support.tiny_space", "blocks": list(self.blocks)}

    def text(self):
        return " ".join(self.blocks)


class TinySpace:
    """See the module."""

    name = "tests.support.tiny_space"

    def __init__(self, operations):
        self.choices = tuple(Choice(f"block_{number}", tuple(operations)) for number in range(BLOCKS))

    def supernet(self, input_shape, classes, *, channels=4):
        return TinySupernet(input_shape, classes, channels, self.choices[0].operations)

    def genotype(self, path):
        return TinyGenotype(tuple(path[choice.name] for choice in self.choices))

    def derive(self, probabilities):
        return TinyGenotype(
            tuple(max(zip(probabilities[choice.name], choice.operations, strict=True))[1] for choice in self.choices)
        )

    def repair(self, path, generator):
        return dict(path)

    def path(self, genotype):
        return {choice.name: operation for choice, operation in zip(self.choices, genotype.blocks, strict=True)}


class TinySupernet(Supernet):
    """Stem, three blocks of choices, global pooling and a linear layer."""

    def __init__(self, input_shape, classes, channels, operations):
        super().__init__(input_shape)
        norm = search_norm(1e-5)
        self.stem, self.stem_norm = layers.Conv2D(channels, 3), norm()
        self.stem.build((None, *input_shape))
        shape = (None, *input_shape[:2], channels)
        self.stem_norm.build(shape)
        sizes = {"conv_1x1": 1, "conv_3x3": 3}
        self.blocks = {}
        for number in range(BLOCKS):
            for name in operations:
                if name in sizes:
                    self.blocks[f"{number}_{name}"] = [layers.Conv2D(channels, sizes[name]), norm()]
        for convolution, norm_layer in self.blocks.values():
            convolution.build(shape)
            norm_layer.build(shape)
        self.head = keras.layers.Dense(classes)
        self.head.build((None, channels))
        self.built = True

    def _chosen(self, path):
        return [
            self.blocks[f"{number}_{path[f'block_{number}']}"]
            for number in range(BLOCKS)
            if path[f"block_{number}"] != "skip"
        ]

    def call(self, images, path, training=False):
        return self.head(keras.ops.mean(self.stages(images, path)[-1], axis=(1, 2)))

    def stages(self, images, path):
        state = self.stem_norm(self.stem(images))
        for convolution, norm in self._chosen(path):
            state = keras.ops.relu(norm(convolution(state)))
        return [state]

    def path_layers(self, path):
        return [self.stem, self.stem_norm, *(layer for block in self._chosen(path) for layer in block), self.head]


def create(operations=OPERATIONS):
    return TinySpace(operations)
