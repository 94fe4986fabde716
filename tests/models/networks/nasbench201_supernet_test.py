"""Tests of NAS-Bench-201's supernet: random paths against networks and gradients, and what `none` cuts off."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.architectures.nasbench201 import connected
from models.networks.nasbench201 import NasBench201Cell
from tests.support.spaces import make_space

SHAPE, CLASSES = (8, 8, 3), 4
OPTIONS = {"channels": 4, "cells": 2}
SPACE = make_space({"name": "nasbench201"})
NONE_LEFT = {choice.name: "none" for choice in SPACE.choices}


@pytest.fixture(scope="module")
def supernet():
    keras.utils.set_random_seed(0)
    made = SPACE.supernet(SHAPE, CLASSES, **OPTIONS)
    made.head.classifier.bias.assign(np.linspace(-1, 1, CLASSES))  # else logits without input have no gradient at all
    return made


def images(batch=8):
    return tf.constant(np.random.default_rng(0).normal(size=(batch, *SHAPE)), tf.float32)


def random_paths(count, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield {choice.name: str(rng.choice(choice.operations)) for choice in SPACE.choices}


def is_cut_off(path):
    return set(connected(tuple(path.values()))) == {"none"}


def used_layers(network):
    """The layers of a network that its logits depend on."""
    operations = connected(network.genotype.operations)
    for layer in network.skeleton:
        yield from layer.path_layers(operations) if isinstance(layer, NasBench201Cell) else [layer]
    yield network.head


def test_paths_of_50_random_architectures_equal_their_networks(supernet):
    for path in (*random_paths(50), NONE_LEFT, {**NONE_LEFT, "edge_3_2": "nor_conv_3x3"}):
        network = SPACE.network(SPACE.genotype(path), SHAPE, CLASSES, **OPTIONS)
        # The supernet's batch norm has no scale and shift: the network's start as 1 and 0.
        theirs = [
            variable
            for layer in used_layers(network)
            for variable in layer.trainable_variables
            if variable.name not in ("gamma", "beta")
        ]
        ours = supernet.path_variables(path)
        if is_cut_off(path):
            theirs = theirs[-2:]  # the head's
        for variable, value in zip(theirs, ours, strict=True):
            variable.assign(value)
        np.testing.assert_allclose(network(images(), training=True), supernet(images(), path, training=True), atol=1e-5)


def test_the_variables_of_50_random_paths_are_those_with_a_gradient(supernet):
    everywhere = supernet.trainable_variables
    for path in random_paths(50, seed=1):
        with tf.GradientTape() as tape:
            logits = supernet(images(), path, training=True)
            value = tf.reduce_mean(logits**2)
        gradients = tape.gradient(value, [variable.value for variable in everywhere])
        assert all(gradient is None or np.isfinite(gradient).all() for gradient in gradients)
        used = {id(variable) for variable in supernet.path_variables(path)}
        assert {id(v) for v, gradient in zip(everywhere, gradients, strict=True) if gradient is not None} == used
        if not is_cut_off(path):
            zero = [
                v for v, gradient in zip(everywhere, gradients, strict=True) if id(v) in used and not np.any(gradient)
            ]
            assert not zero, path


@pytest.mark.parametrize(
    "path",
    [
        NONE_LEFT,
        {**NONE_LEFT, "edge_1_0": "nor_conv_3x3", "edge_2_1": "nor_conv_3x3"},
        {**NONE_LEFT, "edge_2_1": "nor_conv_3x3", "edge_3_1": "nor_conv_3x3", "edge_3_2": "avg_pool_3x3"},
    ],
    ids=["none everywhere", "nothing leads to the output", "nothing comes from the input"],
)
def test_a_path_without_a_way_to_the_output_has_the_classifier_alone(path, supernet):
    assert supernet.path_layers(path) == [supernet.head]
    logits = supernet(images(3), path, training=True)
    np.testing.assert_array_equal(logits, np.tile(supernet.head.classifier.bias, (3, 1)))


def test_operations_that_are_cut_off_change_nothing(supernet):
    path = {**NONE_LEFT, "edge_3_0": "nor_conv_1x1"}
    more = {**path, "edge_1_0": "nor_conv_3x3", "edge_2_1": "avg_pool_3x3"}
    np.testing.assert_array_equal(supernet(images(), path), supernet(images(), more))
    assert supernet.path_layers(path) == supernet.path_layers(more)


def test_stem_residual_blocks_and_head_are_shared_by_all_paths(supernet):
    first, second = ({**NONE_LEFT, "edge_3_0": name} for name in ("nor_conv_1x1", "nor_conv_3x3"))
    shared = set(map(id, supernet.path_variables(first))) & set(map(id, supernet.path_variables(second)))
    # One kernel of the stem, three of each residual block, kernel and bias of the classifier.
    assert len(shared) == 1 + 2 * 3 + 2
    assert len(supernet.path_variables(first)) == len(shared) + 3 * OPTIONS["cells"]


def test_only_operations_that_were_offered_exist():
    space = make_space({"name": "nasbench201", "operations": ["skip_connect", "nor_conv_1x1"]})
    made = space.supernet((4, 4, 1), 2, channels=2, cells=1)
    path = {choice.name: "skip_connect" for choice in space.choices}
    assert made(tf.zeros((2, 4, 4, 1)), {**path, "edge_1_0": "none"}).shape == (2, 2)
    with pytest.raises(ValueError, match="path: this supernet has no operation 'nor_conv_3x3' for edge_2_1"):
        made.path_variables({**path, "edge_2_1": "nor_conv_3x3"})


@pytest.mark.parametrize(
    ("shape", "classes", "options", "message"),
    [
        ((2, 2, 1), 2, {}, "at least 4x4"),
        (SHAPE, 1, {}, "classes: found 1"),
        (SHAPE, 2, {"cells": 0}, "cells: found 0; expected 1 or more in each stage"),
        (SHAPE, 2, {"channels": 0}, "channels: found 0"),
    ],
)
def test_a_supernet_that_cannot_be_is_refused(shape, classes, options, message):
    with pytest.raises(ValueError, match=message):
        SPACE.supernet(shape, classes, **options)
