"""models/training/distillation.py: the loss, and the soft labels of the right images."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tensorflow_config

from models.data import dataset
from models.runtime import artifact_files, setup
from models.runtime.artifact_files import ArtifactError
from models.settings import Train
from models.training import loop
from models.training.classifier import Classifier, compile_classifier
from models.training.distillation import Distillation, SoftLabels

CLASSES = ("a", "b", "c")


@pytest.fixture
def _deterministic():
    setup.set_up(seed=0, deterministic=True, tuned_kernels=True)
    yield
    tensorflow_config.disable_op_determinism()


def _log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("temperature, weight", [(1.0, 1.0), (4.0, 0.7), (0.5, 0.25)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_the_formula_in_both_heads(temperature, weight, smoothing):
    class Two(keras.Model):
        def call(self, images, training=False):
            logits = images[:, 0, 0, :]
            return (logits, logits / 2) if training else logits

    recipe = Train(teacher=True, teacher_temperature=temperature, teacher_weight=weight, label_smoothing=smoothing)
    classifier = Classifier(Two(), 0.4, Distillation.of(recipe))
    compile_classifier(classifier, recipe)
    generator = np.random.default_rng(0)
    students, scores = generator.normal(size=(2, 5, 3)).astype(np.float32)
    labels = np.eye(3, dtype=np.float32)[[0, 1, 2, 2, 1]]
    y = tf.constant(labels), tf.constant(scores)
    outputs = classifier(students[:, None, None, :], training=True)
    soft = np.exp(_log_softmax(scores / temperature))
    smooth = labels * (1 - smoothing) + smoothing / 3

    def expected(logits):
        hard = -np.mean(np.sum(smooth * _log_softmax(logits), axis=1))
        of_teacher = -np.mean(np.sum(soft * _log_softmax(logits / temperature), axis=1))
        return (1 - weight) * hard + weight * temperature**2 * of_teacher

    loss = float(classifier.compute_loss(y=y, y_pred=outputs))
    assert loss == pytest.approx(expected(students) + 0.4 * expected(students / 2), rel=1e-5)
    # The accuracy looks at the labels, not at the teacher.
    accuracy = float(classifier.compute_metrics(None, y, outputs)["accuracy"])
    assert accuracy == pytest.approx(np.mean(students.argmax(axis=1) == labels.argmax(axis=1)))


def test_without_a_teacher_there_is_no_distillation():
    assert Distillation.of(Train()) is None


def _data(count=29):
    """Grey images whose first pixel is their number."""
    images = np.zeros((count, 4, 4, 1), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    labels = np.arange(count, dtype=np.int32) % 3
    ids = np.array([b"%03d" % number for number in range(count)])
    return dataset.ImageDataset(images, labels, ids, CLASSES, (0.5,), (0.25,), "print")


def _scores(count=29):
    return np.stack([np.arange(count), -np.arange(count), np.arange(count) % 7], axis=1).astype(np.float32)


def _write(folder, scores, data="print"):
    artifact_files.SOFT_LABELS.save(str(folder), {"scores": scores})
    artifact_files.TEACHER.save(str(folder), {"data": data})
    return SoftLabels.load(str(folder))


@pytest.mark.parametrize("start_step", [0, 2])
def test_each_image_has_its_own_scores_in_any_order_cropped_and_flipped(tmp_path, start_step):
    data, plain = _write(tmp_path, _scores()).of(_data()), _data()
    options = {"seed": 3, "epoch": 2, "one_hot": True, "augment": dataset.Augmentation(pad=1, flip=True)}
    taught = list(dataset.batches(data, 8, start_step=start_step, **options))
    untaught = list(dataset.batches(plain, 8, start_step=start_step, **options))
    numbers = []
    for (images, (labels, scores)), (same_images, same_labels) in zip(taught, untaught, strict=True):
        np.testing.assert_array_equal(images, same_images)
        np.testing.assert_array_equal(labels, same_labels)
        # The padding is black, so the largest pixel is the image's number.
        found = np.round((images.numpy().max(axis=(1, 2, 3)) * 0.25 + 0.5) * 255).astype(int)
        np.testing.assert_array_equal(scores, _scores()[found])
        numbers += list(found)
    assert numbers != sorted(numbers) and set(numbers) <= set(range(29))
    # An evaluation has the labels alone.
    assert next(iter(dataset.batches(data, 8)))[1].shape == (8,)


@pytest.mark.parametrize("count, fingerprint", [(29, "other"), (28, "print")])
def test_soft_labels_of_other_images_are_refused(tmp_path, count, fingerprint):
    found = _write(tmp_path, _scores(count), fingerprint)
    with pytest.raises(ArtifactError, match=r"^soft_labels\.npz has the scores of .* other images; expected those"):
        found.of(_data())


def _classifier(recipe):
    setup.set_up(seed=0, deterministic=True, tuned_kernels=True)
    layers = keras.layers
    network = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(8, "relu"), layers.Dropout(0.5), layers.Dense(3)]
    )
    classifier = Classifier(network, 0.0, Distillation.of(recipe))
    compile_classifier(classifier, recipe)
    return classifier


def _train(folder, recipe, data, stop_after=None):
    """Trains, and stops after some steps as if the process had been killed; returns the weights."""
    classifier = _classifier(recipe)
    classifier.make_train_function()
    step, calls = classifier.train_function, []

    def stop(iterator):
        if len(calls) == stop_after:
            raise KeyboardInterrupt
        calls.append(1)
        return step(iterator)

    classifier.train_function = stop
    loop.train(classifier, data, recipe, 0, tf.distribute.get_strategy(), str(folder / "kept"), str(folder / "logs"))
    return [np.asarray(variable) for variable in classifier.variables]


@pytest.mark.parametrize("stop_after", [2, 4, 6])
def test_a_killed_training_with_a_teacher_ends_bit_for_bit_the_same(tmp_path, stop_after, _deterministic):
    recipe = Train(epochs=2, batch_size=8, pad=1, cutout=2, checkpoint_seconds=0.0, teacher=True)
    data = _write(tmp_path, _scores()).of(_data())
    calm = _train(tmp_path / "calm", recipe, data)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "killed", recipe, data, stop_after)
    resumed = _train(tmp_path / "killed", recipe, data)
    assert all(np.array_equal(one, other) for one, other in zip(calm, resumed, strict=True))
    other = _write(tmp_path / "other", -_scores()).of(_data())
    assert not np.array_equal(_train(tmp_path / "elsewhere", recipe, other)[0], calm[0])
