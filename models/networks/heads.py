"""What networks and supernets have in common: the heads, batch norm's epsilons, and what is asked of an image."""

import keras
from keras import ops

from models.networks import layers, operations

CIFAR_EPSILON = 1e-5


IMAGENET_EPSILON = 1e-3  # of the ImageNet and the mobile networks


def linear(units: int, **kwargs) -> keras.layers.Dense:
    """Returns a linear layer in float32 that starts as PyTorch's: uniform within 1 / sqrt(inputs)."""
    initializer = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return keras.layers.Dense(units, kernel_initializer=initializer, dtype="float32", **kwargs)


def require_input(input_shape, classes: int, halvings: int) -> tuple[int, int, int]:
    """Checks the shape of the images and the number of classes that a network is asked for.

    Args:
        input_shape: (height, width, channels) of an image.
        classes: number of classes.
        halvings: how many times the network halves the sides.

    Returns:
        `input_shape` as a tuple of int.

    Raises:
        ValueError: if the image is too small, or if there are less than two classes.
    """
    height, width, channels = map(int, input_shape)
    smallest = 2**halvings
    if min(height, width) < smallest:
        raise ValueError(
            f"input_shape: found {height}x{width} pixels; the network halves the sides {halvings} "
            f"times and needs at least {smallest}x{smallest}: take larger images"
        )
    if channels < 1:
        raise ValueError(f"input_shape: found {channels} channels; expected 1 or more")
    if classes < 2:
        raise ValueError(f"classes: found {classes}; expected 2 or more")
    return height, width, channels


class Head(keras.layers.Layer):
    """Global average pooling, dropout, linear classifier.

    Args:
        classes: number of classes.
        dropout: probability of dropping a feature in training, 0 to below 1. Default 0.
    """

    def __init__(self, classes: int, dropout: float = 0.0, name: str = "head", **kwargs):
        super().__init__(name=name, **kwargs)
        self.dropout = keras.layers.Dropout(dropout, dtype="float32") if dropout else None
        self.classifier = linear(classes)

    def build(self, input_shape):
        self.classifier.build((None, input_shape[-1]))

    def call(self, images):
        features = ops.mean(ops.cast(images, "float32"), axis=(1, 2))
        if self.dropout is not None:
            features = self.dropout(features)
        return self.classifier(features)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.classifier.units)


class AuxiliaryHead(keras.layers.Layer):
    """The second classifier, which sees the features two thirds down and helps their training.

    ReLU, 5x5 average pool, 1x1 convolution to 128, batch norm, ReLU, 2x2 convolution to 768, batch
    norm (CIFAR only), ReLU, linear. Larger images than the paper's leave more than one position
    after the convolutions: they are averaged.

    Args:
        classes: number of classes.
        pool_strides: stride of the pool, 3 in the CIFAR network, 2 in the ImageNet network.
        last_norm: whether batch norm follows the 2x2 convolution.
        norm: makes a batch norm layer.
    """

    def __init__(self, classes, pool_strides, last_norm, norm, **kwargs):
        super().__init__(**kwargs)
        self.features = operations.Chain(
            [
                ops.relu,
                layers.AvgPool(5, pool_strides, padding=0),
                layers.Conv2D(128),
                norm(),
                ops.relu,
                layers.Conv2D(768, 2, padding=0),
                *([norm()] if last_norm else []),
                ops.relu,
            ]
        )
        self.head = Head(classes)

    def build(self, input_shape):
        self.features.build(input_shape)
        self.head.build(self.features.compute_output_shape(input_shape))

    def call(self, images):
        return self.head(self.features(images))

    def compute_output_shape(self, input_shape):
        return self.head.compute_output_shape(input_shape)
