"""The primitive layers every operation and network of this project is composed of.

Channels last, and padded like the released networks: `kernel_size // 2` pixels on BOTH sides, at
stride 2 too, where TensorFlow's 'same' would pad the right and the bottom only. A 3x3 layer of
stride 2 therefore maps a side of `n` pixels, even or odd, to `ceil(n / 2)`.

Each layer has one definition in `keras.ops`; where `models/networks/kernels.py` knows a faster way to the
same values and gradients, and `tuning.set_tuned(True)` holds, that one is taken instead.

Convolutions start as PyTorch's do (uniform within `1 / sqrt(fan_in)`), since the learning rates of
the published recipes were found with that. Seeds come from Keras's global one
(`keras.utils.set_random_seed`).
"""

import keras
from keras import ops

from models.networks import batch_statistics, kernels, replicas
from models.runtime import tuning

PACKAGE = "mdenas"


class _FanInUniform(keras.initializers.RandomUniform):
    """Uniform within 1 / sqrt(fan_in), the fan-in being given, as Keras's guess from the shape is
    wrong for depthwise kernels."""

    def __init__(self, fan_in):
        limit = fan_in**-0.5
        super().__init__(-limit, limit)


def _pad(images, padding, value=0.0):
    if not padding:
        return images
    return ops.pad(images, [(0, 0), (padding, padding), (padding, padding), (0, 0)], constant_values=value)


def _output_side(side, kernel_size, strides, padding, dilation=1):
    if side is None:
        return None
    return (side + 2 * padding - dilation * (kernel_size - 1) - 1) // strides + 1


