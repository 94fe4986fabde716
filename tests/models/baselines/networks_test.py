"""models/baselines: the networks of the baselines, and the linear classifier."""

import numpy as np
import pytest

from models.architectures.presets import PRESETS
from models.baselines import linear_head, networks
from models.networks import profiling
from models.networks.cell_network import cifar_network
from models.settings import Settings


@pytest.mark.parametrize("shape", [(28, 28, 1), (4, 4, 3)])
def test_the_plain_cnn_has_its_published_size_and_takes_the_smallest_images(shape):
    model = networks.plain_cnn(shape, 10)
    assert model.count_params() == 94_858 + 32 * 9 * (shape[2] - 1)
    assert model(np.zeros((2, *shape), np.float32)).shape == (2, 10)


def test_the_preset_gets_the_channels_whose_multiply_adds_are_nearest():
    def macs(channels):
        network = cifar_network(PRESETS["darts_v2"].genotype, (8, 8, 1), 5, channels=channels, cells=3)
        return profiling.profile(network).macs

    counted = {channels: macs(channels) for channels in (2, 4, 5, 6)}
    for channels, exact in counted.items():
        assert networks.channels_for(exact, counted.__getitem__, step=1) == channels
    between = (counted[5] + counted[6]) // 2
    assert networks.channels_for(between - 99, counted.__getitem__, step=1) == 5
    assert networks.channels_for(between + 99, counted.__getitem__, step=1) == 6
    assert networks.channels_for(counted[5], counted.__getitem__, step=2) in (4, 6)
    assert networks.channels_for(1, counted.__getitem__, step=2) == 2


def test_a_network_is_not_compared_with_itself():
    assert networks.preset(PRESETS["mdenas_cifar10"].genotype).name == "darts_v2"
    assert networks.preset(PRESETS["darts_v2"].genotype).name == "mdenas_cifar10"
    assert networks.preset(PRESETS["mdenas_gpu"].genotype).name == "mdenas_cifar10"


@pytest.mark.parametrize(
    "network, side, expected",
    [("cifar", 32, "cifar"), ("imagenet", 64, "imagenet"), ("mobile", 224, "imagenet"), ("mobile", 8, "cifar")],
)
def test_the_preset_is_a_stack_of_cells_whatever_the_final_network_is(network, side, expected):
    settings = Settings.parse({"space": {"name": "mobile"}, "train": {"network": network, "cells": 7}})
    found = networks.preset_settings(settings, side)
    assert (found.space.name, found.train.network) == ("cell", expected)
    assert found.train.cells == (7 if network == expected else 6)
    assert found.train.learning_rate == settings.train.learning_rate


def test_the_linear_classifier_is_regularised_as_is_best_on_val():
    generator = np.random.default_rng(0)

    def images(count, classes=3):
        labels = np.arange(count) % classes
        noise = generator.normal(size=(count, 40)).astype(np.float32)
        noise[:, :3] += 3 * np.eye(3, dtype=np.float32)[labels]
        noise[:, 39] = 5.0  # says nothing, and does not vary
        return noise, labels.astype(np.int32)

    train, val, (test, labels) = images(60), images(60), images(600)
    chosen = linear_head.train_head(train, val, 4)  # of the fourth class there is no image
    assert chosen.strength >= 0.01  # 40 features of 60 images ask for a strong one
    head = linear_head.train_again(train, val, 4, chosen.strength)
    assert np.mean(head.scores(test).argmax(axis=1) == labels) > 0.85
    np.testing.assert_array_equal(
        head.scores(test), linear_head.train_again(train, val, 4, chosen.strength).scores(test)
    )


def test_only_the_second_linear_classifier_sees_val(monkeypatch):
    rows, fit = [], linear_head._fit
    monkeypatch.setattr(linear_head, "_fit", lambda *arguments: (rows.append(len(arguments[0])), fit(*arguments))[1])
    features = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    train, val = (features[:20], np.arange(20) % 2), (features[20:], np.arange(10) % 2)
    linear_head.train_head(train, val, 2)
    assert set(rows) == {20}
    rows.clear()
    linear_head.train_again(train, val, 2, 0.1)
    assert rows == [30]
