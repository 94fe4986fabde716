"""What the benchmarks of the supernet compute: random architectures, on images of CIFAR-10's size."""

import numpy as np

from models.search_spaces import cell

IMAGE_SHAPE = (32, 32, 3)


def sample_paths(count, seed):
    """Random architectures of the cell space."""
    random = np.random.default_rng(seed)
    return [
        {choice.name: str(random.choice(choice.operations)) for choice in cell.create().choices} for _ in range(count)
    ]
