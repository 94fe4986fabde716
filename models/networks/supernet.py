"""What the supernets of all search spaces share.

A supernet holds the weights of every operation that its search space offers; a path names one
operation for each choice, and a call computes the sub-network of that path alone. The path is plain
Python data: inside a tf.function it is fixed when the function is traced, so each traced function
holds one sub-network and nothing of the others.
"""

import functools

import keras

from models.architectures.choices import Path
from models.networks import layers


class Supernet(keras.Model):
    """Base class. A subclass creates and builds all layers in its constructor.

    Batch norm has neither affine parameters (DARTS's rule in the search) nor moving statistics: no
    one set of statistics fits all sub-networks, so a path has no state besides its trainable
    variables. Training uses the batch's own statistics, validation those that
    models/networks/batch_statistics.py takes from training images for the path.

    Args:
        image_shape: (height, width, channels) of an image.
    """

    def __init__(self, image_shape: tuple[int, int, int], **kwargs):
        super().__init__(**kwargs)
        self.image_shape = tuple(image_shape)

    def __call__(self, images, path: Path, training: bool = False):
        # Keras takes nothing but tensors as positional arguments.
        return super().__call__(images, path=path, training=training)

    def call(self, images, path: Path, training: bool = False):
        """Computes the sub-network of a path.

        Args:
            images: float32 (batch, height, width, channels), normalised.
            path: the operation of each choice; fixed at trace time.
            training: changes nothing here; spaces of your own may have layers that it does.

        Returns:
            float32 logits (batch, classes).

        Raises:
            ValueError: if the path lacks a choice or names an operation that is not there.
        """
        raise NotImplementedError

    def stages(self, images, path: Path) -> list:
        """Returns the features at the end of each stage, that is before the sides are halved and before the head.

        Args:
            images: float32 (batch, height, width, channels), normalised.
            path: the operation of each choice.

        Returns:
            Tensors (batch, height, width, channels), the head's input last.

        Raises:
            ValueError: if the path lacks a choice or names an operation that is not there.
        """
        raise NotImplementedError

    def positions(self) -> dict[str, keras.layers.Layer]:
        """Returns the layers by their place (models/networks/inheritance.py)."""
        raise NotImplementedError

    def path_layers(self, path: Path) -> list[keras.layers.Layer]:
        """Returns the layers that the sub-network of a path uses, in a fixed order."""
        raise NotImplementedError

    def path_variables(self, path: Path) -> list[keras.Variable]:
        """Returns the trainable variables that the sub-network's logits depend on, in a fixed order."""
        return [v for layer in self.path_layers(path) for v in layer.trainable_variables]


def search_norm(epsilon: float):
    """Returns a function that makes the batch norm layers of a supernet."""
    return functools.partial(layers.BatchNorm, affine=False, moving=False, epsilon=epsilon)
