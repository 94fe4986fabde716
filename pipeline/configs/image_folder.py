"""Your own images: in DIR/<class>/, or in DIR/train/<class>/ and DIR/test/<class>/.

    python -m pipeline.local_runner --config=pipeline/configs/image_folder.py --root=runs/mine \\
        --config.data.image_folder=DIR --config.data.image_size=32

Small enough for one GPU in an evening at 32x32; turn epochs, cells and channels down for a laptop.
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
    config.evaluate.accuracy_threshold = 0.0  # nobody knows your data but you
    return config
