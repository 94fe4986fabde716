"""ImageNet without a search: trains a network of a cell that was found on other images.

    python -m pipeline.local_runner --config=pipeline/configs/imagenet_transfer.py --root=runs/imagenet_transfer \\
        --config.data.data_dir=DIR

Prepare ImageNet in DIR first (TFDS's data set imagenet2012; its licence forbids an automatic download). Or give a
folder of photos, --config.data.image_folder=DIR, of ImageNet or others.

The cell is the published one, which the paper found on CIFAR-10, or one that this project found: give a genotype of
another run, --config.architecture=runs/cifar10/artifacts/ArchitectureDeriver/genotype/7/genotype.json. The new run's
lineage then begins with the genotype of the other one.

The paper reports 74.5 % top-1 and 92.1 % top-5 accuracy for the published cell. This project ran the recipe only at a
small scale (tests/pipeline/transfer_test.py): see README.md, "What was not run".
"""

import ml_collections

from pipeline.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the recipe of the paper's transfer to ImageNet."""
    config = base.get_config()
    config.name = "imagenet_transfer"
    config.deterministic = False  # costs speed on a GPU
    config.architecture = "mdenas_imagenet"

    data = config.data
    data.name = "imagenet2012"
    data.image_size = 224  # paper
    data.cache_mb = 0  # a million images do not fit
    data.val_fraction = 0.01  # without a search, val only adds training images

    train = config.train
    train.network = "imagenet"
    train.cells = 14  # paper
    train.channels = 48  # paper
    train.epochs = 250  # paper
    train.batch_size = 512  # paper
    train.learning_rate = 0.1  # paper
    train.schedule = "exponential"
    train.decay_rate = 0.97  # paper, per epoch
    train.weight_decay = 3e-5  # paper
    train.label_smoothing = 0.1  # paper
    train.cutout = 0
    train.drop_path = 0.0
    train.dropout = 0.0
    train.pad = 0
    train.crop_area = 0.08  # DARTS, whose recipe the paper follows
    train.jitter = 0.4  # DARTS
    return config
