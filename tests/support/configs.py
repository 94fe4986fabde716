"""Configs for tests."""

# Settings of a small search on the digits.
DIGITS = {"batch_size": 64, "cells": 3, "channels": 8}


def trained(config, **search):
    """Returns the config of a module of pipeline/configs, changed so that its search trains on shared weights.

    Args:
        config: The module.
        search: Values of `config.search` by name.
    """
    config = config.get_config()
    config.search.update({"objective": "val_accuracy", **search})
    return config
