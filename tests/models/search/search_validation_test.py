"""Validation of a path: the same figures whatever the order, the batch size and the neighbours of an image."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.data.dataset import ImageDataset, batches
from models.networks import batch_statistics
from models.search import tuner
from models.settings import Search
from tests.support.spaces import make_space

CLASSES, SIDE = 4, 8
BACKBONE = {"stem": 8, "stem_stride": 1, "blocks": [[8, 1], [12, 2], [12, 1]], "head": 16}
SPACES = {
    "cell": ({"name": "cell"}, {"channels": 4, "cells": 3}),
    "mobile": ({"name": "mobile", "backbone": BACKBONE}, {}),
    "nasbench201": ({"name": "nasbench201"}, {"channels": 4, "cells": 1}),
}
SEARCH = {
    "batch_size": 16,
    "norm_images": 64,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "gradient_clip": 5.0,
    "traced_architectures": 4,
    "xla": False,
    "channels": 4,
    "cells": 3,
}


def class_sorted(per_class, seed):
    """Images whose ids sort them by class, as an image folder's do: a class is a pattern under noise."""
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(99).integers(60, 196, (CLASSES, SIDE, SIDE, 3))
    labels = np.repeat(np.arange(CLASSES), per_class).astype(np.int32)
    images = np.clip(patterns[labels] + rng.normal(0, 40, (len(labels), SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    ids = np.array([f"train/{label}/{number:04}.png".encode() for number, label in enumerate(labels)])
    return ImageDataset(images, labels, ids, tuple("abcd"), (0.5,) * 3, (0.25,) * 3)


def permuted(dataset, seed):
    order = np.random.default_rng(seed).permutation(len(dataset))
    return ImageDataset(
        dataset.images[order], dataset.labels[order], dataset.ids, dataset.class_names, dataset.mean, dataset.std
    )


@pytest.fixture(scope="module", params=SPACES)
def trained(request):
    """A path that was trained for some epochs, and its trainer."""
    keras.utils.set_random_seed(0)
    name, options = SPACES[request.param]
    space = make_space(name)
    trainer = tuner.path_trainer(space, Search.parse({**SEARCH, **options}), (SIDE, SIDE, 3), CLASSES)
    path = {
        choice.name: choice.operations[number % 7 % len(choice.operations)]
        for number, choice in enumerate(space.choices)
    }
    train = class_sorted(40, seed=1)
    for epoch in range(8):
        trainer.train_epoch(path, batches(train, 16, seed=0, epoch=epoch), 0.1)
    return trainer, path, train


def validated(trained, val, **search):
    trainer, path, train = trained
    return tuner.validate_path(trainer, path, val, train, Search.parse({**SEARCH, **search}), seed=0)


def test_what_was_learned_shows_on_images_sorted_by_class(trained):
    figures = validated(trained, class_sorted(30, seed=2))
    assert figures["accuracy"] > 0.75  # batches of one class, by their own statistics: near chance, 0.25


@pytest.mark.parametrize("batch_size", [7, 16, 120])
def test_neither_the_order_nor_the_size_of_batches_changes_the_figures(trained, batch_size):
    trainer, path, train = trained
    val = class_sorted(30, seed=2)
    norm_batches = batches(train, 16, sample=64)
    sorted_by_class = trainer.evaluate(path, batches(val, 16), norm_batches)
    others = trainer.evaluate(path, batches(permuted(val, seed=3), batch_size), norm_batches)
    assert others["accuracy"] == sorted_by_class["accuracy"]
    assert others["loss"] == pytest.approx(sorted_by_class["loss"], rel=1e-5)


def test_an_image_gets_the_same_logits_alone_and_beside_others(trained):
    trainer, path, train = trained
    images, _ = next(iter(batches(class_sorted(8, seed=2), 32)))
    recorded = []
    for batch, _ in batches(train, 16, sample=64):
        with batch_statistics.recorded() as statistics:
            trainer.supernet(batch, path=path)
        recorded.append(statistics)
    pooled = batch_statistics.pooled(recorded)

    def logits(batch):
        with batch_statistics.fixed(pooled):
            return trainer.supernet(batch, path=path).numpy()

    together = logits(images)
    alone = np.concatenate([logits(images[number : number + 1]) for number in range(len(images))])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-5 * np.abs(together).max())


def test_statistics_are_those_of_all_images_in_the_first_layer():
    images = tf.constant(np.random.default_rng(0).normal(3, 2, (48, 4, 4, 2)), tf.float32)
    from models.networks.layers import BatchNorm

    norm = BatchNorm(affine=False, moving=False)
    recorded = []
    for part in tf.split(images, 3):
        with batch_statistics.recorded() as statistics:
            norm(part)
        recorded.append(statistics)
    ((mean, variance),) = batch_statistics.pooled(recorded)
    np.testing.assert_allclose(mean, images.numpy().mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, images.numpy().var((0, 1, 2)), rtol=1e-5)


def test_a_sample_is_mixed_and_the_same_for_the_same_seed():
    dataset = class_sorted(40, seed=1)
    one, again, other = (
        np.concatenate([labels for _, labels in batches(dataset, 16, seed=seed, sample=64)]) for seed in (0, 0, 1)
    )
    assert len(one) == 64 and set(one[:16]) == set(range(CLASSES))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert sum(len(labels) for _, labels in batches(dataset, 16, sample=1000)) == len(dataset)


def test_no_images_for_statistics_is_an_error(trained):
    trainer, path, train = trained
    with pytest.raises(ValueError, match="no batch to take batch norm statistics from"):
        trainer.evaluate(path, batches(train, 16), [])
