"""Tests of the supernets: what a path computes, which weights it moves, for many random genotypes."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.architectures.cell import CELL_OPERATIONS
from models.architectures.genotype import genotype_from_dict
from models.architectures.nasbench201 import connected
from models.networks import layers, profiling
from tests.support.spaces import make_space

SHAPE, CLASSES, BATCH = (4, 4, 1), 2, 4
BACKBONE = {"stem": 4, "stem_stride": 1, "blocks": [[4, 1], [6, 2], [6, 1], [6, 1]], "head": 8}
SPACES = {
    "cell": (make_space({"name": "cell"}), {"channels": 2, "cells": 3}),
    "fast": (make_space({"name": "cell", "operations": ["fast"]}), {"channels": 4, "cells": 3}),
    "mobile": (make_space({"name": "mobile", "backbone": BACKBONE}), {}),
    "nasbench201": (make_space({"name": "nasbench201"}), {"channels": 2, "cells": 1}),
}
RANDOM_GENOTYPES = {"cell": 200, "fast": 20, "mobile": 200, "nasbench201": 200}
RANDOM_NETWORKS = 8


@pytest.fixture(scope="module")
def supernets():
    keras.utils.set_random_seed(0)
    return {name: space.supernet(SHAPE, CLASSES, **options) for name, (space, options) in SPACES.items()}


def images(batch=BATCH, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=(batch, *SHAPE)), tf.float32)


def random_genotypes(space, number, seed=0):
    """Derived from random distributions, so all that a search can end in."""
    generator = np.random.default_rng(seed)
    for _ in range(number):
        yield space.derive({choice.name: generator.random(len(choice.operations)) for choice in space.choices})


def random_path(space, seed):
    generator = np.random.default_rng(seed)
    return {choice.name: str(generator.choice(choice.operations)) for choice in space.choices}


def loss(logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.constant([0, 1] * (BATCH // 2)), logits))


def train_step(call, variables):
    """Moves the variables along their gradients, which it returns."""
    with tf.GradientTape() as tape:
        value = loss(call(images()))
    gradients = tape.gradient(value, [variable.value for variable in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        if gradient is not None:
            variable.assign_sub(0.01 * gradient)
    return gradients


def reach(gradients):
    """Whether there is a gradient everywhere, finite, and not zero for a whole weight."""
    return all(g is not None and np.isfinite(g).all() and np.any(g != 0) for g in gradients)


def network_layers(network, name):
    """The layers that the logits depend on."""
    if name == "mobile":
        return [network.stem, *network.blocks, network.feature_mix, network.head]
    if name == "nasbench201":
        operations = connected(network.genotype.operations)
        used = (
            layer.path_layers(operations) if hasattr(layer, "path_layers") else [layer] for layer in network.skeleton
        )
        return [*itertools.chain(*used), network.head]
    nodes = {True: network.genotype.reduce, False: network.genotype.normal}
    cells = [layer for cell in network.cells for layer in cell.path_layers(nodes[cell.reduction])]
    return [network.stems[0], *cells, network.head]


@pytest.mark.parametrize("name", SPACES)
def test_random_genotypes_round_trip_and_train_in_the_supernet(name, supernets):
    space, supernet = SPACES[name][0], supernets[name]
    for genotype in random_genotypes(space, RANDOM_GENOTYPES[name]):
        assert genotype_from_dict(json.loads(json.dumps(genotype.to_dict()))) == genotype
        path = space.path(genotype)
        variables = supernet.path_variables(path)
        gradients = train_step(lambda x, path=path: supernet(x, path, training=True), variables)
        assert reach(gradients), genotype.text()


@pytest.mark.parametrize("name", SPACES)
def test_random_genotypes_build_and_train_as_networks(name):
    space, options = SPACES[name]
    for genotype in random_genotypes(space, RANDOM_NETWORKS, seed=1):
        network = space.network(genotype, SHAPE, CLASSES, **options)
        variables = network.trainable_variables
        if name == "nasbench201":  # its networks also have weights that nothing depends on
            variables = [variable for layer in network_layers(network, name) for variable in layer.trainable_variables]
        gradients = train_step(lambda x, network=network: network(x, training=True), variables)
        assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients), genotype.text()


@pytest.mark.parametrize("name", SPACES)
def test_a_path_equals_the_network_of_its_genotype(name, supernets):
    space, options = SPACES[name]
    supernet = supernets[name]
    for genotype in random_genotypes(space, 4, seed=2):
        path = space.path(genotype)
        network = space.network(genotype, SHAPE, CLASSES, **options)
        # The supernet's batch norm has no scale and shift: the network's start as 1 and 0.
        theirs = [
            variable
            for layer in network_layers(network, name)
            for variable in layer.trainable_variables
            if variable.name not in ("gamma", "beta")
        ]
        for variable, value in zip(theirs, supernet.path_variables(path), strict=True):
            variable.assign(value)
        ours = profiling.profile(supernet, path)
        assert ours.macs == sum(map(profiling.multiply_adds, network_layers(network, name)))
        assert ours.params == sum(int(np.prod(variable.shape)) for variable in theirs)
        np.testing.assert_allclose(network(images(), training=True), supernet(images(), path, training=True), atol=1e-5)


@pytest.mark.parametrize("name", SPACES)
def test_a_path_uses_its_variables_and_no_other(name, supernets):
    space, supernet = SPACES[name][0], supernets[name]
    for seed in range(3):
        path = random_path(space, seed)
        variables = supernet.path_variables(path)
        with tf.GradientTape() as tape:
            value = loss(supernet(images(), path, training=True))
        everywhere = supernet.trainable_variables
        gradients = tape.gradient(value, [variable.value for variable in everywhere])
        reached = {id(v) for v, gradient in zip(everywhere, gradients, strict=True) if gradient is not None}
        assert reached == {id(variable) for variable in variables}
        assert len(reached) == len(variables) < len(everywhere) / 2


def with_none(*choices):
    path = {choice.name: "sep_conv_3x3" for choice in SPACES["cell"][0].choices}
    for choice in path:
        if any(choice.startswith(prefix) for prefix in choices):
            path[choice] = "none"
    return path


def test_a_node_whose_edges_are_all_none_is_zero(supernets):
    supernet = supernets["cell"]
    for cell, kind in ((supernet.cells[0], "normal"), (supernet.cells[1], "reduce")):
        genotype = SPACES["cell"][0].genotype(with_none(f"{kind}_3_", f"{kind}_5_"))
        channels = [cell.preprocess[source].steps[1].kernel.shape[2] for source in "01"]
        inputs = [tf.random.stateless_normal((BATCH, 4, 4, number), (1, 2)) for number in channels]
        nodes = tf.split(cell(*inputs, nodes=getattr(genotype, kind)), 4, axis=-1)
        assert [bool(np.any(node)) for node in nodes] == [True, False, True, False]
        side = 2 if cell.reduction else 4
        assert nodes[1].shape == (BATCH, side, side, cell.channels)


@pytest.mark.parametrize(
    ("path", "unused"),
    [
        # Nothing starts at input 0, so it is not preprocessed.
        (with_none("normal_2_0", "normal_3_0", "normal_4_0", "normal_5_0"), ["cells[0].preprocess['0']"]),
        # The last cell sees the one before the one before it alone.
        (
            with_none("reduce_2_1", "reduce_3_1", "reduce_4_1", "reduce_5_1"),
            ["cells[2].preprocess['1']", "cells[1].preprocess['0']"],
        ),
        # All is cut off from the logits but the classifier.
        (with_none("normal", "reduce"), ["stem", "cells[0].preprocess['0']", "cells[2].preprocess['1']"]),
    ],
)
def test_what_none_cuts_off_is_no_part_of_the_path(path, unused, supernets):
    supernet = supernets["cell"]
    variables = supernet.path_variables(path)
    for expression in unused:
        layer = eval(f"supernet.{expression}", {"supernet": supernet})
        assert not {id(v) for v in layer.trainable_variables} & {id(v) for v in variables}, expression
    with tf.GradientTape() as tape:
        value = loss(supernet(images(), path, training=True))
    gradients = tape.gradient(value, [variable.value for variable in variables])
    assert all(gradient is not None for gradient in gradients)
    assert np.isfinite(value)


def test_none_need_not_be_offered_to_be_in_a_path():
    space = make_space({"name": "cell", "operations": ["skip_connect"]})
    supernet = space.supernet(SHAPE, CLASSES, channels=2, cells=3)
    genotype = space.derive({choice.name: [1.0] for choice in space.choices})
    path = space.path(genotype)
    assert "none" in path.values()
    assert supernet(images(), path).shape == (BATCH, CLASSES)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("cell", [(4, 4, 8), (2, 2, 16), (1, 1, 32)]),
        ("mobile", [(4, 4, 4), (2, 2, 8)]),
        ("nasbench201", [(4, 4, 2), (2, 2, 4), (1, 1, 8)]),
    ],
)
def test_stages_end_before_the_sides_are_halved_and_the_last_is_the_heads_input(name, shapes, supernets):
    supernet, last_is_used = supernets[name], False
    for seed in range(3):
        path = random_path(SPACES[name][0], seed)
        ends = supernet.stages(images(), path)
        if name == "nasbench201" and len(supernet.path_layers(path)) == 1:  # cut off from the images
            assert [tuple(end.shape) for end in ends] == [(BATCH, 1, 1, 8)] * 3 and not np.any(ends)
        else:
            assert [tuple(end.shape) for end in ends] == [(BATCH, *shape) for shape in shapes]
        np.testing.assert_array_equal(supernet.head(ends[-1]), supernet(images(), path))
        last_is_used |= bool(np.any(ends[-1]))
    assert last_is_used


def test_stages_of_a_path_are_computed_one_from_the_other(supernets):
    """The end of a stage depends on the weights before it alone."""
    supernet = supernets["nasbench201"]
    path = {choice.name: "nor_conv_3x3" for choice in SPACES["nasbench201"][0].choices}
    before = [np.array(end) for end in supernet.stages(images(), path)]
    kernel = next(layer for layer in supernet.skeleton if layer.name == "residual_block_2").shortcut.steps[1].kernel
    kernel.assign(kernel + 1.0)
    after = supernet.stages(images(), path)
    assert [bool(np.array_equal(a, b)) for a, b in zip(before, after, strict=True)] == [True, True, False]
    kernel.assign(kernel - 1.0)


@pytest.mark.parametrize("name", SPACES)
def test_stages_check_the_path_as_a_call_does(name, supernets):
    path = random_path(SPACES[name][0], 0)
    del path[next(iter(path))]
    with pytest.raises(ValueError, match="path: missing"):
        supernets[name].stages(images(), path)


@pytest.mark.parametrize("name", SPACES)
def test_batch_norm_of_a_supernet_has_no_state(name, supernets):
    supernet = supernets[name]
    norms = [layer for layer in supernet._flatten_layers() if isinstance(layer, layers.BatchNorm)]
    assert norms and not any(norm.variables for norm in norms)
    assert not supernet.non_trainable_variables
    path = random_path(SPACES[name][0], 0)
    # The same batch statistics in both modes; other images of the batch do matter.
    np.testing.assert_array_equal(supernet(images(), path), supernet(images(), path, training=True))
    assert np.abs(np.array(supernet(images(2), path) - supernet(images(), path)[:2])).max() > 1e-4


@pytest.mark.parametrize("name", SPACES)
def test_a_path_can_be_traced_for_any_batch(name, supernets):
    supernet, path = supernets[name], random_path(SPACES[name][0], 1)
    traced = tf.function(
        lambda x: supernet(x, path, training=True),
        input_signature=[tf.TensorSpec((None, *SHAPE))],
        autograph=False,
    )
    # Not of two images: the last cells see them as single pixels, and batch norm of two numbers that are nearly
    # equal makes their last bits, which depend on the order of a sum, as large as the bound.
    for batch in (5, 8):
        np.testing.assert_allclose(traced(images(batch)), supernet(images(batch), path), atol=1e-5)
    assert supernet.image_shape == SHAPE


@pytest.mark.parametrize(
    ("name", "choice", "operation", "message"),
    [
        ("cell", "normal_2_0", "sep_conv_9x9", "unknown operation 'sep_conv_9x9'"),
        ("cell", "reduce_3_2", "own.operation", "no operation 'own.operation' for reduce_3_2"),
        ("mobile", "block_0", "k9_e1", "no operation 'k9_e1' for block_0"),
        ("mobile", "block_0", "sep_conv_3x3", "unknown operation 'sep_conv_3x3'"),
        ("mobile", "block_1", "skip", "only a block with a shortcut"),
    ],
)
def test_an_operation_that_the_supernet_has_not_is_refused(name, choice, operation, message, supernets):
    path = {**random_path(SPACES[name][0], 0), choice: operation}
    for use in (supernets[name].path_variables, lambda path: supernets[name](images(), path)):
        with pytest.raises(ValueError, match=message):
            use(path)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "options", "message"),
    [
        ("cell", (2, 2, 1), 2, {}, "at least 4x4"),
        ("mobile", (1, 1, 1), 2, {}, "at least 2x2"),
        ("cell", SHAPE, 1, {}, "classes: found 1"),
        ("mobile", SHAPE, 1, {}, "classes: found 1"),
        ("cell", SHAPE, 2, {"cells": 2}, "cells: found 2"),
    ],
)
def test_a_supernet_that_cannot_be_is_refused(name, shape, classes, options, message):
    with pytest.raises(ValueError, match=message):
        SPACES[name][0].supernet(shape, classes, **options)


def test_the_supernet_has_the_papers_eight_operations_on_every_edge(supernets):
    cell = supernets["cell"].cells[0]
    assert len(cell.edges) == 14 * (len(CELL_OPERATIONS) - 1)
