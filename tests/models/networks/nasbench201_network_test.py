"""Tests of NAS-Bench-201's network: its counts, and what it computes, against the benchmark's definition in NumPy."""

import numpy as np
import pytest

from models.architectures.checks import GenotypeError
from models.architectures.nasbench201 import NasBench201Genotype
from models.architectures.presets import PRESETS
from models.networks import layers, profiling
from models.networks.nasbench201_network import nasbench201_network

# Every operation, and edges from a node that is zero (1) to the output.
MIXED = ("none", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3", "nor_conv_3x3", "skip_connect")
# Node 2 leads nowhere.
DEAD_END = ("nor_conv_1x1", "nor_conv_3x3", "skip_connect", "none", "avg_pool_3x3", "none")
# The output does not depend on the input.
CUT_OFF = ("none", "none", "nor_conv_1x1", "none", "nor_conv_3x3", "avg_pool_3x3")


def everywhere(name):
    return NasBench201Genotype((name,) * 6)


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("name", "params", "macs_of_an_edge"),
    [
        ("nor_conv_3x3", 1_531_546, 32 * 32 * 9 * 16 * 16),
        ("nor_conv_1x1", 241_306, 32 * 32 * 16 * 16),
        ("avg_pool_3x3", 73_306, 0),
        ("skip_connect", 73_306, 0),
        ("none", 73_306, 0),
    ],
)
def test_counts_are_those_of_the_benchmark(name, params, macs_of_an_edge):
    counted = profiling.profile(nasbench201_network(everywhere(name), (32, 32, 3), 10))
    stem = 32 * 32 * 9 * 3 * 16
    first_block = 16 * 16 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)
    second_block = 8 * 8 * (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64)
    # A stage has a quarter of the pixels and twice the channels of the one before: its edges cost the same.
    edges = 3 * 5 * 6 * macs_of_an_edge
    assert counted.params == counted.params_with_auxiliary == params
    assert counted.macs == stem + first_block + second_block + edges + 64 * 10


def test_operations_that_are_cut_off_count_as_in_the_benchmark():
    params = profiling.profile(nasbench201_network(NasBench201Genotype(DEAD_END), (32, 32, 3), 10)).params
    edge = sum(channels**2 + 2 * channels for channels in (16, 32, 64))
    assert params == 73_306 + 5 * (edge + sum(9 * channels**2 + 2 * channels for channels in (16, 32, 64)))


def convolution(inputs, kernel, strides=1):
    size = kernel.shape[0]
    padded = np.pad(inputs, [(0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return np.einsum("bhwcij,ijcd->bhwd", windows[:, ::strides, ::strides], kernel)


def average_pool(inputs):
    ones = np.ones((3, 3, 1, 1))
    sums = np.concatenate([convolution(channel, ones) for channel in np.split(inputs, inputs.shape[-1], -1)], -1)
    return sums / convolution(np.ones((1, *inputs.shape[1:3], 1)), ones)


def reference(weights, inputs, genotype, cells):
    """The network in training mode; its weights in the order in which they are used here."""
    weights = iter(weights)

    def norm(inputs):
        mean, variance = inputs.mean((0, 1, 2)), inputs.var((0, 1, 2))
        return (inputs - mean) / np.sqrt(variance + 1e-5) * next(weights) + next(weights)

    def relu_conv_norm(inputs, strides=1):
        return norm(convolution(np.maximum(inputs, 0), next(weights), strides))

    operations = {
        "none": np.zeros_like,
        "skip_connect": np.copy,
        "nor_conv_1x1": relu_conv_norm,
        "nor_conv_3x3": relu_conv_norm,
        "avg_pool_3x3": average_pool,
    }

    def cell(inputs):
        nodes, names = [inputs], iter(genotype.operations)
        for node in range(1, 4):
            nodes.append(sum(operations[next(names)](nodes[source]) for source in range(node)))
        return nodes[3]

    def residual_block(inputs):
        batch, height, width, channels = inputs.shape
        body = relu_conv_norm(relu_conv_norm(inputs, 2))
        pooled = inputs.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))
        return body + convolution(pooled, next(weights))

    state = norm(convolution(inputs, next(weights)))
    for stage in range(3):
        state = residual_block(state) if stage else state
        for _ in range(cells):
            state = cell(state)
    features = np.maximum(norm(state), 0).mean((1, 2))
    return features @ next(weights) + next(weights)


@pytest.mark.parametrize("operations", [MIXED, DEAD_END, CUT_OFF, ("nor_conv_3x3",) * 6])
def test_the_network_computes_what_the_benchmark_defines(operations):
    genotype, inputs = NasBench201Genotype(operations), images(3, 8, 12, 3)
    network = nasbench201_network(genotype, inputs.shape[1:], 5, channels=4, cells=2)
    rng = np.random.default_rng(1)
    for variable in network.trainable_variables:
        variable.assign(rng.normal(1 if variable.name == "gamma" else 0, 0.3, variable.shape))
    weights = [np.asarray(variable, "float64") for variable in network.trainable_variables]
    expected = reference(weights, inputs.astype("float64"), genotype, cells=2)
    assert np.ptp(expected, axis=1).min() > 0.1
    np.testing.assert_allclose(network(inputs, training=True), expected, atol=1e-4)


def test_logits_differ_between_images_unless_the_output_is_cut_off():
    for operations, differ in ((MIXED, True), (DEAD_END, True), (CUT_OFF, False), (("none",) * 6, False)):
        network = nasbench201_network(NasBench201Genotype(operations), (4, 4, 1), 3, channels=2, cells=1)
        logits = np.asarray(network(images(4, 4, 4, 1), training=True))
        assert (np.ptp(logits, axis=0).max() > 1e-6) == differ


def test_batch_norm_is_the_benchmarks_and_a_pool_has_none():
    norms = [
        [layer for layer in network._flatten_layers() if isinstance(layer, layers.BatchNorm)]
        for network in (
            nasbench201_network(everywhere(name), (4, 4, 1), 3, channels=2, cells=1)
            for name in ("nor_conv_1x1", "avg_pool_3x3")
        )
    ]
    assert {(n.affine, n.moving, n.momentum, n.epsilon) for n in norms[0]} == {(True, True, 0.9, 1e-5)}
    assert len(norms[0]) == 6 + 3 * 6 and len(norms[1]) == 6  # the stem, two in each residual block, the last one


@pytest.mark.parametrize("shape", [(4, 4, 1), (7, 10, 2), (33, 5, 3)])
def test_any_image_that_can_be_halved_twice_will_do(shape):
    network = nasbench201_network(everywhere("skip_connect"), shape, 3, channels=2, cells=1)
    assert network(images(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (3, 8, 3)}, r"3x8 pixels; .* 2 times and needs at least 4x4"),
        ({"classes": 1}, "classes: found 1; expected 2 or more"),
        ({"cells": 0}, "cells: found 0; expected 1 or more in each stage"),
        ({"channels": 0}, "channels: found 0; expected 1 or more"),
    ],
)
def test_what_no_network_can_be_made_of_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        nasbench201_network(everywhere("none"), **{"input_shape": (8, 8, 3), "classes": 10, **arguments})


def test_a_genotype_of_another_space_is_refused():
    with pytest.raises(GenotypeError, match="found a CellGenotype; expected a NasBench201Genotype"):
        nasbench201_network(PRESETS["darts_v2"].genotype, (32, 32, 3), 10)
