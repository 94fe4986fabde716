"""Checks before a run whether the budget and the front of the derivation are possible (docs/costs.md)."""

from collections.abc import Iterator

from models.oracle.values import shown
from models.planning import rules
from models.search_spaces.base import SearchSpace
from models.settings import Settings

_SIZES = ("train.cells", "train.channels")


def problems(settings: Settings, space: SearchSpace, smallest_side: int) -> Iterator[str]:
    """Yields a sentence for each problem.

    Costs are exact if the size of the images and the number of classes are known before the run. Otherwise the budget
    is compared with the smallest possible network, and the deriver checks the real one after the search.

    Args:
        settings: All settings, each valid by itself.
        space: The search space.
        smallest_side: The smallest side of an image, in pixels, that the final network accepts.
    """
    # These imports load TensorFlow.
    from models.costs.latency_table import LatencyTable, unfit
    from models.costs.networks import network_costs
    from models.costs.sites import SPACES
    from models.search.budgeted import BudgetError, require_possible
    from models.search.shape import Shape

    derive, limits = settings.derive, settings.derive.budget.limits
    setting = "config.derive.budget" if limits else "config.derive.front"
    if space.name not in SPACES:
        yield f"{setting}: the costs of the {space.name} space are not known; expected one of {', '.join(SPACES)}."
        return
    if "latency_ms" in limits and not derive.latency_table:
        yield (
            f"config.derive.budget.latency_ms: found {shown(limits['latency_ms'])}; expected None, because the run has "
            "no latency table. Measure one on this device (--config.derive.latency_table=measure), give the file of "
            "another device's table, or limit multiply-adds (config.derive.budget.macs)."
        )
    if derive.latency_table and settings.train.mixed_precision:
        yield (
            f"config.derive.latency_table: found {derive.latency_table!r} with config.train.mixed_precision="
            f"{settings.train.mixed_precision!r}; expected config.train.mixed_precision='' with a latency table: the "
            "table is of float32 networks, but the exported network computes in half precision."
        )
    if limits and derive.source == "best":
        yield (
            "config.derive.source: found 'best'; expected 'argmax' with config.derive.budget: the best evaluated "
            "architecture need not be within the budget."
        )
    planned = [name for name in _SIZES if name not in rules.fixed(settings)] if settings.budget.minutes else []
    if planned:
        yield (
            f"{setting}: found with config.budget.minutes, whose plan chooses {' and '.join(planned)}; expected a "
            f"network of a given size. Give it: {' '.join(f'--config.{name}=N' for name in planned)}."
        )
    known = _known_images(settings)
    table = None
    if derive.latency_table and not derive.measures_latency:
        try:
            table = LatencyTable.load(derive.latency_table, "config.derive.latency_table")
        except ValueError as error:
            yield str(error)
        else:
            wrong = unfit(table, derive.latency_table, space, settings.train, known)
            if wrong:
                yield wrong
                table = None
    if derive.max_skip_connections is None and not limits:
        return
    shape, classes = known or _smallest_images(settings, smallest_side)
    costs = {cost.name: cost for cost in network_costs(space, settings.train, shape, classes)}
    if table:
        costs["latency_ms"] = table.cost()
    try:
        require_possible(
            Shape.of(space, derive.max_skip_connections),
            costs,
            {name: limit for name, limit in limits.items() if name in costs},
        )
    except BudgetError as error:
        yield str(error)


def _known_images(settings: Settings) -> tuple[tuple[int, int, int], int] | None:
    """Returns the shape of an image and the number of classes; None if they are not known before the run."""
    from models.data.dataset_info import DataError
    from pipeline import memory_plan

    try:
        known = memory_plan.images_of(settings.data)
    except (DataError, OSError):
        return None  # reported before the run starts
    return (known["shape"], known["classes"]) if known else None


def _smallest_images(settings: Settings, smallest_side: int) -> tuple[tuple[int, int, int], int]:
    side = settings.data.image_size or smallest_side
    return (side, side, settings.data.channels or 1), 2
