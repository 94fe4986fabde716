"""The rows of benchmarks/speed/supernet_step.py that run on TensorFlow.

python -m benchmarks.speed.supernet_rows '{"row": "supernet", "core": 0, ...}'    (supernet_step.py does that)
"""

import functools
import json
import sys
import time

from benchmarks.speed import step_worker

if __name__ == "__main__":
    step_worker.pin(json.loads(sys.argv[1])["core"])

import keras
import numpy as np
import tensorflow as tf

from benchmarks.speed import more_operations
from models.architectures.cell import CONCAT, INPUTS, NODES, NONE, choice_name
from models.networks import layers
from models.networks.cell import all_edges, reductions, stack
from models.networks.cell_network import cifar_stem
from models.networks.cell_supernet import CellSupernet
from models.networks.heads import CIFAR_EPSILON, Head
from models.networks.supernet import search_norm
from models.runtime import setup, tuning
from models.search.path_training import PathTrainer
from models.search_spaces import cell
from models.training.optimizer import SGD

CLASSES = 10
RECIPE = {"momentum": 0.9, "weight_decay": 3e-4}
LEARNING_RATE, CLIP = 0.025, 5.0
KINDS = ("normal", "reduce")


class Supernet:
    """Ours: shared weights of all operations, one program for each sampled path."""

    def __init__(self, options, data, paths):
        self.paths, self.data = paths, data
        self.trainer = PathTrainer(
            _supernet(options, self.space()), gradient_clip=CLIP, cache_size=len(paths), **RECIPE
        )

    def space(self):
        return cell.create()

    def train(self, number, steps):
        batches = [self.data]
        return step_worker.timed(lambda: self.trainer.train_epoch(self.paths[number], batches, LEARNING_RATE), steps)

    def evaluate(self, number, steps):
        return step_worker.timed(lambda: self.trainer.evaluate(self.paths[number], [self.data], [self.data]), steps)


class DoubleSupernet(Supernet):
    """Ours, with eight more operations on each edge, which are never sampled."""

    def space(self):
        return cell.create((*cell.create().operations, *more_operations.NAMES))


class Static:
    """The sampled architecture alone: the same layers and step, but no operation besides."""

    def __init__(self, options, data, paths):
        self.options, self.paths, self.data = options, paths, data
        self.trainers = {}

    def train(self, number, steps):
        def step():
            if number not in self.trainers:
                network = SingleArchitecture(self.options, self.paths[number])
                self.trainers[number] = PathTrainer(network, gradient_clip=CLIP, **RECIPE)
            self.trainers[number].train_epoch(self.paths[number], [self.data], LEARNING_RATE)

        return step_worker.timed(step, steps)


class SingleArchitecture(CellSupernet):
    """A `CellSupernet` in which the operations of one path alone exist."""

    def __init__(self, options, path):
        shape = options["image_shape"]
        keras.Model.__init__(self)
        self.image_shape = tuple(shape)
        norm = search_norm(CIFAR_EPSILON)
        self.stem = cifar_stem(options["channels"], norm)
        self.stem.build((None, *shape))
        shape = self.stem.compute_output_shape((None, *shape))
        self.cells = stack(
            {kind: {edge: (path[_choice(kind, *edge)],) for edge in all_edges()} for kind in KINDS},
            {kind: CONCAT for kind in KINDS},
            (shape, shape),
            cells=options["cells"],
            channels=options["channels"],
            after_reduction=False,
            norm=norm,
        )
        self.head = Head(CLASSES)
        self.head.build((None, None, None, self.cells[-1].channels * NODES))
        self.built = True


