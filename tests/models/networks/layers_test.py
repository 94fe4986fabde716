import contextlib
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.networks import kernels, layers, traced
from models.runtime import tuning

SIDES = [(8, 8), (7, 7), (6, 9), (1, 1)]

CASES = {
    "conv_1x1": lambda: layers.Conv2D(6),
    "conv_3x3": lambda: layers.Conv2D(6, 3),
    "conv_3x3_stride": lambda: layers.Conv2D(6, 3, 2),
    "conv_1x1_stride": lambda: layers.Conv2D(6, 1, 2),
    **{
        f"group_conv_{size}_stride_{strides}_groups_{groups}": (
            lambda size=size, strides=strides, groups=groups: layers.GroupConv2D(size, strides, groups)
        )
        for size, strides, groups in ((3, 1, 2), (3, 1, 4), (3, 2, 2), (3, 1, 1))
    },
    **{
        f"depthwise_{size}_stride_{strides}_dilation_{dilation}": (
            lambda size=size, strides=strides, dilation=dilation: layers.DepthwiseConv2D(size, strides, dilation)
        )
        for size, strides, dilation in itertools.product((3, 5, 7), (1, 2), (1, 2))
    },
    "batch_norm": lambda: layers.BatchNorm(),
    "batch_norm_plain": lambda: layers.BatchNorm(affine=False, moving=False, epsilon=1e-3),
    "max_pool": lambda: layers.MaxPool(),
    "max_pool_stride": lambda: layers.MaxPool(3, 2),
    "avg_pool": lambda: layers.AvgPool(),
    "avg_pool_stride": lambda: layers.AvgPool(3, 2),
    "factorized_reduction": lambda: layers.FactorizedReduction(6),
    "factorized_reduction_odd": lambda: layers.FactorizedReduction(5),
}


@pytest.fixture
def plain():
    tuning.set_tuned(False)
    yield
    tuning.set_tuned(True)


def _built(case, sides, channels=4):
    keras.utils.set_random_seed(1)
    layer = CASES[case]()
    layer.build((None, *sides, channels))
    for weight in layer.trainable_variables:
        weight.assign(keras.random.normal(weight.shape, seed=2))
    return layer


def _images(sides, channels=4):
    return np.random.default_rng(3).normal(size=(2, *sides, channels)).astype("float32")


def _outputs_and_gradients(layer, images, way):
    """Values, and gradients of a fixed weighted sum of them, in training."""
    arguments = {} if isinstance(layer, _NO_TRAINING) else {"training": True}

    def weighted(outputs):
        weights = np.random.default_rng(4).normal(size=outputs.shape[1:]).astype("float32")
        return tf.reduce_sum(outputs * weights)

    @tf.function(autograph=False)
    def graph(images):
        with traced.registered_gradients():
            outputs = layer(images, **arguments)
            sources = [images, *(variable.value for variable in layer.trainable_variables)]
            return outputs, tf.gradients(weighted(outputs), sources)

    @tf.function(autograph=False)
    def tape(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images, **arguments)
            loss = weighted(outputs)
        sources = [images, *(variable.value for variable in layer.trainable_variables)]
        return outputs, tape.gradient(loss, sources)

    outputs, gradients = {"graph": graph, "tape": tape}[way](tf.constant(images))
    return [outputs.numpy(), *(tf.convert_to_tensor(g).numpy() for g in gradients)]


_NO_TRAINING = (layers.Conv2D, layers.GroupConv2D, layers.MaxPool, layers.AvgPool)


def _assert_close(actual, expected, tolerance=2e-5):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, abs(b).max()))


@pytest.mark.parametrize("way", ["graph", "tape"])
@pytest.mark.parametrize("sides", SIDES[:3])
@pytest.mark.parametrize("case", CASES)
def test_tuned_layers_have_the_values_and_gradients_of_the_plain_ones(case, sides, way, plain):
    layer, images = _built(case, sides), _images(sides)
    expected = _outputs_and_gradients(layer, images, "tape")
    tuning.set_tuned(True)
    _assert_close(_outputs_and_gradients(layer, images, way), expected)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("case", CASES)