class _Window(keras.layers.Layer):
    """What layers with a sliding window share: its geometry."""

    def __init__(self, kernel_size, strides, padding, dilation=1, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation = dilation
        self.padding = dilation * (kernel_size // 2) if padding is None else padding

    def _output_shape(self, input_shape, channels):
        batch, *sides, _ = input_shape
        sides = [_output_side(side, self.kernel_size, self.strides, self.padding, self.dilation) for side in sides]
        return (batch, *sides, channels)

    def compute_output_shape(self, input_shape):
        return self._output_shape(input_shape, input_shape[-1])


@keras.saving.register_keras_serializable(PACKAGE)
class Conv2D(_Window):
    """A convolution without bias (batch norm follows it and has one).

    Args:
        filters: Number of output channels.
        kernel_size: Side of the square kernel in pixels. Default 1.
        strides: 1 or 2. Default 1.
        padding: Pixels of zeros on every side. Default `kernel_size // 2`.
    """

    def __init__(self, filters, kernel_size=1, strides=1, padding=None, **kwargs):
        super().__init__(kernel_size, strides, padding, **kwargs)
        self.filters = filters

    def build(self, input_shape):
        size, channels = self.kernel_size, input_shape[-1]
        self.kernel = self.add_weight(
            shape=(size, size, channels, self.filters),
            initializer=_FanInUniform(size * size * channels),
            name="kernel",
        )

    def call(self, images):
        if tuning.tuned():
            return kernels.conv(images, self.kernel, self.strides, self.padding)
        return ops.conv(
            _pad(images, self.padding),
            self.kernel,
            strides=self.strides,
            padding="valid",
            data_format="channels_last",
        )

    def compute_output_shape(self, input_shape):
        return self._output_shape(input_shape, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class GroupConv2D(_Window):
    """A convolution without bias of each group of channels by itself, and a shuffle that spreads the groups' outputs.

    Output channel `i * groups + g` is channel `i` of group `g`, so that each group of a next layer sees all groups.
    There are as many outputs as inputs.

    Args:
        kernel_size: Side of the square kernel in pixels.
        strides: 1 or 2. Default 1.
        groups: Number of groups, a divisor of the channels. Default 4.
    """

    def __init__(self, kernel_size, strides=1, groups=4, **kwargs):
        super().__init__(kernel_size, strides, None, **kwargs)
        self.groups = groups

    def build(self, input_shape):
        size, channels = self.kernel_size, input_shape[-1]
        inputs = channels // self.groups
        self.kernel = self.add_weight(
            shape=(size, size, inputs, channels), initializer=_FanInUniform(size * size * inputs), name="kernel"
        )

    def call(self, images):
        # oneDNN refuses the kernel's gradient at stride 2.
        if tuning.tuned() and self.strides == 1 and kernels.has_grouped_gradients():
            outputs = kernels.conv(images, self.kernel, self.strides, self.padding)
        else:
            outputs = self._by_groups(images)
        _, height, width, channels = outputs.shape
        by_group = ops.reshape(outputs, (-1, height * width, self.groups, channels // self.groups))
        return ops.reshape(ops.transpose(by_group, (0, 1, 3, 2)), (-1, height, width, channels))

    def _by_groups(self, images):
        parts = zip(
            ops.split(_pad(images, self.padding), self.groups, axis=-1),
            ops.split(ops.convert_to_tensor(self.kernel), self.groups, axis=-1),
            strict=True,
        )
        return ops.concatenate(
            [ops.conv(*part, strides=self.strides, padding="valid", data_format="channels_last") for part in parts],
            axis=-1,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "groups": self.groups,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class DepthwiseConv2D(_Window):
    """One filter per channel, without bias.

    Args:
        kernel_size: Side of the square kernel in pixels.
        strides: 1 or 2. Default 1.
        dilation: Distance in pixels between the points of the kernel, 1 or 2. Default 1.
    """

    def __init__(self, kernel_size, strides=1, dilation=1, **kwargs):
        super().__init__(kernel_size, strides, None, dilation, **kwargs)

    def build(self, input_shape):
        size = self.kernel_size
        self.kernel = self.add_weight(
            shape=(size, size, input_shape[-1], 1),
            initializer=_FanInUniform(size * size),
            name="kernel",
        )

    def call(self, images, training=False):
        if tuning.tuned_for_cpu():
            return kernels.depthwise(images, self.kernel, self.strides, self.dilation, training)
        padding, dilation = self.padding, self.dilation
        if self.strides > 1 and dilation > 1:
            # TensorFlow has no dilated depthwise convolution with a stride. With both equal, the
            # points that count are those of the subsampled image.
            if self.strides != dilation:
                raise ValueError(
                    f"{self.name}: strides={self.strides} with dilation={dilation}; a stride above "
                    "1 must equal the dilation."
                )
            images, padding, dilation = subsample(images), self.kernel_size // 2, 1
        strides = 1 if self.dilation > 1 else self.strides
        return ops.depthwise_conv(
            _pad(images, padding),
            self.kernel,
            strides=strides,
            padding="valid",
            data_format="channels_last",
            dilation_rate=dilation,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation": self.dilation,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class BatchNorm(keras.layers.Layer):
    """Batch normalisation over the batch and both sides, in float32 whatever the policy.

    The normalisation itself divides by the biased variance of the batch; the moving variance
    averages the unbiased one (times n / (n - 1)), as PyTorch does and Keras's own layer does not,
    so that statistics can be exchanged with the released networks. Where several replicas share a batch, the statistics
    are those of the whole batch.

    Args:
        affine: Whether there is a trainable scale `gamma` and shift `beta`. Default True.
        moving: Whether there are moving statistics, updated when `training` and used when not. With
            False the layer holds no state and uses the batch's own statistics, or those that
            `models.networks.batch_statistics` fixes: a supernet needs that, as no statistics fit all of its
            sub-networks. Default True.
        momentum: Share of the old moving statistics kept in an update. Default 0.9 (PyTorch: 0.1).
        epsilon: Added to the variance. Default 1e-5; the ImageNet and mobile networks use 1e-3.
    """

    def __init__(self, affine=True, moving=True, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.affine = affine
        self.moving = moving
        self.momentum = momentum
        self.epsilon = epsilon
        self.gamma = self.beta = None

    def build(self, input_shape):
        def weight(name, initializer, trainable):
            return self.add_weight(
                shape=input_shape[-1:],
                initializer=initializer,
                trainable=trainable,
                autocast=False,
                aggregation="none" if trainable else "mean",
                name=name,
            )

        if self.affine:
            self.gamma = weight("gamma", "ones", True)
            self.beta = weight("beta", "zeros", True)
        if self.moving:
            self.moving_mean = weight("moving_mean", "zeros", False)
            self.moving_variance = weight("moving_variance", "ones", False)

    def call(self, images, training=False):
        known = self._known_statistics(training)
        shared = replicas.replicas() > 1
        if tuning.tuned() and not shared:
            return self._call_tuned(images, known)
        if known:
            return self._normalize(images, *known)
        values = ops.cast(images, "float32")
        if shared:
            mean, variance, count = replicas.statistics_over_replicas(values)
        else:
            mean, variance = ops.moments(values, axes=(0, 1, 2))
            count = ops.cast(ops.size(images) // images.shape[-1], "float32")
        if self.moving:
            self._update(mean, variance * count / ops.maximum(count - 1.0, 1.0))
        else:
            batch_statistics.record(mean, variance)
        return self._normalize(images, mean, variance)

    def _known_statistics(self, training):
        """Returns the statistics to normalise by, or None for those of the batch."""
        if not self.moving:
            return batch_statistics.next_fixed()
        return None if training else (self.moving_mean, self.moving_variance)

    def _call_tuned(self, images, known):
        images = ops.cast(images, self.compute_dtype)
        weights = self.gamma, self.beta, self.epsilon
        if known:
            return kernels.normalize(images, *known, *weights)
        normalized, mean, variance = kernels.batch_norm(images, *weights)
        if self.moving:
            self._update(mean, variance)
        else:
            count = ops.cast(ops.size(images) // images.shape[-1], "float32")
            batch_statistics.record(mean, variance * (count - 1.0) / count)
        return normalized

    def _normalize(self, images, mean, variance):
        normalized = ops.batch_normalization(
            ops.cast(images, "float32"),
            mean,
            variance,
            axis=-1,
            offset=self.beta,
            scale=self.gamma,
            epsilon=self.epsilon,
        )
        return ops.cast(normalized, self.compute_dtype)

    def _update(self, mean, variance):
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "affine": self.affine,
            "moving": self.moving,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class MaxPool(_Window):
    """The largest value in each window.

    Args:
        pool_size: Side of the window in pixels. Default 3.
        strides: Default 1.
        padding: Pixels on every side, which are never the largest. Default `pool_size // 2`.
    """

    def __init__(self, pool_size=3, strides=1, padding=None, **kwargs):
        super().__init__(pool_size, strides, padding, **kwargs)

    def call(self, images):
        if tuning.tuned_for_cpu():
            return kernels.max_pool(images, self.kernel_size, self.strides, self.padding)
        return ops.max_pool(
            _pad(images, self.padding, float("-inf")),
            self.kernel_size,
            self.strides,
            padding="valid",
            data_format="channels_last",
        )

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class AvgPool(_Window):
    """The mean of each window, padding left out of the count.

    Args:
        pool_size: Side of the window in pixels. Default 3.
        strides: Default 1.
        padding: Pixels on every side, which do not count. Default `pool_size // 2`.
    """

    def __init__(self, pool_size=3, strides=1, padding=None, **kwargs):
        super().__init__(pool_size, strides, padding, **kwargs)

    def call(self, images):
        if tuning.tuned_for_cpu():
            return kernels.avg_pool(images, self.kernel_size, self.strides, self.padding)
        if not self.padding:
            return self._pool(images)
        inside = ops.ones((1, *images.shape[1:3], 1), images.dtype)
        return self._pool(_pad(images, self.padding)) / self._pool(_pad(inside, self.padding))

    def _pool(self, images):
        return ops.average_pool(images, self.kernel_size, self.strides, padding="valid", data_format="channels_last")

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
        }


def subsample(images):
    """Every second pixel of `images` (batch, height, width, channels) in both directions."""
    if tuning.tuned_for_cpu():
        return kernels.subsample(images)
    return images[:, ::2, ::2, :]


@keras.saving.register_keras_serializable(PACKAGE)
class FactorizedReduction(keras.layers.Layer):
    """Halves the sides without losing every second pixel.

    Two 1x1 convolutions of stride 2, the second on the input shifted by one pixel both ways,
    concatenated. The ReLU before and the batch norm after are separate layers. At an odd side the
    pixels that the shift brings in are zero.

    Args:
        filters: Number of output channels; the first convolution makes `filters // 2` of them.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        channels = input_shape[-1]
        first = self.filters // 2
        self.kernel = self.add_weight(shape=(1, 1, channels, first), initializer=_FanInUniform(channels), name="kernel")
        self.shifted_kernel = self.add_weight(
            shape=(1, 1, channels, self.filters - first),
            initializer=_FanInUniform(channels),
            name="shifted_kernel",
        )

    def call(self, images, training=False):
        if tuning.tuned_for_cpu():
            return kernels.factorized_reduction(images, self.kernel, self.shifted_kernel, training)
        shifted = ops.pad(images, [(0, 0), (0, 1), (0, 1), (0, 0)])[:, 1:, 1:, :]
        halves = [
            ops.conv(pixels, kernel, strides=2, padding="valid", data_format="channels_last")
            for pixels, kernel in ((images, self.kernel), (shifted, self.shifted_kernel))
        ]
        return ops.concatenate(halves, axis=-1)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (
            batch,
            _output_side(height, 1, 2, 0),
            _output_side(width, 1, 2, 0),
            self.filters,
        )

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}
