"""The paper's mobile search space on ImageNet: kernels, expansions and depth of a MobileNetV2-like network.

    python -m pipeline.local_runner --config=pipeline/configs/imagenet_mobile.py --root=runs/imagenet_mobile \\
        --config.data.data_dir=DIR

Prepare ImageNet in DIR first (TFDS's data set imagenet2012; its licence forbids an automatic download). Or give a
folder of photos, --config.data.image_folder=DIR, of ImageNet or others.

The paper reports 2 GPU days of search, and 75.2 % (backbone mdenas_gpu) and 73.8 % (mdenas_cpu) top-1 accuracy. This
search is not the paper's: it scores untrained networks (docs/search.md). This project ran the recipe only at a small
scale (tests/pipeline/transfer_test.py): see README.md, "What was not run".
"""

import ml_collections

from pipeline.configs import base, imagenet_transfer


def get_config() -> ml_collections.ConfigDict:
    """Returns a search of the mobile space and the ImageNet recipe."""
    config = imagenet_transfer.get_config()
    config.name = "imagenet_mobile"
    config.architecture = ""
    config.space.name = "mobile"
    config.space.backbone = "mdenas_gpu"  # widths and strides of the released network; or mdenas_cpu
    config.data.val_fraction = 0.1

    base.search_by_spectrum(config, epochs=400)
    config.train.network = "mobile"
    base.drop_unused(config)  # the mobile space has no cells
    return config