class KerasFit:
    """The sampled architecture of ordinary Keras layers in `fit`."""

    def __init__(self, options, data, paths):
        self.options, self.data, self.paths = options, data, paths
        self.models = {}

    def train(self, number, steps):
        start = time.perf_counter()
        if number not in self.models:
            model = keras_network(self.options, self.paths[number])
            optimizer = keras.optimizers.SGD(LEARNING_RATE, global_clipnorm=CLIP, **RECIPE)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
            self.models[number] = model
        ends = []
        mark = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
        batches = tf.data.Dataset.from_tensors(self.data).repeat(steps)
        self.models[number].fit(batches, callbacks=[mark], verbose=0)
        return np.diff([start, *ends]).tolist()


def keras_network(options, path):
    """The architecture of a path as a functional model of Keras's own layers."""
    layer = keras.layers

    def norm(x):
        return layer.BatchNormalization(center=False, scale=False, epsilon=1e-5)(x)

    def relu_conv_norm(x, channels):
        return norm(layer.Conv2D(channels, 1, use_bias=False)(layer.ReLU()(x)))

    def factorized_reduction(x, channels):
        x = layer.ReLU()(x)
        halves = [
            layer.Conv2D(channels // 2, 1, strides=2, use_bias=False)(part)
            for part in (x, layer.Cropping2D(((1, 0), (1, 0)))(x))
        ]
        return norm(layer.Concatenate()(halves))

    def separable(x, channels, size, strides=1, dilation=1):
        x = layer.ReLU()(x)
        if strides > 1 and dilation > 1:  # TensorFlow has no such depthwise convolution
            x, strides, dilation = layer.AveragePooling2D(1, 2)(x), 1, 1
        x = layer.DepthwiseConv2D(size, strides, "same", dilation_rate=dilation, use_bias=False)(x)
        return norm(layer.Conv2D(channels, 1, use_bias=False)(x))

    def edge(name, x, channels, strides):
        if name == "skip_connect":
            return x if strides == 1 else factorized_reduction(x, channels)
        kind, _, size = name.rpartition("_")
        size = int(size[0])
        if kind == "max_pool":
            return norm(layer.MaxPooling2D(size, strides, "same")(x))
        if kind == "avg_pool":
            return norm(layer.AveragePooling2D(size, strides, "same")(x))
        if kind == "sep_conv":
            return separable(separable(x, channels, size, strides), channels, size)
        return separable(x, channels, size, strides, dilation=2)

    def cell_output(input0, input1, kind, channels, after_reduction):
        prepare = factorized_reduction if after_reduction else relu_conv_norm
        states = [prepare(input0, channels), relu_conv_norm(input1, channels)]
        for node in range(INPUTS, INPUTS + NODES):
            outputs = []
            for source in range(node):
                strides = 2 if kind == "reduce" and source < INPUTS else 1
                name = path[_choice(kind, node, source)]
                if name != NONE:
                    outputs.append(edge(name, states[source], channels, strides))
            if not outputs:
                strides = 2 if kind == "reduce" else 1
                outputs = [layer.Rescaling(0.0)(layer.AveragePooling2D(1, strides)(states[0]))]
            states.append(layer.Add()(outputs) if len(outputs) > 1 else outputs[0])
        return layer.Concatenate()(states[INPUTS:])

    images = keras.Input(options["image_shape"])
    channels = options["channels"]
    state = norm(layer.Conv2D(3 * channels, 3, padding="same", use_bias=False)(images))
    states = (state, state)
    after_reduction = False
    for index in range(options["cells"]):
        reduction = index in reductions(options["cells"])
        channels *= 2 if reduction else 1
        kind = "reduce" if reduction else "normal"
        states = (states[1], cell_output(*states, kind, channels, after_reduction))
        after_reduction = reduction
    features = layer.GlobalAveragePooling2D()(states[1])
    return keras.Model(images, layer.Dense(CLASSES)(features))


class Naive(CellSupernet):
    """What the two naive ways share: one program that takes the architecture as a tensor.

    `call` takes `architecture`, int32 (choices,) or float32 (choices, operations), instead of a path.
    """

    def __call__(self, images, architecture):
        state = self.stem(images)
        states = (state, state)
        for cell_ in self.cells:
            states = (states[1], self.cell_output(cell_, *states, architecture))
        return self.head(states[1])

    def cell_output(self, cell_, input0, input1, architecture):
        kind = "reduce" if cell_.reduction else "normal"
        states = [cell_.preprocess["0"](input0), cell_.preprocess["1"](input1)]
        for node in range(INPUTS, INPUTS + NODES):
            outputs = []
            for source in range(node):
                candidates = [
                    functools.partial(self.edge, cell_, node, source, name, states[source]) for name in self.operations
                ]
                outputs.append(self.choose(candidates, architecture[self.numbers[_choice(kind, node, source)]]))
            states.append(tf.add_n(outputs))
        return tf.concat(states[INPUTS:], axis=-1)

    def edge(self, cell_, node, source, name, state):
        if name == NONE:
            zeros = tf.zeros_like(state)
            return layers.subsample(zeros) if cell_.reduction and source < INPUTS else zeros
        return cell_.edge(node, source, name)(state, training=True)


class SwitchNetwork(Naive):
    def choose(self, candidates, index):
        return tf.switch_case(index, candidates)


class MixedNetwork(Naive):
    def choose(self, candidates, weights):
        return tf.add_n([candidate() * weights[i] for i, candidate in enumerate(candidates)])


class Switch:
    """Shared weights, tf.switch_case for each edge: one program for all, a gradient for every weight."""

    network = SwitchNetwork
    tuned = False

    def __init__(self, options, data, paths):
        tuning.set_tuned(self.tuned)
        space = cell.create()
        self.model = _supernet(options, space, self.network)
        self.model.operations = space.operations
        self.model.numbers = {choice.name: number for number, choice in enumerate(space.choices)}
        self.data, self.paths = data, paths
        self.optimizer = SGD(LEARNING_RATE, global_clipnorm=CLIP, **RECIPE)
        self.optimizer.build(self.model.trainable_variables)
        self.step = tf.function(self._step, autograph=False)

    def _step(self, images, labels, architecture):
        with tf.GradientTape() as tape:
            logits = self.model(images, architecture)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        variables = [variable.value for variable in self.model.trainable_variables]
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        self.optimizer.apply(gradients, self.model.trainable_variables)
        return loss

    def train(self, number, steps):
        architecture = self.architecture(self.paths[number])
        return step_worker.timed(lambda: self.step(*self.data, architecture).numpy(), steps)

    def architecture(self, path):
        return tf.constant([self.model.operations.index(path[name]) for name in self.model.numbers])


class TunedSwitch(Switch):
    """The same with our tuned layers."""

    tuned = True


class Mixed(Switch):
    """All operations computed and weighted."""

    network = MixedNetwork

    def architecture(self, path):
        return tf.one_hot(super().architecture(path), len(self.model.operations))


class TunedMixed(Mixed):
    """The same with our tuned layers."""

    tuned = True


ROWS = {
    "supernet": Supernet,
    "supernet_16": DoubleSupernet,
    "static": Static,
    "keras_fit": KerasFit,
    "switch": Switch,
    "switch_tuned": TunedSwitch,
    "mixed": Mixed,
    "mixed_tuned": TunedMixed,
}


def _choice(kind, node, source):
    return choice_name(kind, node, source)


def _supernet(options, space, network=CellSupernet):
    return network(space.operations, options["image_shape"], CLASSES, options["channels"], options["cells"])


def main():
    options = json.loads(sys.argv[1])
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    setup.set_up(seed=0, deterministic=False, tuned_kernels=True)
    random = np.random.default_rng(0)
    images = random.normal(size=(options["batch"], *options["image_shape"])).astype("float32")
    labels = random.integers(CLASSES, size=options["batch"]).astype("int32")
    row = ROWS[options["row"]](options, (tf.constant(images), tf.constant(labels)), options["paths"])
    step_worker.serve(row, len(options["paths"]), options["steps"])


if __name__ == "__main__":
    main()
