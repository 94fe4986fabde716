"""Tests of models/networks/cell_network.py, against the released network's own numbers among others."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.architectures import limits
from models.architectures.cell import CellGenotype
from models.architectures.checks import GenotypeError
from models.architectures.mobile import MobileGenotype
from models.architectures.nasbench201 import NasBench201Genotype
from models.architectures.presets import PRESETS
from models.networks import layers
from models.networks.cell_network import cifar_network, imagenet_network
from models.networks.mobile_network import mobile_network
from models.networks.nasbench201_network import nasbench201_network
from models.networks.registry import NETWORKS
from tests.support import paths

CELL = PRESETS["mdenas_cifar10"].genotype
MOBILE = MobileGenotype({"stem": 4, "stem_stride": 1, "blocks": [[4, 1], [8, 2]], "head": 8}, [(3, 3), (5, 1)])
NASBENCH201 = NasBench201Genotype(
    ("nor_conv_3x3", "avg_pool_3x3", "skip_connect", "none", "nor_conv_1x1", "skip_connect")
)
SKIPS = CellGenotype(*((((("skip_connect", 0), ("skip_connect", 1)),) * 4, (2, 3, 4, 5)) * 2))
# Quick to build: few weights, yet each kind of operation that has any.
QUICK = CellGenotype(
    *(((("sep_conv_5x5", 0), ("dil_conv_3x3", 1)), *((("skip_connect", 0), ("max_pool_3x3", 1)),) * 3), (2, 3, 4, 5))
    * 2
)
TINY = {"channels": 2, "cells": 3}


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def small_networks():
    yield functools.partial(cifar_network, QUICK, (8, 8, 1), 3, **TINY)
    yield functools.partial(mobile_network, MOBILE, (8, 8, 1), 3)
    yield functools.partial(nasbench201_network, NASBENCH201, (8, 8, 1), 3, channels=2, cells=1)


@pytest.fixture(scope="module")
def reference():
    """What the released network (PyTorch) computes, C = 8, 6 cells, random weights and statistics, in `arrays`.

    `parameters` are its parameters and statistics in its own order and layout, flattened, without the auxiliary
    head's 2x2 kernel: the four images of `x` show that one four vectors alone, and it is stored as far as these four
    tell it from zero, in two factors.
    """
    arrays = np.load(paths.DATA / "mdenas_cifar_c8_l6.npz")
    model = cifar_network(CELL, (32, 32, 3), 10, channels=8, cells=6, auxiliary=True)
    parameters = arrays["parameters"]
    for variable in model.weights:
        shape = tuple(variable.shape)
        if shape == (2, 2, 128, 768):
            variable.assign((arrays["aux_left"] @ arrays["aux_right"]).reshape(shape))
            continue
        values, parameters = np.split(parameters, [int(np.prod(shape))])
        if len(shape) == 4:  # channels first; a depthwise kernel's channels count as its outputs there
            height, width, *channels = shape
            inputs, outputs = channels if channels[1] > 1 else reversed(channels)
            values = values.reshape(outputs, inputs, height, width).transpose(2, 3, 1, 0)
        elif len(shape) == 2:
            values = values.reshape(shape[::-1]).T
        variable.assign(values.reshape(shape))
    assert not len(parameters)
    return model, arrays, arrays["x"].transpose(0, 2, 3, 1)


def test_inference_equals_the_released_network(reference):
    model, arrays, inputs = reference
    np.testing.assert_allclose(model(inputs, training=False), arrays["eval_logits"], atol=1e-5)


def test_training_and_the_auxiliary_head_equal_the_released_network(reference):
    model, arrays, inputs = reference
    statistics = [variable.numpy() for variable in model.non_trainable_variables]
    logits, auxiliary_logits = model(inputs, training=True)
    for variable, value in zip(model.non_trainable_variables, statistics, strict=True):
        variable.assign(value)
    np.testing.assert_allclose(logits, arrays["train_logits"], atol=1e-5)
    np.testing.assert_allclose(auxiliary_logits, arrays["train_aux_logits"], atol=1e-4)


def norms(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNorm)]


def test_batch_norm_is_that_of_each_source():
    cifar = cifar_network(CELL, (8, 8, 1), 3, **TINY)
    imagenet = imagenet_network(CELL, (32, 32, 3), 3, **TINY)
    mobile = mobile_network(MOBILE, (8, 8, 1), 3)
    for model, epsilon in ((cifar, 1e-5), (imagenet, 1e-3), (mobile, 1e-3)):
        assert {(n.affine, n.moving, n.momentum, n.epsilon) for n in norms(model)} == {(True, True, 0.9, epsilon)}


@pytest.mark.parametrize("shape", [(4, 4, 1), (7, 10, 2), (33, 33, 3)])
def test_any_image_that_survives_the_strides_will_do(shape):
    model = cifar_network(CELL, shape, 3, **TINY)
    assert model(images(2, *shape)).shape == (2, 3)


def test_imagenet_network_has_two_stems_and_a_first_cell_after_a_reduction():
    model = imagenet_network(CELL, (64, 64, 3), 5, channels=4, cells=3)
    assert [stem.compute_output_shape((None, 64, 64, 3)) for stem in model.stems[:1]] == [(None, 16, 16, 4)]
    assert model.stems[1].compute_output_shape((None, 16, 16, 4)) == (None, 8, 8, 4)
    assert any(isinstance(step, layers.FactorizedReduction) for step in model.cells[0].preprocess["0"].steps)
    assert [cell.sides for cell in model.cells] == [(8, 8), (4, 4), (2, 2)]
    assert model(images(2, 64, 64, 3)).shape == (2, 5)


@pytest.mark.parametrize("kind", ["cifar", "imagenet"])
def test_the_auxiliary_head_needs_images_just_as_large_as_it_says(kind):
    side = limits.SMALLEST_WITH_AUXILIARY[kind]
    make = functools.partial(NETWORKS[kind], SKIPS, classes=3, auxiliary=True, **TINY)
    logits, auxiliary_logits = make(input_shape=(side, side, 3))(images(2, side, side, 3), training=True)
    assert logits.shape == auxiliary_logits.shape == (2, 3)
    with pytest.raises(ValueError, match=f"auxiliary head needs {side}x{side}: take larger images, or switch it off"):
        make(input_shape=(side, side - 1, 3))


def test_larger_images_give_the_auxiliary_head_more_positions_which_it_averages():
    model = cifar_network(SKIPS, (64, 64, 1), 3, auxiliary=True, **TINY)
    logits, auxiliary_logits = model(images(2, 64, 64, 1), training=True)
    assert auxiliary_logits.shape == (2, 3)
    assert model(images(2, 64, 64, 1)).shape == (2, 3)


def test_cells_reduce_a_third_and_two_thirds_down():
    model = cifar_network(SKIPS, (8, 8, 1), 3, channels=2, cells=8)
    assert [index for index, cell in enumerate(model.cells) if cell.reduction] == [2, 5]
    assert [cell.channels for cell in model.cells] == [2, 2, 4, 4, 4, 8, 8, 8]


def drop_path_factors(probability, genotype=CELL):
    """For many images that are all equal: by what factor drop path multiplied each edge of each cell."""
    model = cifar_network(genotype, (4, 4, 1), 2, drop_path=0.5, **TINY)
    model.drop_path_probability.assign(probability)
    return [np.array(masks) for masks in model._drop_path_masks(np.zeros((400, 4, 4, 1), "float32"))]


def test_drop_path_drops_edges_of_single_images_and_scales_the_others():
    factors = np.concatenate(drop_path_factors(0.25), axis=1)
    np.testing.assert_allclose(np.unique(factors), [0, 1 / 0.75], rtol=1e-6)
    assert abs((factors == 0).mean() - 0.25) < 0.02
    assert (factors == 0).mean(axis=0).min() > 0  # every edge
    assert np.unique(factors, axis=0).shape[0] > 300  # each image its own


def test_drop_path_of_probability_0_changes_nothing():
    np.testing.assert_array_equal(np.concatenate(drop_path_factors(0.0), axis=1), 1.0)


def test_drop_path_spares_identities():
    # All edges are skip connections: those of reduction cells at stride 2 are no identities.
    assert [masks.shape[1] for masks in drop_path_factors(0.5, SKIPS)] == [0, 8, 8]


def test_drop_path_is_applied_in_training_alone():
    inputs = images(2, 4, 4, 1)
    model = cifar_network(CELL, (4, 4, 1), 2, drop_path=0.5, **TINY)
    without = cifar_network(CELL, (4, 4, 1), 2, **TINY)
    for ours, theirs in zip(without.trainable_variables, model.trainable_variables, strict=True):
        ours.assign(theirs)
    assert without.drop_path_probability is None
    np.testing.assert_array_equal(model(inputs), without(inputs))
    assert np.abs(np.array(model(inputs, training=True) - without(inputs, training=True))).max() > 1e-3
    model.drop_path_probability.assign(0.0)
    np.testing.assert_allclose(model(inputs, training=True), without(inputs, training=True), atol=1e-6)


def test_dropout_comes_before_the_classifier_in_training_alone():
    inputs = images(2, 8, 8, 1)
    *with_dropout, _ = small_networks()  # NAS-Bench-201 has none
    for make in with_dropout:
        model = make(dropout=0.5)
        np.testing.assert_array_equal(model(inputs), model(inputs))
        assert np.abs(np.array(model(inputs, training=True) - model(inputs, training=True))).max() > 1e-3


@pytest.mark.parametrize("make", small_networks(), ids=["cell", "mobile", "nasbench201"])
def test_first_weights_are_a_function_of_the_seed(make):
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return np.concatenate([np.ravel(weight) for weight in make().get_weights()])

    first = weights(1)
    np.testing.assert_array_equal(first, weights(1))
    assert np.abs(first - weights(2)).max() > 1e-3


@pytest.mark.parametrize("make", small_networks(), ids=["cell", "mobile", "nasbench201"])
def test_weights_and_export_give_the_same_network_back(make, tmp_path):
    model, other, inputs = make(), make(), images(3, 8, 8, 1)
    model(inputs, training=True)  # moves the statistics
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(inputs), model(inputs))

    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec((None, 8, 8, 1), tf.float32)]
    archive.add_endpoint("serve", lambda x: model(x, training=False), input_signature=signature)
    archive.write_out(str(tmp_path / "served"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(served.serve(inputs), model(inputs), atol=1e-5)


@pytest.mark.parametrize("make", small_networks(), ids=["cell", "mobile", "nasbench201"])
def test_an_image_gets_the_same_logits_alone_and_beside_others(make):
    model = make()
    x = images(6, 8, 8, 1)
    for _ in range(3):
        model(x, training=True)  # moves the statistics away from their first values
    together = model(x, training=False)
    alone = np.concatenate([model(x[number : number + 1], training=False) for number in range(len(x))])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)


def test_logits_stay_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        _, mobile, nasbench201 = models = [make() for make in small_networks()]
        for model in models:
            assert model(images(2, 8, 8, 1)).dtype == "float32"
        assert mobile.blocks[0](images(2, 8, 8, 4)).dtype == "bfloat16"
        cell = nasbench201.skeleton[1](images(2, 8, 8, 2), operations=NASBENCH201.operations)
        assert cell.dtype == nasbench201.skeleton[2](cell).dtype == "bfloat16"
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_a_block_left_out_is_not_there():
    genotype = MobileGenotype({"stem": 4, "blocks": [[4, 1], [4, 1]], "head": 8}, [None, (3, 1)])
    assert len(mobile_network(genotype, (8, 8, 1), 3).blocks) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cifar_network(CELL, (3, 32, 3), 10), r"3x32 pixels; .* 2 times and needs at least 4x4"),
        (lambda: imagenet_network(CELL, (31, 31, 3), 10), r"5 times and needs at least 32x32"),
        (lambda: mobile_network(PRESETS["mdenas_gpu"].genotype, (16, 16, 3), 10), r"at least 32x32"),
        (lambda: cifar_network(CELL, (32, 32, 3), 1), r"classes: found 1; expected 2 or more"),
        (lambda: mobile_network(MOBILE, (8, 8, 1), 1), r"classes: found 1; expected 2 or more"),
        (lambda: cifar_network(CELL, (32, 32, 0), 10), r"input_shape: found 0 channels"),
        (lambda: cifar_network(CELL, (32, 32, 3), 10, cells=2), r"cells: found 2; expected 3 or more"),
        (
            lambda: cifar_network(CELL, (32, 32, 3), 10, channels=0),
            r"channels: found 0; expected 1 or more",
        ),
        (lambda: imagenet_network(CELL, (32, 32, 3), 10, channels=3), r"channels: found 3; .*even"),
        (lambda: cifar_network(CELL, (32, 32, 3), 10, drop_path=1.0), r"drop_path: found 1\.0"),
    ],
)
def test_what_no_network_can_be_made_of_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "genotype"),
    [
        (cifar_network, PRESETS["mdenas_gpu"].genotype),
        (imagenet_network, PRESETS["mdenas_gpu"].genotype),
        (mobile_network, CELL),
    ],
)
def test_a_genotype_of_the_other_space_is_refused(make, genotype):
    with pytest.raises(GenotypeError, match="choose the network and the search space that the genotype was made for"):
        make(genotype, (224, 224, 3), 10)
