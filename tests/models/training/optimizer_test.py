import keras
import numpy as np
import pytest
import tensorflow as tf

from models.training.optimizer import SGD

SHAPES = ((3, 2), (4,))


def _variables():
    rng = np.random.default_rng(0)
    return [
        keras.Variable(rng.normal(size=shape).astype("float32"), name=name)
        for shape, name in zip(SHAPES, ("kernel", "gamma"), strict=True)
    ]


def _gradients(step):
    rng = np.random.default_rng(100 + step)
    return [rng.normal(size=shape).astype("float32") for shape in SHAPES]


def _run(optimizer, steps=6, learning_rates=None):
    variables = _variables()
    optimizer.build(variables)
    for step in range(steps):
        if learning_rates is not None:
            optimizer.learning_rate = learning_rates[step]
        optimizer.apply([tf.constant(g) for g in _gradients(step)], variables)
    return [variable.numpy() for variable in variables]


def _reference(learning_rates, momentum=0.9, weight_decay=0.0, clip=None, decayed=(True, True)):
    """The four lines of the module's docstring, in NumPy."""
    weights = [variable.numpy() for variable in _variables()]
    velocity = [np.zeros_like(weight) for weight in weights]
    for step, learning_rate in enumerate(learning_rates):
        gradients = _gradients(step)
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        scale = min(1.0, clip / norm) if clip else 1.0
        for i, gradient in enumerate(gradients):
            gradient = scale * gradient + weight_decay * decayed[i] * weights[i]
            velocity[i] = momentum * velocity[i] + gradient
            weights[i] = weights[i] - learning_rate * velocity[i]
    return weights


def test_constant_learning_rate_equals_keras_sgd():
    ours = _run(SGD(0.1, momentum=0.9, global_clipnorm=1.0))
    keras_sgd = _run(keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=1.0))
    for a, b in zip(ours, keras_sgd, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_changing_learning_rate_with_clip_and_decay_equals_the_formula(momentum):
    rates = [0.1, 0.1, 0.05, 0.02, 0.01, 0.001]
    ours = _run(SGD(0.1, momentum=momentum, weight_decay=0.1, global_clipnorm=1.5), learning_rates=rates)
    for a, b in zip(ours, _reference(rates, momentum, 0.1, 1.5), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_excluded_weights_are_not_decayed():
    ours = _run(SGD(0.1, weight_decay=0.1, exclude=("gamma",)))
    expected = _reference([0.1] * 6, weight_decay=0.1, decayed=(True, False))
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_weight_without_a_gradient_stays_as_it_is_without_a_warning(recwarn):
    optimizer = SGD(0.1, weight_decay=0.1, global_clipnorm=1.0)
    kernel, gamma = variables = _variables()
    before = kernel.numpy()
    optimizer.build(variables)
    optimizer.apply([None, tf.constant(_gradients(0)[1])], variables)
    np.testing.assert_array_equal(kernel, before)
    assert np.abs(gamma.numpy() - _variables()[1].numpy()).max() > 0
    assert not recwarn.list
    with pytest.raises(ValueError, match="No gradients"):
        optimizer.apply([None, None], variables)


def test_the_config_makes_the_same_optimizer_again():
    optimizer = SGD(0.1, weight_decay=0.1, global_clipnorm=2.0, exclude=("gamma",))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    for a, b in zip(_run(optimizer), _run(again), strict=True):
        np.testing.assert_array_equal(a, b)
