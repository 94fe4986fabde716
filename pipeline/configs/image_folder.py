"""Your own images on a GPU, in DIR/<class>/* or in folders of splits (README.md).

    python -m pipeline.local_runner --config=pipeline/configs/image_folder.py --root=runs/mine \\
        --config.data.image_folder=DIR --config.data.image_size=32

At 32x32 pixels, the run is small enough for one GPU in an evening. For a laptop, use small_folder.py.
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
    config.data.channels = 3  # converts grey images to colours; set 1 if all images are grey
    config.baselines.names = ("majority", "cnn", "preset")
    config.evaluate.accuracy_threshold = None  # the Evaluator computes it: clearly more than always guessing one class
    return config
