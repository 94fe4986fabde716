"""The demo, for a laptop: scikit-learn's 1,797 handwritten digits (8x8, grey). Nothing is downloaded.

    python -m pipeline.local_runner --config=pipeline/configs/digits.py --root=runs/digits

The search uses the paper's whole cell space (28 edges, 8 operations). Expect a test accuracy of 0.98 or more after a
few minutes on two cores.
"""

import ml_collections

from pipeline.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the demo's settings."""
    config = base.get_config()
    config.name = "digits"

    base.search_by_spectrum(config, epochs=200)

    train = config.train
    train.epochs = 40
    train.batch_size = 64
    train.cells = 3
    train.channels = 16
    train.learning_rate = 0.05
    train.pad = 1
    train.flip = False  # a mirrored digit is no digit
    train.cutout = 0
    train.drop_path = 0.1
    train.auxiliary_weight = 0.0  # the auxiliary head needs 29x29 pixels or more

    config.baselines.names = ("majority", "cnn", "preset")
    config.evaluate.accuracy_threshold = 0.95
    return config
