"""The networks of the baselines: a plain CNN, and a published cell with the multiply-adds of the final network."""

import math
from collections.abc import Callable

import keras

from models.architectures.genotype import Genotype
from models.architectures.presets import PRESETS, Preset
from models.settings import Settings, Space, Train
from models.training.classifier import Classifier, build_network, compile_classifier
from models.training.distillation import Distillation

_FILTERS = (32, 64, 128)
_LEARNING_RATE = 1e-3  # Adam's default
_BATCH = 64
_OTHER_CELLS = 6  # cells of the preset if the final network is not a stack of cells
_LARGE = 96  # smallest side in pixels of images for which the network for large images is used


def plain_cnn(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Returns a plain network: three convolutions with batch norm and max pooling, and a dense layer.

    For 10 classes of grey images the network has 94,858 weights.

    Args:
        image_shape: Height, width, channels.
        classes: Number of classes; the network returns their logits.
    """
    layers = keras.layers
    model = keras.Sequential([keras.Input(image_shape)])
    for filters in _FILTERS:
        model.add(layers.Conv2D(filters, 3, padding="same"))
        model.add(layers.BatchNormalization())
        model.add(layers.Activation("relu"))
        model.add(layers.MaxPooling2D(padding="same"))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(classes, dtype="float32"))
    return model


def cnn_recipe(train: Train, teacher: bool) -> Train:
    """Returns the recipe of the plain CNN: batches of 64, a constant learning rate, and the crops and flips of `train`.

    The crops and flips of `train` are the changes of an image that do not change its class in this data set.

    Args:
        train: The recipe of the final training.
        teacher: Whether the CNN learns from the teacher.
    """
    return train.model_copy(
        update={
            "batch_size": _BATCH,
            "learning_rate": _LEARNING_RATE,
            "schedule": "exponential",
            "decay_rate": 1.0,
            "warmup_epochs": 0,
            "cutout": 0,
            "crop_area": 1.0,
            "jitter": 0.0,
            "mixed_precision": "",
            "teacher": teacher,
        }
    )


def cnn_classifier(recipe: Train, image_shape: tuple[int, int, int], classes: int) -> Classifier:
    """Returns the plain CNN, compiled with Adam; `recipe` says whether and how it learns from a teacher."""
    classifier = Classifier(plain_cnn(image_shape, classes), 0.0, Distillation.of(recipe))
    classifier.compile(
        optimizer=keras.optimizers.Adam(_LEARNING_RATE),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=False,
    )
    return classifier


def preset(genotype: Genotype) -> Preset:
    """Returns the published cell for a final network: MdeNAS's cell, or DARTS's if the final network has MdeNAS's."""
    own = PRESETS["mdenas_cifar10"]
    return PRESETS["darts_v2"] if genotype == own.genotype else own


def preset_settings(settings: Settings, side: int) -> Settings:
    """Returns the settings of the preset's network.

    They are the settings of the final network. If the final network is not a stack of cells, its network, cells,
    auxiliary weight and drop path are replaced.

    Args:
        settings: The settings of the final training.
        side: The smaller side of the images in pixels.
    """
    train = settings.train
    if train.network not in ("cifar", "imagenet"):
        changes = {
            "network": "imagenet" if train.network == "mobile" and side >= _LARGE else "cifar",
            "cells": _OTHER_CELLS,
            "auxiliary_weight": 0.0,
            "drop_path": 0.0,
        }
        train = train.model_copy(update=changes)
    return settings.model_copy(update={"space": Space(), "train": train})


def preset_classifier(
    found: Preset, settings: Settings, channels: int, image_shape: tuple[int, int, int], classes: int
) -> Classifier:
    """Returns the preset's network, compiled with the recipe of the final training.

    Args:
        found: The preset.
        settings: The result of `preset_settings`.
        channels: Channels of a node of the first cell.
        image_shape: Height, width, channels.
        classes: Number of classes.
    """
    train = settings.train.model_copy(update={"channels": channels})
    network = build_network(settings.model_copy(update={"train": train}), found.genotype, image_shape, classes)
    classifier = Classifier(network, train.auxiliary_weight, Distillation.of(train))
    compile_classifier(classifier, train)
    return classifier


def channels_for(macs: int, macs_of: Callable[[int], int], step: int) -> int:
    """Returns the number of channels for which a stack of cells has nearly the wanted multiply-adds.

    The multiply-adds are a * channels + b * channels ** 2: stem, depthwise convolutions and head have the first term,
    the other convolutions the second one. So the multiply-adds of two networks determine a and b.

    Args:
        macs: The wanted multiply-adds.
        macs_of: Number of channels -> the multiply-adds of the network.
        step: The result is a multiple of this number, 1 or 2.
    """
    small, large = macs_of(2), macs_of(4)
    b = (large - 2 * small) / 8
    a = (small - 4 * b) / 2
    exact = (math.sqrt(a * a + 4 * b * macs) - a) / (2 * b)
    lower = max(step, step * math.floor(exact / step))
    return min((lower, lower + step), key=lambda channels: abs(a * channels + b * channels**2 - macs))
