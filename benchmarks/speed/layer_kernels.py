"""How much faster the tuned layers are than the plain ones: forward and backward of each, in alternating rounds.

    python -m benchmarks.speed.layer_kernels [--batch=64] [--sides=32,16,8] [--channels=16]

The channels double where the side halves, as in the networks. Runs on one core with one thread.
"""

import statistics
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks.speed import step_worker
from models.networks import layers, traced
from models.runtime import tuning

_BATCH = flags.DEFINE_integer("batch", 64, "Images.", lower_bound=1)
_SIDES = flags.DEFINE_list("sides", ["32", "16", "8"], "Heights and widths, largest first.")
_CHANNELS = flags.DEFINE_integer("channels", 16, "Channels at the largest side.", lower_bound=2)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Rounds.", lower_bound=1)

LAYERS = {
    "batch norm": lambda channels: layers.BatchNorm(affine=False, moving=False),
    "grouped 3x3": lambda channels: layers.GroupConv2D(3),
    "depthwise 3x3": lambda channels: layers.DepthwiseConv2D(3),
    "depthwise 5x5": lambda channels: layers.DepthwiseConv2D(5),
    "depthwise 7x7": lambda channels: layers.DepthwiseConv2D(7),
    "depthwise 3x3, dilation 2": lambda channels: layers.DepthwiseConv2D(3, 1, 2),
    "depthwise 5x5, dilation 2": lambda channels: layers.DepthwiseConv2D(5, 1, 2),
    "depthwise 3x3, stride 2": lambda channels: layers.DepthwiseConv2D(3, 2),
    "depthwise 5x5, stride 2": lambda channels: layers.DepthwiseConv2D(5, 2),
    "depthwise 5x5, stride and dilation 2": lambda channels: layers.DepthwiseConv2D(5, 2, 2),
    "max pool": lambda channels: layers.MaxPool(),
    "max pool, stride 2": lambda channels: layers.MaxPool(3, 2),
    "average pool": lambda channels: layers.AvgPool(),
    "average pool, stride 2": lambda channels: layers.AvgPool(3, 2),
    "factorized reduction": lambda channels: layers.FactorizedReduction(channels),
}


def step(layer, images, tuned):
    """A function that runs the layer forward and backward, as a traced path does."""
    weights = [variable.value for variable in layer.trainable_variables]
    trains = {"training": True} if isinstance(layer, layers.BatchNorm | layers.DepthwiseConv2D) else {}
    outputs_gradient = tf.random.normal(layer.compute_output_shape(images.shape))

    def forward_and_backward(images):
        with traced.registered_gradients():
            outputs = layer(images, **trains)
            return tf.gradients(outputs, [images, *weights], outputs_gradient)

    tuning.set_tuned(tuned)
    function = tf.function(forward_and_backward, autograph=False).get_concrete_function(
        tf.TensorSpec(images.shape, images.dtype)
    )
    function(images)
    return function


def compare(layer, images, rounds):
    """Milliseconds of the plain and of the tuned layer: medians over the rounds."""
    steps = [step(layer, images, tuned) for tuned in (False, True)]
    seconds = ([], [])
    for _ in range(rounds):
        for function, measured in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            for _ in range(5):
                function(images)
            measured.append((time.perf_counter() - start) / 5)
    return [1e3 * statistics.median(measured) for measured in seconds]


def main(argv):
    del argv
    step_worker.pin(0)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    print(f"{'layer':38}{'images':>18}{'plain ms':>10}{'tuned ms':>10}{'ratio':>8}")
    for name, make in LAYERS.items():
        sides = [int(side) for side in _SIDES.value]
        for side in sides:
            channels = _CHANNELS.value * sides[0] // side
            shape = (_BATCH.value, side, side, channels)
            images = tf.constant(np.random.default_rng(0).normal(size=shape), tf.float32)
            keras.utils.set_random_seed(0)
            layer = make(channels)
            layer.build(shape)
            plain, tuned = compare(layer, images, _ROUNDS.value)
            print(f"{name:38}{'x'.join(map(str, shape)):>18}{plain:>10.2f}{tuned:>10.2f}{tuned / plain:>8.2f}")


if __name__ == "__main__":
    app.run(main)
