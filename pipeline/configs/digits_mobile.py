"""The digits demo in the mobile search space: a small chain of inverted-residual blocks for 8x8 images.

    python -m pipeline.local_runner --config=pipeline/configs/digits_mobile.py --root=runs/digits_mobile

The config shows how to define a custom backbone: `config.space.backbone` gives widths, strides and depth.
"""

import ml_collections

from pipeline.configs import base, digits


def get_config() -> ml_collections.ConfigDict:
    """Returns the demo's settings with the mobile space."""
    config = digits.get_config()
    config.name = "digits_mobile"
    config.space.name = "mobile"
    config.space.backbone = {
        "stem": 16,
        "stem_stride": 1,
        "blocks": [[16, 1], [24, 2], [24, 1], [32, 2], [32, 1]],  # channels and stride of each block
        "head": 128,
    }
    config.train.network = "mobile"
    base.drop_unused(config)  # the mobile space has no cells
    return config
