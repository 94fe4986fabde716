"""Published architectures, as data: where each comes from and what its network must count.

>>> from models.architectures.presets import PRESETS
>>> print(PRESETS["mdenas_cifar10"].genotype.text())
"""

import os
from dataclasses import dataclass
from types import MappingProxyType

from models.architectures import checks
from models.architectures.cell import CellGenotype
from models.architectures.genotype import Genotype, load_genotype
from models.architectures.mobile import Backbone, MobileGenotype

NETWORK_DEFAULTS = MappingProxyType(
    {
        "cifar": {"channels": 36, "cells": 20, "classes": 10, "image_size": 32},
        "imagenet": {"channels": 48, "cells": 14, "classes": 1000, "image_size": 224},
        "mobile": {"classes": 1000, "image_size": 224},
        "nasbench201": {"channels": 16, "cells": 5, "classes": 10, "image_size": 32},
    }
)
"""For each kind of network the sizes that the paper's final trainings use; NAS-Bench-201: those of the benchmark."""


@dataclass(frozen=True)
class Preset:
    """A published architecture in the network it was published with, at its `NETWORK_DEFAULTS`.

    Args:
        name: the preset's name.
        genotype: the architecture.
        network: "cifar", "imagenet" or "mobile".
        source: where the architecture was published.
        params: trainable parameters without the auxiliary head.
        macs: multiply-adds of convolutions and linear layers, forward, one image.
        params_with_auxiliary: trainable parameters with the auxiliary head, where known.
    """

    name: str
    genotype: Genotype
    network: str
    source: str
    params: int
    macs: int
    params_with_auxiliary: int | None = None


_MDENAS_CELL = CellGenotype(
    normal=(
        (("sep_conv_5x5", 1), ("sep_conv_3x3", 0)),
        (("skip_connect", 0), ("sep_conv_5x5", 1)),
        (("sep_conv_5x5", 3), ("sep_conv_3x3", 1)),
        (("dil_conv_5x5", 3), ("max_pool_3x3", 4)),
    ),
    normal_concat=(2, 3, 4, 5),
    reduce=(
        (("max_pool_3x3", 0), ("sep_conv_5x5", 1)),
        (("skip_connect", 0), ("skip_connect", 1)),
        (("sep_conv_3x3", 3), ("skip_connect", 2)),
        (("dil_conv_3x3", 3), ("sep_conv_5x5", 0)),
    ),
    reduce_concat=(2, 3, 4, 5),
)
_DARTS_V2_CELL = CellGenotype(
    normal=(
        (("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        (("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        (("sep_conv_3x3", 1), ("skip_connect", 0)),
        (("skip_connect", 0), ("dil_conv_3x3", 2)),
    ),
    normal_concat=(2, 3, 4, 5),
    reduce=(
        (("max_pool_3x3", 0), ("max_pool_3x3", 1)),
        (("skip_connect", 2), ("max_pool_3x3", 1)),
        (("max_pool_3x3", 0), ("skip_connect", 2)),
        (("skip_connect", 2), ("max_pool_3x3", 1)),
    ),
    reduce_concat=(2, 3, 4, 5),
)
_MDENAS_PAPER = "MdeNAS (arXiv 1905.07529)"
PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="mdenas_cifar10",
            genotype=_MDENAS_CELL,
            network="cifar",
            source=f"{_MDENAS_PAPER}, the cell of the released code",
            params=3_786_742,
            macs=599_110_272,
            params_with_auxiliary=4_263_168,
        ),
        Preset(
            name="mdenas_imagenet",
            genotype=_MDENAS_CELL,
            network="imagenet",
            source=f"{_MDENAS_PAPER}, the CIFAR-10 cell transferred to ImageNet",
            params=5_329_024,
            macs=595_513_536,
        ),
        Preset(
            name="mdenas_gpu",
            genotype=MobileGenotype(
                backbone=Backbone.create("mdenas_gpu"),
                blocks=(
                    *((7, 6), (5, 6), (7, 3), (3, 6), (5, 6), (3, 1), (7, 3)),
                    *((7, 6), (3, 3), (3, 6), (7, 3), (3, 3), (3, 3), (5, 6)),
                ),
            ),
            network="mobile",
            source=f"{_MDENAS_PAPER}, reported for GPU latency, released network",
            params=5_745_984,
            macs=765_096_256,
        ),
        Preset(
            name="mdenas_cpu",
            genotype=MobileGenotype(
                backbone=Backbone.create("mdenas_cpu"),
                blocks=(
                    *((5, 3), (7, 1), (3, 6), (5, 3), (5, 3), (5, 3), (5, 1)),
                    *((5, 6), (5, 1), (5, 6), (7, 3), (5, 3), (7, 3), (7, 6)),
                    *((3, 6), (5, 3), (7, 6), (7, 1), (3, 3), (3, 3)),
                ),
            ),
            network="mobile",
            source=f"{_MDENAS_PAPER}, reported for CPU latency, released network",
            params=4_069_992,
            macs=515_539_216,
        ),
        Preset(
            name="darts_v2",
            genotype=_DARTS_V2_CELL,
            network="cifar",
            source="DARTS, second order (arXiv 1806.09055), released code",
            params=3_351_502,
            macs=528_359_040,
        ),
    )
}


def resolve_architecture(name_or_path: str) -> tuple[Genotype, str]:
    """Returns the genotype that a preset's name or a genotype file stands for.

    Args:
        name_or_path: a name of `PRESETS`, or the path of a genotype's JSON file.

    Returns:
        The genotype, and a line that says where it comes from.

    Raises:
        GenotypeError: if it is neither, or if the file holds no valid genotype.
    """
    if name_or_path in PRESETS:
        preset = PRESETS[name_or_path]
        return preset.genotype, f"preset {preset.name}: {preset.source}"
    if os.path.isfile(name_or_path):
        return load_genotype(name_or_path), f"file {name_or_path}"
    raise checks.GenotypeError(
        f"architecture: {name_or_path!r} is neither a file nor a preset; "
        f"expected a genotype's JSON file or one of {', '.join(PRESETS)}"
    )
