"""models/training/classifier.py: loss and metrics of a network with an auxiliary head."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.settings import Train
from models.training.classifier import Classifier, compile_classifier


def test_the_auxiliary_loss_is_weighted_and_metrics_look_at_the_main_logits_alone():
    class Two(keras.Model):
        def call(self, images, training=False):
            logits = images[:, 0, 0, :]
            return (logits, -logits) if training else logits

    recipe = Train()
    classifier = Classifier(Two(), 0.4)
    compile_classifier(classifier, recipe)
    logits = np.array([[2.0, 1.0, 0.0]], np.float32)[:, None, None, :]
    labels = np.array([[1.0, 0.0, 0.0]], np.float32)
    outputs = classifier(logits, training=True)
    loss = classifier.compute_loss(y=tf.constant(labels), y_pred=outputs)
    entropies = [-np.log(np.exp(sign * 2) / np.exp(sign * np.array([2, 1, 0])).sum()) for sign in (1, -1)]
    assert float(loss) == pytest.approx(entropies[0] + 0.4 * entropies[1], rel=1e-5)
    assert float(classifier.compute_metrics(None, tf.constant(labels), outputs)["accuracy"]) == 1.0
