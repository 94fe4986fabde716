"""Figures of machines that do not exist, for the planner."""

import dataclasses

from models.planning.costs import Costs, Figures, NetworkTimes, SearchTimes, Size

SMALL, LARGE = Size(3, 8), Size(6, 32)


def figures(slow: float = 1.0, sizes=(SMALL,), **changes) -> Figures:
    """Returns the figures of a machine that is so many times slower than the usual one.

    Args:
        slow: The factor.
        sizes: The sizes that were measured.
        changes: Fields of the figures with another value.
    """
    found = Figures(
        images=2000,
        test_images=500,
        pixels=1024,
        side=32,
        stages=False,
        load=0.5,
        networks=(),
        searches=(SearchTimes(cells=3, channels=8, start=2.0 * slow, epoch=0.35 * slow),),
        reference=60,
    )
    usual = Costs(found)
    networks = tuple(
        NetworkTimes(
            cells=size.cells,
            channels=size.channels,
            weights=40 * size.cells,
            batch=64,
            start=1.8 * size.cells * slow,
            step=usual.step(size, 64),
            inference_start=0.2 * size.cells * slow,
            inference=usual.step(size, 64) / 5,
        )
        for size in sizes
    )
    return dataclasses.replace(found, **{"networks": networks, **changes})
