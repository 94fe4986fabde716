"""models/training/loop.py: an interrupted training, checkpoints, and a loss that is not finite."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tensorflow_config

from models.data import dataset
from models.runtime import checkpoint, setup
from models.settings import Train
from models.training import loop
from models.training.classifier import Classifier, compile_classifier

EPOCHS, STEPS = 3, 4


@pytest.fixture
def _deterministic():
    setup.set_up(seed=0, deterministic=True, tuned_kernels=True)
    yield
    tensorflow_config.disable_op_determinism()


def _data():
    rng = np.random.default_rng(0)
    count = 8 * STEPS - 3
    images = rng.integers(0, 255, (count, 4, 4, 1), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int32) % 3
    ids = np.array([b"%03d" % number for number in range(count)])
    return dataset.ImageDataset(images, labels, ids, ("a", "b", "c"), (0.5,), (0.25,))


def _recipe(**changes):
    return Train.parse({"epochs": EPOCHS, "batch_size": 8, "pad": 1, "cutout": 2, "checkpoint_seconds": 0.0, **changes})


def _classifier(recipe):
    """A small network with all that a training's state is made of: batch norm, dropout, momentum, moving averages."""
    setup.set_up(seed=0, deterministic=True, tuned_kernels=True)
    network = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )
    classifier = Classifier(network, 0.0)
    compile_classifier(classifier, recipe)
    return classifier


def _train(directory, recipe, classifier=None):
    classifier = classifier or _classifier(recipe)
    strategy = tf.distribute.get_strategy()
    ended = loop.train(
        classifier, _data(), recipe, 0, strategy, str(directory / "checkpoints"), str(directory / "logs")
    )
    return [np.asarray(variable) for variable in classifier.variables], ended.history


class _Stopped(BaseException):
    """As if the process had been killed: nothing is caught or cleaned up."""


@pytest.mark.parametrize(
    "stop_after,changes,resumed_with",
    [
        (2, {}, {}),
        (STEPS, {}, {}),
        (STEPS + 1, {"ema": 0.9}, {}),
        (3, {"epoch_images": 16}, {}),
        (2, {}, {"checkpoint_seconds": 60.0}),  # the one setting without effect
    ],
    ids=["mid-epoch", "end of epoch", "moving average", "parts of the images", "another setting without effect"],
)
def test_a_training_stopped_at_any_step_ends_bit_for_bit_as_if_it_had_not_been(
    tmp_path, stop_after, changes, resumed_with, _deterministic
):
    recipe = _recipe(**changes)
    expected, history = _train(tmp_path / "calm", recipe)

    stopped = _classifier(recipe)
    stopped.make_train_function()
    step, calls = stopped.train_function, []

    def stop(iterator):
        if len(calls) == stop_after:
            raise _Stopped
        calls.append(1)
        return step(iterator)

    stopped.train_function = stop
    with pytest.raises(_Stopped):
        _train(tmp_path / "stormy", recipe, stopped)
    found, told = _train(tmp_path / "stormy", _recipe(**changes, **resumed_with))
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))
    # What is told of the epochs before the stop is not lost.
    assert told == history
    assert [figures["epoch"] for figures in history] == list(range(EPOCHS))


@pytest.mark.parametrize("images, steps, passes", [(0, STEPS, EPOCHS), (16, 2, None), (1000, STEPS, EPOCHS)])
def test_an_epoch_has_as_many_images_as_the_recipe_says(tmp_path, _deterministic, images, steps, passes):
    recipe = _recipe(epoch_images=images)
    classifier = _classifier(recipe)
    classifier.make_train_function()
    step, calls = classifier.train_function, []
    classifier.train_function = lambda iterator: calls.append(1) or step(iterator)
    _, history = _train(tmp_path, recipe, classifier)
    assert len(history) == EPOCHS and len(calls) == EPOCHS * steps
    assert loop.passes(recipe, len(_data())) == (passes or EPOCHS * 16 / len(_data()))


def test_little_is_lost_where_saving_is_quick(tmp_path, monkeypatch, _deterministic):
    clock, saves = [0.0], []
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])
    recipe = _recipe(checkpoint_seconds=60.0)
    classifier = _classifier(recipe)
    classifier.make_train_function()
    step = classifier.train_function

    def timed_step(iterator):
        clock[0] += 1
        return step(iterator)

    def timed_save(classifier, directory, position, step):
        saves.append((position.epoch, position.step))
        clock[0] += 0.16

    classifier.train_function = timed_step
    monkeypatch.setattr(loop, "_save", timed_save)
    _train(tmp_path, recipe, classifier)
    # At once, then when 20 times the 0.16 s are over: every fourth step.
    done = [epoch * STEPS + step for epoch, step in saves]
    assert done == list(range(1, EPOCHS * STEPS + 1, 4))


def test_another_seed_gives_other_weights(tmp_path, _deterministic):
    recipe = _recipe(epochs=1)
    one, _ = _train(tmp_path / "one", recipe)
    classifier = _classifier(recipe)
    strategy = tf.distribute.get_strategy()
    loop.train(classifier, _data(), recipe, 1, strategy, str(tmp_path / "two"), str(tmp_path / "logs"))
    assert any(not np.array_equal(a, np.asarray(b)) for a, b in zip(one, classifier.variables, strict=True))


def test_a_loss_that_is_not_finite_ends_the_training_with_advice(tmp_path, _deterministic):
    recipe = _recipe(learning_rate=1e30, gradient_clip=0.0)
    with pytest.raises(ValueError, match=r"training loss is (nan|inf) in epoch 1.*config\.train\.learning_rate"):
        _train(tmp_path, recipe)


def test_weights_that_are_not_finite_are_not_checkpointed(tmp_path, _deterministic):
    recipe = _recipe(learning_rate=1e30, gradient_clip=0.0, checkpoint_seconds=0.0)
    with pytest.raises(ValueError, match="training loss is"):
        _train(tmp_path, recipe)
    found = checkpoint.latest(str(tmp_path / "checkpoints"))
    assert found is None or all(np.isfinite(found.arrays[name]).all() for name in found.arrays)