def test_the_output_shape_is_the_computed_one_and_halves_rounding_up(case, sides):
    layer = _built(case, sides)
    images = _images(sides)
    shape = layer.compute_output_shape((None, *images.shape[1:]))
    outputs = layer(images)
    assert tuple(outputs.shape[1:]) == shape[1:]
    halved = "stride_2" in case or case.endswith("stride") or "reduction" in case
    assert shape[1:3] == (tuple(-(-side // 2) for side in sides) if halved else sides)
    assert np.isfinite(outputs).all()


def _naive_windows(images, size, strides, padding, dilation, value):
    """(n, h, w, size * size, channels): what each window of a layer sees, by loops."""
    padded = np.pad(images, [(0, 0), (padding, padding), (padding, padding), (0, 0)], constant_values=value)
    reach = dilation * (size - 1) + 1
    rows, columns = (range(0, side - reach + 1, strides) for side in padded.shape[1:3])
    windows = [[padded[:, y : y + reach : dilation, x : x + reach : dilation] for x in columns] for y in rows]
    stacked = np.moveaxis(np.array(windows), 2, 0)
    return stacked.reshape(*stacked.shape[:3], size * size, -1)


@pytest.mark.parametrize("tuned", [True, False])
@pytest.mark.parametrize("sides", [(8, 8), (7, 7)])
def test_windows_are_padded_by_half_a_kernel_on_both_sides(tuned, sides, plain):
    tuning.set_tuned(tuned)
    images = _images(sides)
    for size, strides, dilation in itertools.product((3, 5), (1, 2), (1, 2)):
        layer = layers.DepthwiseConv2D(size, strides, dilation)
        layer.build((None, *sides, 4))
        windows = _naive_windows(images, size, strides, dilation * (size // 2), dilation, 0)
        weights = np.reshape(layer.kernel, (size * size, 4))
        _assert_close([layer(images).numpy()], [(windows * weights).sum(3)])
    conv = layers.Conv2D(5, 3, 2)
    conv.build((None, *sides, 4))
    windows = _naive_windows(images, 3, 2, 1, 1, 0)
    expected = np.einsum("nhwkc,kcf->nhwf", windows, np.reshape(conv.kernel, (9, 4, 5)))
    _assert_close([conv(images).numpy()], [expected])
    windows = _naive_windows(images, 3, 2, 1, 1, np.nan)
    _assert_close([layers.MaxPool(3, 2)(images).numpy()], [np.nanmax(windows, axis=3)])
    _assert_close([layers.AvgPool(3, 2)(images).numpy()], [np.nanmean(windows, axis=3)])


@pytest.mark.parametrize("tuned", [True, False])
def test_factorized_reduction_sees_every_pixel_of_one_diagonal(tuned, plain):
    tuning.set_tuned(tuned)
    images = _images((6, 8))
    layer = layers.FactorizedReduction(6)
    layer.build(images.shape)
    first, second = np.array(layer.kernel)[0, 0], np.array(layer.shifted_kernel)[0, 0]
    expected = [images[:, ::2, ::2] @ first, images[:, 1::2, 1::2] @ second]
    _assert_close([layer(images).numpy()], [np.concatenate(expected, axis=-1)])


@pytest.mark.parametrize(("tuned", "native"), [(True, True), (True, False), (False, True)])
def test_a_group_sees_its_own_channels_and_the_next_layers_groups_see_all(tuned, native, plain, monkeypatch):
    tuning.set_tuned(tuned)
    if not native:  # as where TF_ENABLE_ONEDNN_OPTS is 0
        monkeypatch.setattr(kernels, "has_grouped_gradients", lambda: False)
    layer = layers.GroupConv2D(1, groups=2)
    images = _images((4, 5), channels=6)
    layer.build(images.shape)
    kernel = np.array(layer.kernel)[0, 0]
    first, second = images[..., :3] @ kernel[:, :3], images[..., 3:] @ kernel[:, 3:]
    _assert_close([layer(images).numpy()], [np.stack([first, second], axis=-1).reshape(images.shape)])


@pytest.mark.parametrize("tuned", [True, False])
def test_moving_statistics_are_those_of_the_released_networks(tuned, plain):
    tuning.set_tuned(tuned)
    images = 3 * _images((5, 5)) + 1
    layer = layers.BatchNorm(momentum=0.9, epsilon=1e-3)
    layer.build(images.shape)
    mean, variance = images.mean((0, 1, 2)), images.var((0, 1, 2))
    outputs = layer(images, training=True)
    _assert_close([outputs.numpy()], [(images - mean) / np.sqrt(variance + 1e-3)])
    count = images.size // 4
    moving_mean, moving_variance = 0.1 * mean, 0.9 + 0.1 * variance * count / (count - 1)
    _assert_close([layer.moving_mean.numpy()], [moving_mean])
    _assert_close([layer.moving_variance.numpy()], [moving_variance])
    expected = (images - moving_mean) / np.sqrt(moving_variance + 1e-3)
    _assert_close([layer(images, training=False).numpy()], [expected])


def test_batch_norm_without_moving_statistics_has_no_state_and_ignores_training():
    images = _images((5, 5))
    layer = layers.BatchNorm(affine=False, moving=False)
    layer.build(images.shape)
    assert layer.variables == []
    np.testing.assert_array_equal(layer(images, training=True), layer(images, training=False))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("tuned", [True, False])
def test_sixteen_bits_in_and_out_with_batch_norm_in_float32(policy, tuned, plain):
    tuning.set_tuned(tuned)
    images = (1000 * _images((6, 6))).astype("float32")
    layer = layers.BatchNorm(dtype=policy)
    layer.build(images.shape)
    outputs = layer(images, training=True)
    assert outputs.dtype == keras.DTypePolicy(policy).compute_dtype
    assert layer.moving_variance.dtype == "float32"
    assert np.isfinite(layer.moving_variance).all()  # a variance of 1e6 is beyond float16
    conv = layers.DepthwiseConv2D(5, dtype=policy)
    conv.build(images.shape)
    assert conv(images).dtype == keras.DTypePolicy(policy).compute_dtype


@pytest.mark.parametrize("case", ["depthwise_5_stride_1_dilation_1", "depthwise_3_stride_1_dilation_2", "batch_norm"])
def test_gradients_that_are_attached_to_a_graph_register_nothing(case):
    layer = _built(case, (8, 8))

    def gradients(registered):
        @tf.function(autograph=False)
        def function(images):
            with traced.registered_gradients() if registered else contextlib.nullcontext():
                return layer(images, training=True)

        function = function.get_concrete_function(tf.TensorSpec((None, 8, 8, 4)))
        operations = function.graph.get_operations()
        return {op.node_def.attr["_gradient_op_type"].s.decode() for op in operations} - {""}

    assert gradients(registered=True) == {"MdenasGradient"}
    assert "MdenasGradient" not in gradients(registered=False)


def test_a_weight_is_read_once_under_registered_gradients():
    layer = _built("conv_1x1", (8, 8))

    @tf.function(autograph=False)
    def function(images):
        with traced.registered_gradients():
            return layer(images) + layer(images), traced.read(layer.kernel)

    function = function.get_concrete_function(tf.TensorSpec((None, 8, 8, 4)))
    reads = [op for op in function.graph.get_operations() if op.type == "ReadVariableOp"]
    assert len(reads) == 1
    np.testing.assert_array_equal(function(tf.constant(_images((8, 8))))[1], layer.kernel)


@pytest.mark.parametrize("case", CASES)
def test_a_layer_can_be_made_again_from_its_config(case):
    layer = _built(case, (8, 8))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer) and again.get_config() == layer.get_config()
