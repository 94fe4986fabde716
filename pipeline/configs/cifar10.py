"""CIFAR-10 through TFDS, small enough for one GPU in an evening.

    python -m pipeline.local_runner --config=pipeline/configs/cifar10.py --root=runs/cifar10

The paper's search as it is, and a final training that is shorter and smaller than the paper's. Not
run by us in full: see README.md, "What was not run".
"""

import ml_collections

from pipeline.configs import cifar10_paper


def get_config() -> ml_collections.ConfigDict:
    """Returns the paper's search with a final training of 100 epochs of a 14-cell network."""
    config = cifar10_paper.get_config()
    config.name = "cifar10"
    config.deterministic = False  # costs speed on a GPU
    train = config.train
    train.epochs = 100
    train.cells = 14
    train.channels = 24
    train.drop_path = 0.2
    config.evaluate.accuracy_threshold = 0.90
    return config
