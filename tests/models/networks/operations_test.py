"""Tests of models/networks/operations.py."""

import functools
import textwrap

import keras
import numpy as np
import pytest

from models.architectures.cell import CELL_OPERATIONS, KNOWN_OPERATIONS, OPERATION_SETS
from models.networks import layers, operations
from tests.support.spaces import make_space

NORM = functools.partial(layers.BatchNorm, affine=False, moving=False)


def built(name, channels=4, strides=1, side=6):
    layer = operations.resolve(name)(channels, strides, NORM)
    layer.build((None, side, side, channels))
    return layer


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("side", [6, 5])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_every_operation_keeps_the_channels_and_strides_the_sides(name, strides, side):
    layer = built(name, strides=strides, side=side)
    outputs = layer(images(2, side, side, 4))
    expected = (2, -(-side // strides), -(-side // strides), 4)
    assert outputs.shape == expected == layer.compute_output_shape((2, side, side, 4))


def test_all_operations_of_the_sets_are_there_and_none_is_an_edge_left_out():
    assert {*operations.OPERATIONS, "none"} == set(KNOWN_OPERATIONS)
    assert OPERATION_SETS["paper"] == CELL_OPERATIONS == (*list(operations.OPERATIONS)[:7], "none")


@pytest.mark.parametrize(
    ("name", "strides", "kernels"),
    [
        ("max_pool_3x3", 1, []),
        ("avg_pool_3x3", 2, []),
        ("skip_connect", 1, []),
        ("skip_connect", 2, [(1, 1, 4, 2), (1, 1, 4, 2)]),
        ("sep_conv_3x3", 1, [(3, 3, 4, 1), (1, 1, 4, 4)] * 2),
        ("sep_conv_5x5", 2, [(5, 5, 4, 1), (1, 1, 4, 4)] * 2),
        ("dil_conv_3x3", 1, [(3, 3, 4, 1), (1, 1, 4, 4)]),
        ("dil_conv_5x5", 2, [(5, 5, 4, 1), (1, 1, 4, 4)]),
        ("conv_1x1", 2, [(1, 1, 4, 4)]),
        ("conv_3x3", 1, [(3, 3, 4, 4)]),
        ("group_conv_3x3", 2, [(3, 3, 1, 4)]),
    ],
)
def test_operations_have_the_kernels_of_their_definition(name, strides, kernels):
    assert [tuple(variable.shape) for variable in built(name, strides=strides).trainable_variables] == kernels


def test_skip_connect_of_stride_1_is_the_identity():
    inputs = images(2, 6, 6, 4)
    np.testing.assert_array_equal(built("skip_connect")(inputs), inputs)


def test_dilated_convolutions_see_every_second_pixel():
    layer = built("dil_conv_5x5", side=9)
    layer.steps = layer.steps[:2]  # ReLU and the depthwise convolution
    seen = np.zeros((1, 9, 9, 4), "float32")
    seen[0, 4, 4] = 1
    rows = np.flatnonzero(np.abs(np.array(layer(seen))).sum(axis=(0, 2, 3)))
    np.testing.assert_array_equal(rows, [0, 2, 4, 6, 8])


@pytest.mark.parametrize(("channels", "groups"), [(8, 4), (6, 2), (5, 1)])
def test_grouped_convolutions_have_four_groups_or_what_divides_the_channels(channels, groups):
    assert built("group_conv_3x3", channels=channels).steps[1].groups == groups


def test_a_chain_takes_the_relu_that_its_caller_has():
    layer, inputs = built("sep_conv_3x3"), images(2, 6, 6, 4)
    assert layer.starts_with_relu and not built("max_pool_3x3").starts_with_relu
    np.testing.assert_array_equal(layer(inputs), layer(inputs, activated=keras.ops.relu(inputs)))


@pytest.mark.parametrize(
    ("channels", "strides", "expansion", "shortcut"), [(4, 1, 3, True), (6, 1, 3, False), (4, 2, 1, False)]
)
def test_an_inverted_residual_has_a_shortcut_where_shapes_allow(channels, strides, expansion, shortcut):
    block = operations.InvertedResidual(channels, 5, expansion, strides, NORM)
    block.build((None, 6, 6, 4))
    inputs = images(2, 6, 6, 4)
    body = block.body(inputs)
    np.testing.assert_array_equal(block(inputs), inputs + body if shortcut else body)
    inside = 4 * expansion
    expand = [(1, 1, 4, inside)] if expansion > 1 else []
    kernels = [tuple(v.shape) for v in block.trainable_variables]
    assert kernels == [*expand, (5, 5, inside, 1), (1, 1, inside, channels)]
    assert body.shape == block.compute_output_shape((2, 6, 6, 4))


def test_an_inverted_residual_clips_at_6_inside_and_not_outside():
    block = operations.InvertedResidual(4, 3, 1, 1, operations.Identity)
    block.build((None, 2, 2, 4))
    block.body.steps[0].kernel.assign(np.full((3, 3, 4, 1), 100.0))
    block.body.steps[3].kernel.assign(np.eye(4)[None, None] * 100.0)
    np.testing.assert_allclose(block(np.ones((1, 2, 2, 4), "float32")), 601.0)


def test_an_operation_of_ones_own_needs_a_function_and_its_dotted_path(tmp_path, monkeypatch):
    (tmp_path / "own_operations.py").write_text(
        textwrap.dedent(
            """
            from keras import ops
            from models.networks import layers, operations

            def conv_1x1(channels, strides, norm):
                return operations.Chain([ops.relu, layers.Conv2D(channels, 1, strides), norm()])
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    name = "own_operations.conv_1x1"
    space = make_space({"name": "cell", "operations": ["skip_connect", name]})
    assert space.choices[0].operations == ("skip_connect", name)
    genotype = space.derive({choice.name: [0.2, 0.8] for choice in space.choices})
    assert genotype.normal[0] == ((name, 0), (name, 1))
    supernet = space.supernet((4, 4, 1), 2, cells=3, channels=2)
    network = space.network(genotype, (4, 4, 1), 2, cells=3, channels=2)
    inputs = images(2, 4, 4, 1)
    assert supernet(inputs, space.path(genotype)).shape == network(inputs).shape == (2, 2)


@pytest.mark.parametrize("name", ["conv_9x9", "none", "os.path.no_such_function", "no_such_module.function"])
def test_an_unknown_operation_is_refused_with_what_is_allowed(name):
    with pytest.raises(ValueError, match=rf"unknown operation '{name}' \(.*\); expected one of max_pool_3x3, "):
        operations.resolve(name)
