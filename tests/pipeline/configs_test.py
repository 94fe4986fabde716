"""pipeline/configs: the values that a config promises."""

from models.runtime.section import leaves
from models.settings import Settings
from pipeline.configs import base, cifar10_paper

# The paper's experiment on CIFAR-10. Where the paper gives no value: its later code, or the released script.
PAPER = {
    "architecture": "",
    "data.name": "cifar10",
    "data.val_fraction": 0.5,
    "space.name": "cell",
    "space.operations": (
        "max_pool_3x3",
        "avg_pool_3x3",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
        "none",
    ),
    "search.objective": "val_accuracy",
    "search.epochs": 100,
    "search.batch_size": 512,
    "search.cells": 6,
    "search.channels": 16,
    "search.learning_rate": 0.025,
    "search.min_learning_rate": 0.0,
    "search.momentum": 0.9,
    "search.weight_decay": 0.0003,
    "search.gradient_clip": 5.0,
    "search.pad": 4,
    "search.flip": True,
    "search.cutout": 0,
    "search.mixed_precision": "",
    "oracle.rule": "paper",
    "oracle.warmup_rounds": 0,
    "oracle.paper.alpha": 0.01,
    "oracle.paper.projection": "clip",
    "oracle.paper.accuracy": "latest",
    "derive.source": "argmax",
    "derive.max_skip_connections": None,
    "train.network": "cifar",
    "train.epochs": 600,
    "train.batch_size": 96,
    "train.cells": 20,
    "train.channels": 36,
    "train.momentum": 0.9,
    "train.learning_rate": 0.025,
    "train.schedule": "cosine",
    "train.warmup_epochs": 0,
    "train.weight_decay": 0.0003,
    "train.decay_batch_norm": False,
    "train.gradient_clip": 5.0,
    "train.label_smoothing": 0.0,
    "train.pad": 4,
    "train.flip": True,
    "train.cutout": 16,
    "train.drop_path": 0.3,
    "train.auxiliary_weight": 0.4,
    "train.dropout": 0.2,
    "train.ema": 0.0,
    "train.mixed_precision": "",
}


def values(config):
    return {key: value for key, value, _ in leaves(Settings.parse(config)) if key in PAPER}


def other(value):
    """Returns a value of the same type that differs."""
    if isinstance(value, bool):
        return not value
    return value + "x" if isinstance(value, str) else (*value, "x") if isinstance(value, tuple) else (value or 0) + 1


def test_the_papers_config_has_the_papers_values():
    assert values(cifar10_paper.get_config()) == PAPER


def test_the_papers_config_keeps_them_if_the_defaults_change(monkeypatch):
    changed = base.get_config()
    defaults = {key: value for key, value, _ in leaves(Settings()) if key in PAPER}
    changed.update_from_flattened_dict({key: other(value) for key, value in defaults.items()})
    monkeypatch.setattr(base, "get_config", lambda: changed)
    assert values(cifar10_paper.get_config()) == PAPER
