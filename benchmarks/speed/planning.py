"""Measures networks of several sizes and says how well a few of them predict the others (models/planning/costs.py).

    python -m benchmarks.speed.planning --pixels=32 --sizes=3x8,3x32,6x16,6x32,12x16

Prints, per size (cells x channels), the seconds measured with a random architecture and the ratio of predicted to
measured seconds: from the first size alone, as in a short budget, and from the first and the last one.
"""

import argparse

import numpy as np

from models.data import dataset
from models.planning import measure, plan
from models.planning.costs import Costs, Figures, NetworkTimes, SearchTimes, Size
from models.runtime import setup
from models.search_spaces.registry import create_space
from models.settings import Settings

_KINDS = ("start", "step", "inference", "score")
_BATCH = 64


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, default=32, help="side of the images, which are noise")
    parser.add_argument("--sizes", default="3x8,3x32,6x16,6x32,12x16", help="cells x channels, comma-separated")
    parser.add_argument("--seconds", type=float, default=5.0, help="of steps measured per size")
    parser.add_argument("--seed", type=int, default=0, help="of the architectures")
    args = parser.parse_args()
    sizes = [Size(*map(int, size.split("x"))) for size in args.sizes.split(",")]
    settings = Settings.parse(
        {"seed": args.seed, "search": {"objective": "spectrum"}, "train": {"auxiliary_weight": 0.0, "cutout": 2}}
    )
    measured = [_measure(settings, size, args.pixels, args.seconds) for size in sizes]
    print("size      " + "".join(f"{kind:>10} first  both" for kind in _KINDS))
    few = [_costs(part, args.pixels) for part in (measured[:1], [measured[0], measured[-1]])]
    for size, (network, search) in zip(sizes, measured, strict=True):
        took = (network.start, network.step, network.inference, search.epoch)
        cells = []
        for kind, seconds in zip(_KINDS, took, strict=True):
            ratios = (_predicted(costs, kind, size) / seconds for costs in few)
            cells.append(f"{seconds:>9.3f}s" + "".join(f"{ratio:>6.2f}" for ratio in ratios))
        print(f"{size.cells:>2} x {size.channels:<5}" + "".join(cells))


def _measure(settings: Settings, size: Size, pixels: int, seconds: float) -> tuple[NetworkTimes, SearchTimes]:
    """Returns the seconds of a random architecture's network and of the search, both of a size."""
    choices = {"train.cells": size.cells, "train.channels": size.channels, "train.batch_size": _BATCH}
    settings = plan.apply(choices, settings)
    setup.set_up(seed=settings.seed, deterministic=True, tuned_kernels=True)
    random = np.random.default_rng(settings.seed)
    images = dataset.ImageDataset(
        images=random.integers(0, 256, (_BATCH, pixels, pixels, 3), np.uint8),
        labels=random.integers(0, 10, _BATCH, np.int32),
        ids=np.arange(_BATCH).astype(bytes),
        class_names=tuple("0123456789"),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )
    space = create_space(settings.space)
    network = measure.network(settings, measure.random_architecture(space, settings.seed), images, seconds, 10**6)
    return network, measure.scored_search(space, settings, images)


def _costs(measured: list[tuple[NetworkTimes, SearchTimes]], pixels: int) -> Costs:
    networks, searches = zip(*measured, strict=True)
    return Costs(
        Figures(
            images=_BATCH,
            test_images=0,
            pixels=pixels**2,
            side=pixels,
            stages=False,
            load=0.0,
            networks=networks,
            searches=searches,
        )
    )


def _predicted(costs: Costs, kind: str, size: Size) -> float:
    return {
        "start": lambda: costs.start(size),
        "step": lambda: costs.step(size, _BATCH),
        "inference": lambda: costs.inference(size, _BATCH),
        "score": lambda: costs.search_epoch(size),
    }[kind]()


if __name__ == "__main__":
    main()
