"""The paper's mobile setting: kernels, expansions and depth of a MobileNetV2-like chain, searched on ImageNet itself.

    python -m pipeline.local_runner --config=pipeline/configs/imagenet_mobile.py --root=runs/imagenet_mobile \\
        --config.data.data_dir=DIR

ImageNet has to be in TFDS's directory (data set imagenet2012; its licence forbids an automatic download). The paper
reports 2 GPU days of search, and 75.2 % (backbone mdenas_gpu) and 73.8 % (mdenas_cpu) top-1 accuracy. It gives no batch
size and no number of epochs of this search; those here are ours. Not run by us: see README.md, "What was not run".
"""

import ml_collections

from pipeline.configs import base, imagenet_transfer


def get_config() -> ml_collections.ConfigDict:
    """Returns the mobile search and the ImageNet recipe."""
    config = imagenet_transfer.get_config()
    config.name = "imagenet_mobile"
    config.architecture = ""
    config.space.name = "mobile"
    config.space.backbone = "mdenas_gpu"  # widths and strides of the released network; or mdenas_cpu
    config.data.val_fraction = 0.1

    search = config.search
    search.batch_size = 256
    search.learning_rate = 0.1
    search.weight_decay = 3e-5

    config.train.network = "mobile"
    base.drop_unused(config)  # cells have no use here
    return config
