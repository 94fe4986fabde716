"""Tests of models/networks/profiling.py against the counters of TensorFlow and Keras (published: describe_test.py)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.architectures import limits
from models.architectures.cell import CellGenotype
from models.architectures.mobile import MobileGenotype
from models.architectures.nasbench201 import NasBench201Genotype
from models.networks import profiling
from models.networks.cell_network import cifar_network, imagenet_network
from models.networks.mobile_network import mobile_network
from models.networks.nasbench201_network import nasbench201_network
from models.networks.registry import NETWORKS
from models.runtime import tuning

# Every operation, in both cells; skip_connect at stride 2, too.
EVERYTHING = CellGenotype(
    normal=(
        (("conv_3x3", 0), ("sep_conv_3x3", 1)),
        (("skip_connect", 0), ("sep_conv_5x5", 2)),
        (("avg_pool_3x3", 1), ("dil_conv_3x3", 3)),
        (("dil_conv_5x5", 0), ("none", 1)),
    ),
    normal_concat=(2, 3, 4, 5),
    reduce=(
        (("skip_connect", 0), ("dil_conv_5x5", 1)),
        (("sep_conv_5x5", 0), ("max_pool_3x3", 1)),
        (("group_conv_3x3", 3), ("group_conv_3x3", 0)),
        (("conv_1x1", 4), ("skip_connect", 3)),
    ),
    reduce_concat=(2, 3, 4, 5),
)
NASBENCH201 = NasBench201Genotype(
    ("nor_conv_3x3", "none", "nor_conv_1x1", "avg_pool_3x3", "skip_connect", "nor_conv_3x3")
)
BACKBONE = {"stem": 4, "stem_stride": 2, "blocks": [[4, 1], [6, 2], [6, 1]], "head": 8}


def counted_by_tensorflow(model, shape):
    """Multiply-adds of convolutions and matrix products in the traced network, as TensorFlow's profiler counts them."""
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec((1, *shape)))
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    options["order_by"] = "name"
    options["account_type_regexes"] = ["Conv2D", "DepthwiseConv2dNative", "MatMul"]
    counted = tf.compat.v1.profiler.profile(function.graph, options=options)
    return counted.total_float_ops // 2


@pytest.fixture
def plain_kernels():
    """Faster ways to the same values do other arithmetic."""
    tuning.set_tuned(False)
    yield
    tuning.set_tuned(True)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda shape: cifar_network(EVERYTHING, shape, 3, channels=4, cells=4), (16, 24, 3)),
        (lambda shape: imagenet_network(EVERYTHING, shape, 3, channels=4, cells=3), (64, 64, 3)),
        (
            lambda shape: mobile_network(MobileGenotype(BACKBONE, [(3, 1), (7, 3), None]), shape, 3),
            (16, 12, 2),
        ),
        (lambda shape: nasbench201_network(NASBENCH201, shape, 3, channels=4, cells=2), (16, 12, 2)),
    ],
    ids=["cifar", "imagenet", "mobile", "nasbench201"],
)
def test_tensorflow_counts_the_same_multiply_adds(make, shape, plain_kernels):
    model = make(shape)
    assert profiling.profile(model).macs == counted_by_tensorflow(model, shape)


def test_keras_counts_the_same_parameters():
    model = cifar_network(EVERYTHING, (8, 8, 1), 3, channels=4, cells=3)
    statistics = sum(int(np.prod(v.shape)) for v in model.non_trainable_variables)
    assert profiling.profile(model).params == model.count_params() - statistics


def test_layers_of_keras_count_too():
    layer = keras.layers.Conv2D(5, 3, strides=2, padding="same")
    layer.build((None, 9, 7, 2))
    assert profiling.output_shape(layer) == (None, 5, 4, 5)
    assert profiling.multiply_adds(layer) == 5 * 4 * 3 * 3 * 2 * 5
    assert profiling.parameters(layer) == 3 * 3 * 2 * 5 + 5


@pytest.mark.parametrize(("kind", "last_norm"), [("cifar", 2 * 768), ("imagenet", 0)])
def test_the_auxiliary_head_has_the_layers_of_its_source(kind, last_norm):
    side = limits.SMALLEST_WITH_AUXILIARY[kind]
    model = NETWORKS[kind](EVERYTHING, (side, side, 3), 3, channels=2, cells=3, auxiliary=True)
    profile = profiling.profile(model)
    channels = 4 * 8  # four nodes, after two reductions
    expected = channels * 128 + 2 * 128 + 2 * 2 * 128 * 768 + last_norm + 768 * 3 + 3
    assert profile.params_with_auxiliary - profile.params == expected
