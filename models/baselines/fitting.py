"""Trains a baseline and classifies the test images with it.

A killed training resumes and ends bit for bit like an uninterrupted one. The number of epochs that fit into a time
depends on the clock, so this number is decided only once. It is saved in a file in the folder of the baseline's
checkpoints, and a resumed run reads this file.
"""

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.baselines.verdict import Cost
from models.data import dataset
from models.networks import profiling
from models.runtime import checkpoint, setup
from models.runtime.files import write_atomically
from models.settings import Settings
from models.training import loop
from models.training.classifier import Classifier, prepare

_MEASURED = 10  # the largest number of measured steps; fewer if they take longer than _SECONDS
_SECONDS = 5.0
_BATCH = 256  # images of a batch that is classified


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A baseline after its training.

    Attributes:
        predicted: The class of each test image: int32 (images,).
        cost: The cost of the baseline.
    """

    predicted: np.ndarray
    cost: Cost


@dataclasses.dataclass(frozen=True)
class Limits:
    """How long a baseline is trained.

    Attributes:
        epochs: The number of epochs; 0: as many as fit into `seconds`. If not even one fits, the training has one epoch
            with a part of the images, of one step at least.
        seconds: The time for the training. It has no effect if `epochs` is above 0.
        most: The largest number of epochs if `epochs` is 0.
    """

    epochs: int
    seconds: float
    most: int


def set_up(settings: Settings) -> None:
    """Sets seeds and policies, as the final training does."""
    setup.set_up(
        seed=settings.seed,
        deterministic=settings.deterministic,
        tuned_kernels=settings.tuned_kernels,
        mixed_precision=settings.train.mixed_precision,
    )


def once(path: str, decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns a decision. If its file exists, the decision is read; otherwise it is made and written.

    Args:
        path: The file of the decision, any path or URI that tf.io.gfile knows. Its folder is created if necessary.
        decide: Makes the decision: JSON values by name.
    """
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            return json.loads(file.read())
    decision = decide()
    tf.io.gfile.makedirs(os.path.dirname(path))
    write_atomically(path, json.dumps(decision))
    return decision


def kept(directory: str, make: Callable[[], Outcome]) -> Outcome:
    """Returns the outcome of a baseline.

    If an interrupted run has saved the outcome, it is read; otherwise it is made and saved.

    Args:
        directory: The folder of the baseline's checkpoints.
        make: Trains the baseline and returns its outcome.
    """
    directory = os.path.join(directory, "outcome")
    found = checkpoint.latest(directory)
    if found is None:
        outcome = make()
        checkpoint.save(directory, 0, {"predicted": outcome.predicted}, dataclasses.asdict(outcome.cost))
        return outcome
    return Outcome(found.arrays["predicted"], Cost(**found.state))


def fit(
    name: str,
    make: Callable[[], Classifier],
    settings: Settings,
    limits: Limits,
    train: dataset.ImageDataset,
    test: dataset.ImageDataset,
    directory: str,
    log_dir: str,
) -> Outcome:
    """Trains a baseline and classifies the test images.

    Args:
        name: The baseline's name, for the terminal.
        make: Returns the compiled classifier with fresh weights.
        settings: `settings.train` is the recipe; `limits` replaces its epochs. Seed and policies are those of the final
            training.
        limits: How long to train.
        train: The training images.
        test: The test images.
        directory: The folder of this baseline's checkpoints.
        log_dir: The folder for TensorBoard's scalars per epoch.

    Raises:
        ValueError: The loss is not finite.
    """
    began = time.monotonic()
    recipe = settings.train
    set_up(settings)
    strategy = setup.strategy()
    with strategy.scope():
        classifier = make()

    def decide():
        if limits.epochs:
            return {"epochs": limits.epochs, "images": 0, "seconds": 0.0}
        step = _measure(classifier, train, settings, strategy)
        spent = time.monotonic() - began
        steps = max(1, math.floor((limits.seconds - spent) / step))
        epochs = min(limits.most, steps // math.ceil(len(train) / recipe.batch_size))
        images = 0 if epochs else steps * recipe.batch_size
        return {"epochs": max(1, epochs), "images": images, "seconds": spent}

    decision = once(os.path.join(directory, "decision.json"), decide)
    epochs = decision["epochs"]
    recipe = recipe.model_copy(
        update={
            "epochs": epochs,
            "epoch_images": decision["images"],
            "warmup_epochs": min(recipe.warmup_epochs, epochs - 1),
        }
    )
    trained = loop.train(classifier, train, recipe, settings.seed, strategy, directory, log_dir, name)
    profile = profiling.profile(classifier.network)
    seconds = decision["seconds"] + trained.seconds
    cost = Cost(profile.params, profile.macs, seconds, loop.passes(recipe, len(train)))
    return Outcome(_predict(classifier.network, test), cost)


def _measure(
    classifier: Classifier, train: dataset.ImageDataset, settings: Settings, strategy: tf.distribute.Strategy
) -> float:
    """Returns the median seconds of a step, without the first step, which traces. The weights do not change."""
    prepare(classifier, train.image_shape, len(train.class_names))
    before = [np.asarray(variable) for variable in loop.state(classifier)]
    recipe = settings.train
    augment = dataset.Augmentation.of(recipe)
    seconds: list[float] = []
    epoch = 0
    while len(seconds) < 2 or (len(seconds) <= _MEASURED and sum(seconds[1:]) < _SECONDS):
        batches = dataset.batches(
            train, recipe.batch_size, seed=settings.seed, epoch=epoch, augment=augment, one_hot=True
        )
        iterator = iter(strategy.experimental_distribute_dataset(batches.take(_MEASURED + 1)))
        for _ in range(min(_MEASURED + 1, math.ceil(len(train) / recipe.batch_size))):
            began = time.monotonic()
            float(classifier.train_function(iterator)["loss"])
            seconds.append(time.monotonic() - began)
            if sum(seconds[1:]) > _SECONDS:
                break
        epoch += 1
    for variable, value in zip(loop.state(classifier), before, strict=True):
        variable.assign(value)
    return float(np.median(seconds[1:]))


def _predict(network: keras.Model, test: dataset.ImageDataset) -> np.ndarray:
    predict = tf.function(
        lambda images: tf.argmax(network(images, training=False), axis=-1, output_type=tf.int32), autograph=False
    )
    return np.concatenate([predict(images).numpy() for images, _ in dataset.batches(test, _BATCH)])


def served_predictions(model_dir: str, test: dataset.ImageDataset) -> np.ndarray:
    """Returns the class that an exported model (models/export.py) predicts for each image: int32 (images,)."""
    model = tf.saved_model.load(model_dir)  # this name keeps the variables alive; the signature does not
    answer = model.signatures["serve_uint8"]
    predicted = [
        answer(images=test.pixels(start, min(start + _BATCH, len(test))))["probabilities"].numpy().argmax(axis=1)
        for start in range(0, len(test), _BATCH)
    ]
    return np.concatenate(predicted).astype(np.int32)
