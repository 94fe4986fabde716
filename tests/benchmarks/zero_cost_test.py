"""Tests of the benchmarks' scores of untrained architectures, against what NumPy computes by itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.search_quality import zero_cost
from models.networks.nasbench201 import ResidualBlock
from tests.support.spaces import make_space

EPSILON = 1e-5  # of the batch norm
NASBENCH = make_space({"name": "nasbench201"})
NONE = {choice.name: "none" for choice in NASBENCH.choices}


@pytest.fixture
def nasbench():
    return NASBENCH.supernet((4, 4, 3), 2, channels=2, cells=1)


def images(count=5):
    return tf.constant(np.random.default_rng(0).normal(size=(count, 4, 4, 3)), tf.float32)


def open_relus(supernet, batch):
    """Which ReLUs are open, bool (images, ReLUs), where all cells hand on their input."""
    found = []

    def relu(tensor):
        found.append(np.reshape(tensor, (len(batch), -1)) > 0)
        return np.maximum(tensor, 0)

    state = supernet.skeleton[0](batch)
    for layer in supernet.skeleton[1:]:
        if isinstance(layer, ResidualBlock):
            body = state
            for step in layer.body.steps:
                body = step(body) if isinstance(step, keras.layers.Layer) else relu(body)
            state = layer.shortcut(state) + body
        elif layer is supernet.skeleton[-1]:
            relu(layer.steps[0](state))
    return np.concatenate(found, axis=1)


def test_naswot_counts_the_relus_that_are_open_for_both_images_or_closed_for_both(nasbench):
    path, batch = {**NONE, "edge_3_0": "skip_connect"}, images()
    codes = open_relus(nasbench, batch)
    # Two of each residual block, and the last one.
    assert codes.shape == (5, (4 * 4 * 2 + 2 * 2 * 4) + (2 * 2 * 4 + 8) + 8)
    kernel = np.array([[(one == other).sum() for other in codes] for one in codes], np.float64)
    score = zero_cost.naswot(nasbench, batch)
    assert score(path) == pytest.approx(np.log(np.linalg.det(kernel)), rel=1e-6)
    # The ReLU of a convolution on an edge counts too, and another path before leaves no trace.
    more = score({**path, "edge_1_0": "nor_conv_1x1", "edge_3_1": "nor_conv_1x1"})
    assert more > score(path) == pytest.approx(np.log(np.linalg.det(kernel)), rel=1e-6)


def test_naswot_of_a_network_without_a_way_to_its_output_is_lowest(nasbench):
    assert zero_cost.naswot(nasbench, images())(NONE) == -np.inf


def convolved(image, kernel):
    """A convolution with zeros around the image, float (height, width, channels)."""
    size = len(kernel)
    around = np.pad(image, ((size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    height, width, _ = image.shape
    return sum(
        around[row : row + height, column : column + width] @ kernel[row, column]
        for row in range(size)
        for column in range(size)
    )


@pytest.mark.parametrize(
    "operations", [("skip",) * 3, ("conv_3x3", "skip", "conv_1x1"), ("conv_1x1", "conv_3x3", "conv_3x3")]
)
def test_synflow_is_the_flow_of_ones_through_absolute_weights_once_a_layer(operations):
    space = make_space({"name": "tests.support.tiny_space"})
    supernet = space.supernet((4, 4, 3), 2, channels=3)
    path = {choice.name: name for choice, name in zip(space.choices, operations, strict=True)}
    kernels = [supernet.stem.kernel, *(convolution.kernel for convolution, _ in supernet._chosen(path))]
    state = np.ones((4, 4, 3))
    for kernel in kernels:
        state = convolved(state, np.abs(kernel)) / np.sqrt(1 + EPSILON)
    flow = (state.mean(axis=(0, 1)) @ np.abs(supernet.head.kernel)).sum()
    # Every layer is linear and has no bias: its weights times their gradients are the flow, once more.
    expected = np.log(flow * (len(kernels) + 1))
    score = zero_cost.synflow(supernet, images())
    assert score(path) == pytest.approx(expected, rel=1e-5)
    score({choice.name: "conv_3x3" for choice in space.choices})
    assert score(path) == pytest.approx(expected, rel=1e-5)


def test_synflow_of_a_network_without_a_way_to_its_output_is_lowest(nasbench):
    score = zero_cost.synflow(nasbench, images())
    assert score(NONE) == -np.inf
    assert np.isfinite(score({**NONE, "edge_3_0": "nor_conv_3x3"}))
