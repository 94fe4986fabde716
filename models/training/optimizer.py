"""Stochastic gradient descent as the recipes of the papers mean it, which is PyTorch's.

For every weight w with gradient g, after the gradients of all weights were clipped together:

    g = clip(g)                 by the norm of all gradients
    g = g + weight_decay * w    (coupled: the decay goes through the momentum)
    v = momentum * v + g
    w = w - learning_rate * v

Keras's own SGD differs in two ways. Its velocity contains the learning rate (v = momentum * v -
learning_rate * g), which is the same thing as long as the learning rate is constant and lets older
gradients weigh more while it falls; and its weight decay is decoupled from the momentum.
"""

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("mdenas")
class SGD(keras.optimizers.SGD):
    """SGD with momentum, global gradient clip and coupled weight decay, for `Model.compile`.

    With several replicas the gradients are clipped after they were summed over the replicas, so
    that a step does not depend on how many devices share the batch.

    Args:
        learning_rate: Float or `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: Float in [0, 1]. Default 0.9.
        weight_decay: Float, the factor of the weights that is added to their gradient; None or 0
            for none. Default None.
        global_clipnorm: Float, the largest norm of all gradients together; None for no clip.
        exclude: Names of weights that are not decayed, for instance `("gamma", "beta")` for those
            of batch norm. Default none, as in the recipes.
        name: Name of the optimizer.
        **kwargs: What every Keras optimizer takes (`use_ema`, `loss_scale_factor`, ...).
    """

    def __init__(
        self,
        learning_rate,
        momentum=0.9,
        weight_decay=None,
        global_clipnorm=None,
        exclude=(),
        name="sgd",
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            global_clipnorm=global_clipnorm,
            name=name,
            **kwargs,
        )
        self.exclude = tuple(exclude)

    def build(self, variables):
        super().build(variables)
        self._decayed = [variable.name not in self.exclude for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if self.weight_decay and self._decayed[index]:
            gradient = gradient + self.weight_decay * variable
        if self.momentum:
            velocity = self.momentums[index]
            self.assign(velocity, self.momentum * velocity + gradient)
            gradient = velocity
        self.assign_sub(variable, learning_rate * gradient)

    def _apply_weight_decay(self, variables):
        """The base class's decoupled decay; ours is part of `update_step`."""

    def _filter_empty_gradients(self, grads, vars):
        """Leaves weights without a gradient as they are, without a warning: `none` edges may cut off some of them."""
        vars = [variable for grad, variable in zip(grads, vars, strict=True) if grad is not None]
        return super()._filter_empty_gradients([grad for grad in grads if grad is not None], vars)

    def _clip_gradients(self, grads):
        """Does nothing: the base class would clip one replica's gradients; this optimizer clips their sum."""
        return grads

    def _all_reduce_sum_gradients(self, grads_and_vars):
        grads, variables = zip(*super()._all_reduce_sum_gradients(grads_and_vars), strict=True)
        if self.global_clipnorm:
            grads, _ = tf.clip_by_global_norm(grads, self.global_clipnorm)
        return list(zip(grads, variables, strict=True))

    def get_config(self):
        config = super().get_config()
        # The base class has this option, but `update_step` does no Nesterov step, so the option would have no effect.
        del config["nesterov"]
        return {**config, "exclude": list(self.exclude)}
