"""Measures the times from which the planner predicts, with real images and real steps on this machine."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from models import memory
from models.architectures.genotype import Genotype
from models.data import dataset
from models.planning.costs import NetworkTimes, SearchTimes, Size
from models.runtime import setup
from models.search import spectrum_tuner, tuner
from models.search_spaces.base import SearchSpace, random_path
from models.settings import Settings
from models.training import classifier

_STEPS = 3  # the smallest number of steps of a measurement
_SCORES = 8  # scores of a measurement: of random architectures, whose times differ
# What an image of a batch needs is below a tenth of the bound (models/memory.py; docs/performance.md): half as much
# again is kept free.
_GENEROUS = 6


class Stopwatch:
    """Counts seconds."""

    def __init__(self):
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Returns the seconds since the stopwatch was made."""
        return time.monotonic() - self._began

    def lap(self) -> float:
        """Returns the seconds since the last call of this method, or since the stopwatch was made; starts anew."""
        now, began = time.monotonic(), self._began
        self._began = now
        return now - began


def random_architecture(space: SearchSpace, seed: int) -> Genotype:
    """Returns the architecture that is derived from a random distribution."""
    generator = np.random.default_rng(seed)
    return space.derive({choice.name: generator.random(len(choice.operations)).tolist() for choice in space.choices})


def network(
    settings: Settings, architecture: Genotype, data: dataset.ImageDataset, seconds: float, most_steps: int
) -> NetworkTimes:
    """Measures the training and the inference of a network.

    Args:
        settings: All settings; `config.train` contains the size, the batch and the recipe.
        architecture: The architecture.
        data: Training images.
        seconds: The time for measuring steps; at least three steps are measured.
        most_steps: The largest number of measured steps.
    """
    recipe, shape, classes = settings.train, data.image_shape, len(data.class_names)
    watch = Stopwatch()
    strategy = setup.strategy()
    with strategy.scope():
        built = classifier.build_network(settings, architecture, shape, classes)
        trained = classifier.Classifier(built, recipe.auxiliary_weight)
        classifier.compile_classifier(trained, recipe)
    classifier.prepare(trained, shape, classes)
    batches = dataset.batches(
        data,
        recipe.batch_size,
        seed=settings.seed,
        epoch=0,
        augment=dataset.Augmentation.of(recipe),
        one_hot=True,
    )
    iterator = iter(strategy.experimental_distribute_dataset(batches.repeat()))
    images, _ = next(iter(batches))

    def step():
        float(trained.train_function(iterator)["loss"])

    step()
    start = watch.lap()
    step()  # not measured, because it also allocates buffers
    counted = _mean(step, seconds, most_steps)
    watch.lap()
    inference = tf.function(lambda batch: built(batch, training=False), autograph=False)
    inference(images)
    inference_start = watch.lap()
    inferred = _mean(lambda: inference(images).numpy(), seconds / 4, most_steps)
    return NetworkTimes(
        cells=recipe.cells,
        channels=recipe.channels,
        weights=len(built.trainable_variables),
        batch=len(images),
        start=start,
        step=counted,
        inference_start=inference_start,
        inference=inferred,
    )


def _mean(work: Callable[[], object], seconds: float, most: int, least: int = _STEPS) -> float:
    """Returns the mean seconds of some work that is repeated."""
    watch, count = Stopwatch(), 0
    while count < least or (watch.seconds() < seconds and count < most):
        work()
        count += 1
    return watch.seconds() / count


def scored_search(space: SearchSpace, settings: Settings, data: dataset.ImageDataset) -> SearchTimes:
    """Measures a search by scores at the size of the final network.

    Args:
        space: The search space.
        settings: All settings.
        data: Training images.
    """
    watch = Stopwatch()
    score = spectrum_tuner.build_score(space, settings.search, settings.train, data, settings.seed)
    generator = np.random.default_rng(settings.seed)
    numbers = iter(range(10**6))

    def evaluate():
        score.entropies(random_path(space, generator), next(numbers))

    with spectrum_tuner.memory_explained():
        evaluate()  # part of the start, because it also does the work that all evaluations share
        start = watch.seconds()
        epoch = _mean(evaluate, 0, _SCORES, _SCORES)
    return SearchTimes(settings.train.cells, settings.train.channels, start, epoch)


def trained_search(
    space: SearchSpace, settings: Settings, train: dataset.ImageDataset, val: dataset.ImageDataset
) -> SearchTimes:
    """Measures a search on shared weights: a few steps of one path, from which the seconds of an epoch are computed.

    Args:
        space: The search space.
        settings: All settings.
        train: Images on which the shared weights are trained.
        val: Images on which sampled architectures are validated.
    """
    search = settings.search
    watch = Stopwatch()
    with setup.strategy().scope():
        trainer = tuner.path_trainer(space, search, train.image_shape, len(train.class_names))
    start = watch.lap()
    generator = np.random.default_rng(settings.seed)
    path = {choice.name: str(generator.choice(choice.operations)) for choice in space.choices}
    augment = dataset.Augmentation.of(search)
    training = dataset.batches(train, search.batch_size, seed=settings.seed, epoch=0, augment=augment)
    norm = dataset.batches(train, search.batch_size, seed=settings.seed, sample=search.norm_images)
    validation = dataset.batches(val, search.batch_size)

    def both():
        trainer.train_epoch(path, training.take(1), search.learning_rate)
        middle = watch.lap()
        trainer.evaluate(path, validation.take(1), norm.take(1))
        return middle, watch.lap()

    watch.lap()
    traced, (step, validated) = both(), both()
    epoch = sum(traced) - step - validated + len(training) * step + (len(validation) + len(norm)) * validated / 2
    return SearchTimes(settings.train.cells, settings.train.channels, start, epoch)


def fitting(space: SearchSpace, settings: Settings, data: dataset.ImageDataset, candidates: list[Size]) -> list[Size]:
    """Returns the sizes whose training fits into the available memory.

    Args:
        space: The search space.
        settings: All settings, with the batch of the training.
        data: Training images.
        candidates: The sizes.
    """
    room = _room()
    if room is None:
        return candidates
    held = memory.decoded_bytes(len(data), data.image_shape, settings.data.cache_mb)
    found = []
    for size in candidates:
        train = settings.train.model_copy(update=dataclasses.asdict(size))
        bound = memory.most(space, train, data.image_shape)
        if bound is None:
            return candidates
        need = held + bound.fixed + bound.per_image * settings.train.batch_size / _GENEROUS
        if need <= room * (1 - memory.RESERVE):
            found.append(size)
    return found


def _room() -> float | None:
    """Returns the bytes available for a training: the memory of the GPU, or without a GPU the limit of the process."""
    if tf.config.list_physical_devices("GPU"):
        from tensorflow.python.client import device_lib

        return next(float(d.memory_limit) for d in device_lib.list_local_devices() if d.device_type == "GPU")
    there = memory.limit()
    return there and there.bytes
