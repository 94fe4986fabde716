"""Your own images on a laptop: a few thousand in DIR/<class>/*, two cores, no GPU.

    python -m pipeline.local_runner --config=pipeline/configs/small_folder.py --root=runs/mine \\
        --config.data.image_folder=DIR

The search uses the paper's cell space. Search and final training use images of 32x32 pixels.
"""

import ml_collections

from pipeline.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Returns settings for a folder of images; `config.data.image_folder` must be given."""
    config = base.get_config()
    config.name = "small_folder"
    config.data.name = ""
    config.data.image_size = 32
    config.data.channels = 3  # converts grey images to colours; set 1 if all images are grey

    base.search_by_spectrum(config, epochs=300)

    train = config.train
    train.epochs = 30
    train.batch_size = 64
    train.cells = 6
    train.channels = 16
    train.learning_rate = 0.05
    train.cutout = 8
    train.drop_path = 0.1
    train.auxiliary_weight = 0.0

    config.baselines.names = ("majority", "cnn", "preset")
    return config
