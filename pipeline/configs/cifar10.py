"""CIFAR-10 through TFDS, small enough for one GPU in an evening.

    python -m pipeline.local_runner --config=pipeline/configs/cifar10.py --root=runs/cifar10

The search scores untrained networks (docs/search.md). The final training is shorter and smaller than the paper's.
This project did not run the config in full: see README.md, "What was not run".
"""

import ml_collections

from pipeline.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Returns a search by spectral scores, and a final training of 100 epochs of a 14-cell network."""
    config = base.get_config()
    config.name = "cifar10"
    config.deterministic = False  # costs speed on a GPU
    config.data.name = "cifar10"
    config.data.download = True
    base.search_by_spectrum(config, epochs=400)
    train = config.train
    train.epochs = 100
    train.cells = 14
    train.channels = 24
    train.drop_path = 0.2
    config.evaluate.accuracy_threshold = 0.90
    return config
