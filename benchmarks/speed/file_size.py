"""Fits the size of an exported SavedModel, which models/costs/networks.py estimates.

    python -m benchmarks.speed.file_size

Random architectures of each space are exported, untrained, at several sizes. The size of the files is a sum: bytes for
the signatures, for each layer, for each variable, and for each number of the variables. These four are fitted by least
squares with numbers of 0 or more. The table shows the measured and the fitted size of each model. Takes about 5 minutes
on a core.
"""

import math
import os
import tempfile

import numpy as np
from scipy import optimize

from models import export
from models.data.image_format import ImageFormat
from models.search_spaces.base import random_path
from models.search_spaces.registry import create_space, network_options
from models.settings import Settings

_RUNS = [
    ("cell", {"network": "cifar", "cells": cells, "channels": channels, "auxiliary_weight": 0.0}, 32)
    for cells, channels in ((3, 8), (6, 16), (8, 36), (14, 16))
]
_RUNS += [("mobile", {"network": "mobile"}, 64)] * 2
_RUNS += [
    ("nasbench201", {"network": "nasbench201", "cells": cells, "channels": channels}, 32)
    for cells, channels in ((1, 8), (2, 16), (5, 16), (3, 32))
]


def main() -> None:
    """Exports the models, fits, and prints the table."""
    rows = [_measured(number, *run) for number, run in enumerate(_RUNS)]
    features = np.array([row[1:5] for row in rows], float)
    sizes = np.array([row[5] for row in rows], float)
    # Relative errors count, so that small models are fitted as well as large ones.
    fitted, _ = optimize.nnls(features / sizes[:, np.newaxis], np.ones(len(sizes)))
    print("bytes of signatures, a layer, a variable, a number:", *(round(value, 2) for value in fitted))
    print("| model | layers | variables | measured MB | fitted MB | error |\n|---|---|---|---|---|---|")
    for (name, _, layers, variables, _, size), found in zip(rows, features @ fitted, strict=True):
        print(f"| {name} | {layers} | {variables} | {size / 1e6:.2f} | {found / 1e6:.2f} | {found / size - 1:+.1%} |")


def _measured(number, space_name, train, side):
    """Returns name, 1, layers, variables, numbers, and bytes of the exported files of a random network."""
    settings = Settings.parse({"space": {"name": space_name}, "train": train})
    space = create_space(settings.space)
    path = random_path(space, np.random.default_rng(number))
    genotype = space.derive(
        {choice.name: [float(name == path[choice.name]) for name in choice.operations] for choice in space.choices}
    )
    network = space.network(genotype, (side, side, 3), 10, **network_options(space, settings.train))
    with tempfile.TemporaryDirectory() as folder:
        export.export_model(
            network,
            folder,
            image_format=ImageFormat((side, side, 3)),
            class_names=[str(label) for label in range(10)],
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
        )
        size = sum(os.path.getsize(os.path.join(base, file)) for base, _, files in os.walk(folder) for file in files)
    numbers = sum(math.prod(weight.shape) for weight in network.weights)
    name = f"{space_name} {train.get('cells', '')} {train.get('channels', '')}".strip()
    return name, 1, len(list(network._flatten_layers())), len(network.weights), numbers, size


if __name__ == "__main__":
    main()
