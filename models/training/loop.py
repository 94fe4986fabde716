"""The training, epoch by epoch: resumed where it was interrupted, to the same bits."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.data import dataset
from models.runtime import checkpoint
from models.runtime.progress import Progress
from models.settings import Train
from models.training.classifier import Classifier, prepare
from models.training.schedules import learning_rate


@dataclasses.dataclass
class Position:
    """Where a training is.

    Attributes:
        epoch: The next to come, 0-based.
        step: The next to come in that epoch.
        seconds: Spent so far, earlier runs of an interrupted training included.
        history: Per finished epoch `epoch`, `loss`, `accuracy` (means over the epoch's batches) and `learning_rate`.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


def train(
    classifier: Classifier,
    data: dataset.ImageDataset,
    recipe: Train,
    seed: int,
    strategy: tf.distribute.Strategy,
    checkpoint_dir: str,
    log_dir: str,
    label: str = "train",
) -> Position:
    """Trains a compiled classifier by the recipe, from its newest checkpoint on.

    Args:
        classifier: Compiled; its weights are as they will be used or are replaced by the checkpoint's.
        data: Decoded or decodable training images.
        recipe: `config.train`.
        seed: Of data order and augmentation, which depend on it, the epoch and the step alone.
        strategy: What the classifier was built under.
        checkpoint_dir: This training's own checkpoints.
        log_dir: TensorBoard scalars per epoch.
        label: What the terminal calls it.

    Returns:
        Where the training ended.

    Raises:
        ValueError: The loss is not finite.
    """
    prepare(classifier, data.image_shape, len(data.class_names))
    position = _restore(classifier, checkpoint_dir)
    writer = tf.summary.create_file_writer(log_dir)
    progress = Progress(label, recipe.epochs, position.epoch)
    rates = learning_rate(recipe)
    images = epoch_images(recipe, len(data))
    steps = math.ceil(images / recipe.batch_size)
    pace = _Pace(recipe.checkpoint_seconds)
    began = time.monotonic()
    history = list(position.history)

    def reached(epoch, step):
        return Position(epoch, step, position.seconds + time.monotonic() - began, history)

    for epoch in range(position.epoch, recipe.epochs):
        first = position.step if epoch == position.epoch else 0
        if first == 0:
            classifier.reset_metrics()  # else they go on from the checkpoint's
        classifier.optimizer.learning_rate = rates(epoch)
        if getattr(classifier.network, "drop_path_probability", None) is not None:
            classifier.network.drop_path_probability.assign(recipe.drop_path * epoch / recipe.epochs)
        batches = dataset.batches(
            data,
            recipe.batch_size,
            seed=seed,
            epoch=epoch,
            start_step=first,
            augment=dataset.Augmentation.of(recipe),
            one_hot=True,
            sample=images,
        )
        iterator = iter(strategy.experimental_distribute_dataset(batches))
        epoch_began = time.monotonic()
        for step in range(first, steps):
            figures = classifier.train_function(iterator)
            progress.step(step + 1, steps, figures["loss"])
            if step + 1 < steps and pace.due():
                _require_finite(figures, epoch)
                with pace.saving():
                    _save(classifier, checkpoint_dir, reached(epoch, step + 1), epoch * steps + step + 1)
        figures = {name: float(value) for name, value in figures.items()}
        _require_finite(figures, epoch)
        figures["learning_rate"] = rates(epoch)
        history.append({"epoch": epoch, **figures})
        with writer.as_default(step=epoch):
            for name, value in figures.items():
                tf.summary.scalar(f"train/{name}", value)
        seen = min((steps - first) * recipe.batch_size, images)
        progress.epoch(epoch, **figures, images=f"{seen / (time.monotonic() - epoch_began):,.0f}/s")
        if pace.due():
            with pace.saving():
                _save(classifier, checkpoint_dir, reached(epoch + 1, 0), (epoch + 1) * steps)
    writer.close()
    classifier.optimizer.finalize_variable_values(classifier.trainable_variables)
    return reached(recipe.epochs, 0)


def epoch_images(recipe: Train, images: int) -> int:
    """Returns the number of images of an epoch, of a data set with this number of training images."""
    return min(recipe.epoch_images or images, images)


def passes(recipe: Train, images: int) -> float:
    """Returns how many times a training by the recipe takes all images of a data set with so many of them."""
    return recipe.epochs * epoch_images(recipe, images) / images


class _Pace:
    """When a checkpoint is due: as soon as saving takes a twentieth of the time, or else `seconds` after the last."""

    def __init__(self, seconds: float):
        self._seconds, self._wait = seconds, 0.0
        self._saved = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._saved > self._wait

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._wait = min(self._seconds, 20 * (self._saved - began))


def _require_finite(figures: Mapping[str, Any], epoch: int) -> None:
    # The mean over the epoch so far, so that no earlier step's loss is overlooked.
    loss = float(figures["loss"])
    if not math.isfinite(loss):
        raise ValueError(
            f"The training loss is {loss} in epoch {epoch + 1}. Lower config.train.learning_rate, set "
            "config.train.gradient_clip, or train in float32 (config.train.mixed_precision='')."
        )


def state(classifier: Classifier) -> list[keras.Variable]:
    """Returns all that a step of the training changes, of a prepared classifier."""
    # Seeds of dropout and drop path are among the classifier's variables; the epoch's running metrics are not.
    return [*classifier.variables, *classifier.metrics_variables, *classifier.optimizer.variables]


def _save(classifier: Classifier, directory: str, position: Position, step: int) -> None:
    arrays = {str(index): np.asarray(variable) for index, variable in enumerate(state(classifier))}
    checkpoint.save(directory, step, arrays, dataclasses.asdict(position))


def _restore(classifier: Classifier, directory: str) -> Position:
    found = checkpoint.latest(directory)
    if found is None:
        return Position()
    for index, variable in enumerate(state(classifier)):
        variable.assign(found.arrays[str(index)])
    return Position(**found.state)
