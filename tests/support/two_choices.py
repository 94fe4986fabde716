"""A small supernet for tests: its programs are traced in a tenth of a second."""

import keras
import tensorflow as tf

from models.networks import layers
from models.networks.supernet import Supernet

CLASSES = 3
SIDE = 8
PATH = {"first": "wide", "second": "dilated"}


class TwoChoices(Supernet):
    """A small supernet: a 1x1 stem, two choices one after the other, pooling, a linear head."""

    OPERATIONS = ("wide", "dilated", "conv", "none")

    def __init__(self, extra=0):
        super().__init__((SIDE, SIDE, 3))
        self.stem = keras.Sequential([layers.Conv2D(4), layers.BatchNorm(moving=False)])
        self.stem.build((None, SIDE, SIDE, 3))
        make = {
            "wide": lambda: layers.DepthwiseConv2D(5),
            "dilated": lambda: layers.DepthwiseConv2D(3, dilation=2),
            "conv": lambda: layers.Conv2D(4, 3),
        }
        make |= {f"extra_{i}": make["conv"] for i in range(extra)}
        self.choices = {
            f"{choice}/{name}": keras.Sequential([function(), layers.BatchNorm(affine=False, moving=False)])
            for choice in ("first", "second")
            for name, function in make.items()
        }
        for operation in self.choices.values():
            operation.build((None, SIDE, SIDE, 4))
        self.head = keras.layers.Dense(CLASSES)
        self.head.build((None, 4))
        self.built = True

    def call(self, images, path, training=False):
        state = self.stem(images, training=training)
        for choice in ("first", "second"):
            if path[choice] == "none":
                state = tf.zeros_like(state)
            else:
                state = state + self.choices[f"{choice}/{path[choice]}"](keras.ops.relu(state), training=training)
        return self.head(tf.reduce_mean(state, [1, 2]))

    def path_layers(self, path):
        used = [self.choices[f"{choice}/{path[choice]}"] for choice in ("first", "second") if path[choice] != "none"]
        return [self.stem, *used, self.head]
