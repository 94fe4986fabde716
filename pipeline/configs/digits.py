"""Scikit-learn's 1,797 handwritten digits (8x8, grey), embedded: no download. A laptop's demo.

    python -m pipeline.local_runner --config=pipeline/configs/digits.py --root=runs/digits

Searches the paper's whole cell space (28 edges, 8 operations) with a small supernet. Expect a test
accuracy of 0.98 or more after a few minutes on two cores.
"""

import ml_collections

from pipeline.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the demo's settings."""
    config = base.get_config()
    config.name = "digits"

    search = config.search
    search.epochs = 25
    search.batch_size = 64
    search.cells = 3
    search.channels = 8
    search.min_learning_rate = 0.025  # annealed to 0, the last of so few epochs would leave hardly a trace
    search.pad = 1
    search.flip = False  # a mirrored digit is no digit

    train = config.train
    train.epochs = 40
    train.batch_size = 64
    train.cells = 3
    train.channels = 16
    train.learning_rate = 0.05
    train.pad = 1
    train.flip = False
    train.cutout = 0
    train.drop_path = 0.1
    train.auxiliary_weight = 0.0  # the auxiliary head needs 29x29 pixels or more

    config.evaluate.accuracy_threshold = 0.95
    return config
