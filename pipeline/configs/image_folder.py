"""Your own images on a GPU: DIR/<class>/*, or divided by hand (README.md).

    python -m pipeline.local_runner --config=pipeline/configs/image_folder.py --root=runs/mine \\
        --config.data.image_folder=DIR --config.data.image_size=32

Small enough for one GPU in an evening at 32x32; small_folder.py is for a laptop.
"""

import ml_collections

from pipeline.configs import cifar10


def get_config() -> ml_collections.ConfigDict:
    """Returns settings for a folder of images; `config.data.image_folder` must be given."""
    config = cifar10.get_config()
    config.name = "image_folder"
    config.deterministic = True  # set it to False for speed on a GPU
    config.data.name = ""
    config.data.download = False
    config.data.image_size = 32
    config.data.channels = 3  # a grey one among coloured pictures is no reason to stop; 1 for grey pictures alone
    config.baselines.names = ("majority", "cnn", "preset")
    config.evaluate.accuracy_threshold = None  # nobody knows your data but you
    return config
