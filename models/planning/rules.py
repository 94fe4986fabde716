"""The rules by which a plan is chosen: all constants, and the order of the decisions. Without TensorFlow.

First the batch is chosen. Then the size of the network is chosen, together with the epochs of search and training for
which this size leaves time. It is the largest network that can be trained for enough epochs. Last comes the recipe that
suits the number of epochs.
"""

import dataclasses
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from models.oracle.rules.registry import create_rule
from models.planning import plan
from models.planning.costs import Costs, Size
from models.search_spaces.registry import create_space, unused
from models.settings import Settings

# The settings that a plan chooses, except those that the search space does not use and those that are kept.
PLANNED = (
    *("search.epochs", "train.cells", "train.channels", "train.epochs", "train.epoch_images", "train.batch_size"),
    *("train.learning_rate", "train.warmup_epochs", "train.drop_path", "train.dropout", "train.cutout"),
    "train.label_smoothing",
)

# Shares of the budget: for measuring, and kept free for errors of the predictions.
MEASURING, SPARE = 0.03, 0.04
# The largest share of the training's time that its checkpoints take (models/training/loop.py).
CHECKPOINTS = 0.05
# By objective of the search: its share of the time that is left, and its largest useful number of epochs.
SEARCH_SHARE = {"spectrum": 0.15, "val_accuracy": 0.4}
MOST_SEARCH_EPOCHS = {"spectrum": 400, "val_accuracy": 200}
# The smallest number of search epochs after the warm-up of the update rule.
LEAST_LEARNING_EPOCHS = 12
# The correction measures at most this number of steps of the derived network, and only if this takes at most this share
# of the budget. In a shorter budget the measurement would cost as much time as it saves.
CORRECTION_STEPS, CORRECTION_SHARE = 30, 0.06
# A training takes all images at least LEAST_EPOCHS times and has at least LEAST_STEPS steps, if there is a network that
# is small enough, and usually it takes them at most MOST_EPOCHS times. If there is no time to take all images
# FEW_EPOCHS times, the run prints a warning, and the training has FEW_EPOCHS epochs with a part of the images each, so
# that the learning rate still falls to 0.
LEAST_EPOCHS, LEAST_STEPS, FEW_EPOCHS, MOST_EPOCHS = 30, 1000, 10, 600
# The shortest training: this number of steps, or all images once if this is less.
SHORTEST = 150
# The correction keeps the size of the network if the ratio of new to planned epochs is between these numbers.
KEEP_SIZE = (0.5, 3.0)
# Steps of a baseline that has hardly any time: those that are measured (models/baselines/fitting.py), and a few more.
BASELINE_STEPS = 20
# The usual batch, the smallest batch, and the number of steps that an epoch should have at least.
BATCH, LEAST_BATCH, LEAST_STEPS_AN_EPOCH = 64, 8, 20
# Rows: smallest number of epochs, learning rate for the usual batch (for others it is in proportion), drop path,
# dropout, side of the erased square as a share of the image's side, label smoothing. In fewer than 100 epochs a network
# learns too little, not too much: regularisation costs accuracy (docs/recipes.md).
RECIPES = ((0, 0.1, 0.0, 0.0, 0.0, 0.0), (100, 0.05, 0.2, 0.2, 0.25, 0.1), (200, 0.05, 0.3, 0.2, 0.5, 0.1))
WARMUP_SHARE = 0.1  # of the epochs, in which the learning rate rises
# No square is erased from images with a smaller side.
LEAST_CUTOUT_SIDE = 16

# Cells and channels, from cheap to expensive. In NAS-Bench-201's space, the cells are those of each of three stages.
SIZES = (
    *((3, 8), (3, 12), (3, 16), (3, 24), (6, 16), (6, 24), (6, 32), (8, 32), (8, 40)),
    *((11, 40), (14, 40), (17, 40), (20, 36), (20, 48)),
)
NASBENCH201_SIZES = ((1, 8), (1, 16), (2, 16), (3, 16), (5, 16), (5, 24), (5, 32))


@dataclasses.dataclass(frozen=True)
class Length:
    """The length of a training.

    Attributes:
        epochs: `config.train.epochs`; 0 if there is no time for the shortest training.
        images: `config.train.epoch_images`; 0: all images.
        passes: How many times the training takes all images. If each epoch has a part of them, this is not an integer.
    """

    epochs: int
    images: int
    passes: float


@dataclasses.dataclass(frozen=True)
class Option:
    """A size, with the epochs of search and training for which there is time.

    Attributes:
        size: The size of the final network.
        search_epochs: Epochs of the search; 0 without one.
        length: The length of the training.
        batch: Images of a training step.
        long_search: Whether the smallest useful number of search epochs takes more than the search's share of the time.
    """

    size: Size
    search_epochs: int
    length: Length
    batch: int
    long_search: bool = False


def baselines_share(settings: Settings) -> float:
    """Returns the share of the seconds of search and training that the trained baselines take together.

    If the number of their epochs is given (`config.baselines.epochs`), they have no share.
    """
    if settings.baselines.epochs:
        return 0.0
    return settings.baselines.time_share * len(_trained_baselines(settings))


def _trained_baselines(settings: Settings) -> set[str]:
    return set(settings.baselines.compared(settings.train.teacher)) - {"majority", "pretrained"}


def baselines(costs: Costs, size: Size, batch: int, settings: Settings, search_and_training: float) -> float:
    """Returns the seconds of the baselines: their share, or the least time that they need if the share is too short.

    A baseline has `config.baselines.epochs` epochs, or else as many steps as it has time for, of which it measures
    some. A step of a baseline is taken to cost as much as one of the final network. The time of a pretrained network
    is measured.

    Args:
        costs, size, batch, settings: As for `passes_left`.
        search_and_training: The seconds of search and training together.
    """
    work = settings.baselines.epochs * costs.epoch(size, batch) or BASELINE_STEPS * costs.step(size, batch)
    least = len(_trained_baselines(settings)) * (costs.start(size) + work)
    return max(baselines_share(settings) * search_and_training, least) + costs.pretrained


def sizes(settings: Settings, fixed: Collection[str]) -> list[Size]:
    """Returns the sizes that a plan can choose, from cheap to expensive.

    Args:
        settings: All settings.
        fixed: Dotted names of the settings that are kept, or that the search space does not use.
    """
    ladder = NASBENCH201_SIZES if settings.train.network == "nasbench201" else SIZES
    found = (
        Size(
            settings.train.cells if "train.cells" in fixed else cells,
            settings.train.channels if "train.channels" in fixed else channels,
        )
        for cells, channels in ladder
    )
    return list(dict.fromkeys(found))


def batch_size(settings: Settings, fixed: Collection[str], images: int) -> int:
    """Returns the batch: the usual one, or a smaller power of two if an epoch would have too few steps."""
    if "train.batch_size" in fixed:
        return settings.train.batch_size
    wanted = max(images // LEAST_STEPS_AN_EPOCH, LEAST_BATCH)
    return min(BATCH, 2 ** int(math.log2(wanted)))


def choose(
    costs: Costs, seconds: float, candidates: Sequence[Size], settings: Settings, fixed: Collection[str], batch: int
) -> Option:
    """Returns the size and the epochs of a run before its search.

    Args:
        costs: The predicted costs.
        seconds: The seconds for search, training and all later stages: the rest of the budget without its reserves.
        candidates: Sizes that fit into memory, from cheap to expensive; at least one.
        settings: All settings.
        fixed: Names of settings that are kept, or that this run does not use.
        batch: Images of a training step.
    """
    return pick([option(costs, seconds, size, settings, fixed, batch) for size in candidates], costs, settings, fixed)


def pick(options: Sequence[Option], costs: Costs, settings: Settings, fixed: Collection[str]) -> Option:
    """Returns the largest size for which there is time for enough epochs.

    If there is no such size, the size with the longest training is returned.

    Args:
        options: From cheap to expensive; at least one.
        costs, settings, fixed: As for `choose`.
    """
    for found in reversed(options):
        wanted = least_epochs(costs.steps(found.batch))
        if "train.epochs" in fixed:
            wanted = kept_passes(costs, settings, fixed)
        if found.length.passes >= wanted and not found.long_search:
            return found
    return max(options, key=lambda found: found.length.passes)


def option(costs: Costs, seconds: float, size: Size, settings: Settings, fixed: Collection[str], batch: int) -> Option:
    """Returns a size with the epochs for which there is time; arguments as for `choose`."""
    seconds -= correction(costs, size, batch, settings)

    def with_search(epochs: int, long: bool) -> Option:
        passes = passes_left(costs, seconds, size, batch, settings, fixed, costs.search(size, epochs))
        return Option(size, epochs, length(costs, passes, batch, settings, fixed), batch, long)

    if not costs.searches:
        return with_search(0, False)
    if "search.epochs" in fixed:
        return with_search(settings.search.epochs, False)
    room = SEARCH_SHARE[settings.search.objective] * seconds - costs.search_start(size)
    possible = int(room / costs.search_epoch(size))
    least = warmup_epochs(settings) + LEAST_LEARNING_EPOCHS
    found = with_search(max(least, min(possible, MOST_SEARCH_EPOCHS[settings.search.objective])), possible < least)
    return found if found.length.epochs else with_search(least, possible < least)


def correct(
    costs: Costs, seconds: float, candidates: Sequence[Size], settings: Settings, fixed: Collection[str], search: float
) -> Option:
    """Returns the size and the epochs of a training after the search.

    The size stays as planned, unless there is time for far fewer or far more epochs than planned.

    Args:
        costs: The predicted costs with the derived network.
        seconds: The rest of the budget without its reserve, including the seconds of the search.
        candidates: Sizes that fit into memory, from cheap to expensive. Without candidates the size stays as planned.
        settings: All settings, with the choices of the plan before the search.
        fixed: Names of settings that are kept, or that this run does not use.
        search: The seconds of the search.
    """
    train, searched = settings.train, settings.search.epochs

    def with_size(size: Size) -> Option:
        passes = passes_left(costs, seconds, size, train.batch_size, settings, fixed, search)
        passes = max(passes, shortest(costs, train.batch_size, settings, fixed))
        if "train.epochs" in fixed:  # whether there is room for them or not
            passes = kept_passes(costs, settings, fixed)
        return Option(size, searched, length(costs, passes, train.batch_size, settings, fixed), train.batch_size)

    same = with_size(Size(train.cells, train.channels))
    images = costs.figures.images
    planned = train.epochs * min(train.epoch_images or images, images) / images
    low, high = KEEP_SIZE
    if "train.epochs" in fixed or low * planned <= same.length.passes <= high * planned or not candidates:
        return same
    return pick([with_size(size) for size in candidates], costs, settings, fixed)


def passes_left(
    costs: Costs, seconds: float, size: Size, batch: int, settings: Settings, fixed: Collection[str], search: float
) -> float:
    """Returns how many times there is time to train on all images, beside the search; below 0 if there is none.

    The result is at most what `config.train.epochs` says if this setting is kept, and otherwise the largest useful
    number.

    Args:
        costs, size, batch, settings, fixed: As for `choose`.
        seconds: The seconds for search, training and all later stages.
        search: The seconds of the search.
    """
    most = float(max(MOST_EPOCHS, least_epochs(costs.steps(batch))))
    if "train.epochs" in fixed:
        most = kept_passes(costs, settings, fixed)
    without = training(costs, size, batch, 0)
    one = training(costs, size, batch, 1) - without
    room = seconds - search - costs.evaluation(size) - costs.report(size) - without
    # The baselines take a share of search and training, so they grow with each epoch, and have a least time.
    share = baselines_share(settings)
    shared = (room - costs.pretrained - share * (search + without)) / (one * (1 + share))
    least = (room - baselines(costs, size, batch, settings, 0.0)) / one
    return min(shared, least, most)


def length(costs: Costs, passes: float, batch: int, settings: Settings, fixed: Collection[str]) -> Length:
    """Returns the epochs of a training that takes all images at most so many times.

    Args:
        costs, batch, settings, fixed: As for `choose`.
        passes: How many times there is time to take all images.
    """
    images, kept = costs.figures.images, _kept_images(costs, settings, fixed)
    if "train.epochs" in fixed:
        enough = passes >= kept_passes(costs, settings, fixed)
        epochs, part = (settings.train.epochs if enough else 0), kept
    elif passes < shortest(costs, batch, settings, fixed):
        epochs, part = 0, kept
    elif passes >= FEW_EPOCHS or "train.epoch_images" in fixed:
        epochs, part = max(1, int(passes * images / kept)), kept
    else:
        steps = max(1, int(passes * images / batch))
        epochs = min(FEW_EPOCHS, steps)
        part = min(images, steps // epochs * batch)
    return Length(epochs, part if part < images else 0, epochs * part / images)


def shortest(costs: Costs, batch: int, settings: Settings, fixed: Collection[str]) -> float:
    """Returns how many times the shortest training takes all images; arguments as for `length`."""
    if "train.epoch_images" in fixed:
        return _kept_images(costs, settings, fixed) / costs.figures.images
    return min(1.0, SHORTEST / costs.steps(batch))


def kept_passes(costs: Costs, settings: Settings, fixed: Collection[str]) -> float:
    """Returns how many times a training with `config.train.epochs`, which is kept, takes all images."""
    return settings.train.epochs * _kept_images(costs, settings, fixed) / costs.figures.images


def _kept_images(costs: Costs, settings: Settings, fixed: Collection[str]) -> int:
    """Returns the images of an epoch if `config.train.epoch_images` is kept, and all images if not."""
    images = costs.figures.images
    return min(images, settings.train.epoch_images or images) if "train.epoch_images" in fixed else images


def training(costs: Costs, size: Size, batch: int, passes: float) -> float:
    """Returns the seconds of the Trainer: reading the images, the steps with their checkpoints, the export.

    Args:
        costs, size, batch: As for `choose`.
        passes: How many times the training takes all images.
    """
    work = passes * costs.epoch(size, batch) * (1 + CHECKPOINTS)
    return costs.load + costs.start(size) + work + costs.export(size)


def correction(costs: Costs, size: Size, batch: int, settings: Settings) -> float:
    """Returns the seconds for measuring the derived network; 0 if the correction does not measure it (too long)."""
    seconds = costs.load + costs.start(size) + CORRECTION_STEPS * costs.step(size, batch)
    return seconds if seconds <= CORRECTION_SHARE * 60 * settings.budget.minutes else 0.0


def stages(costs: Costs, chosen: Option, settings: Settings) -> dict[str, float]:
    """Returns the predicted seconds of the stages from the search on."""
    search, trained = (
        costs.search(chosen.size, chosen.search_epochs),
        training(costs, chosen.size, chosen.batch, chosen.length.passes),
    )
    compared = baselines(costs, chosen.size, chosen.batch, settings, search + trained)
    return {
        plan.SEARCH: search,
        plan.TRAINING: trained,
        **({plan.BASELINES: compared} if compared else {}),
        plan.EVALUATION: costs.evaluation(chosen.size),
        plan.REPORT: costs.report(chosen.size),
    }


def least_epochs(steps: int) -> int:
    """Returns the smallest number of epochs that a training should have. An epoch has `steps` steps."""
    return max(LEAST_EPOCHS, math.ceil(LEAST_STEPS / steps))


def fixed(settings: Settings) -> frozenset[str]:
    """Returns the names of the settings that a plan does not choose: kept settings, and settings without use."""
    without_use = {*unused(settings), *(["search.epochs"] if settings.architecture else [])}
    return frozenset({*settings.budget.keep, *without_use})


def warmup_epochs(settings: Settings) -> int:
    """Returns the number of search epochs in the warm-up of the update rule."""
    rule = create_rule(settings.oracle.rule, settings.oracle.options)
    rounds = rule.warmup_rounds if settings.oracle.warmup_rounds is None else settings.oracle.warmup_rounds
    return rounds * max(len(choice.operations) for choice in create_space(settings.space).choices)


def recipe(epochs: int, batch: int, side: int) -> dict[str, Any]:
    """Returns the settings of `config.train` that suit a number of epochs, by dotted name.

    Args:
        epochs: Epochs of the training.
        batch: Images of a step.
        side: The smaller side of an image in pixels.
    """
    _, rate, drop_path, dropout, erased, smoothing = next(row for row in reversed(RECIPES) if epochs >= row[0])
    return {
        "train.learning_rate": rate * batch / BATCH,
        "train.warmup_epochs": int(WARMUP_SHARE * epochs),
        "train.drop_path": drop_path,
        "train.dropout": dropout,
        "train.cutout": int(erased * side) if side >= LEAST_CUTOUT_SIDE else 0,
        "train.label_smoothing": smoothing,
    }


def choices(chosen: Option, side: int, settings: Settings, fixed: Collection[str]) -> dict[str, Any]:
    """Returns the values of all settings that a plan chooses, by dotted name.

    A warm-up that is kept is lowered if it would not end within the training.

    Args:
        chosen: The size and the epochs.
        side: The smaller side of an image in pixels.
        settings: All settings.
        fixed: Names of settings that are kept, or that this run does not use.
    """
    found = {
        "search.epochs": chosen.search_epochs,
        "train.cells": chosen.size.cells,
        "train.channels": chosen.size.channels,
        "train.epochs": chosen.length.epochs,
        "train.epoch_images": chosen.length.images,
        "train.batch_size": chosen.batch,
        **recipe(chosen.length.epochs, chosen.batch, side),
    }
    if endless_warmup(chosen, settings, fixed):
        found["train.warmup_epochs"] = chosen.length.epochs - 1
        fixed = set(fixed) - {"train.warmup_epochs"}
    return {key: found[key] for key in PLANNED if key not in fixed}


def endless_warmup(chosen: Option, settings: Settings, fixed: Collection[str]) -> bool:
    """Returns whether the warm-up is kept and does not end within the training."""
    return "train.warmup_epochs" in fixed and settings.train.warmup_epochs >= chosen.length.epochs > 0


def reasons(
    chosen: Option, candidates: Sequence[Size], settings: Settings, fixed: Collection[str], steps: int
) -> Iterator[str]:
    """Yields a sentence for each decision.

    Args:
        chosen, candidates, settings, fixed: As for `choose`.
        steps: Steps of a training epoch with all images.
    """
    wanted, passes = least_epochs(steps), chosen.length.passes
    if len(candidates) > 1:
        if passes >= wanted and chosen.size == candidates[-1]:
            yield f"The network has {chosen.size}, the largest size that the planner knows and memory allows."
        elif passes >= wanted:
            yield f"The network has {chosen.size}: there is no time for {wanted} epochs of a larger network."
        else:
            yield f"The network has {chosen.size}, the size with the most epochs: no size has time for {wanted} epochs."
    share = SEARCH_SHARE[settings.search.objective]
    if chosen.search_epochs and "search.epochs" not in fixed:
        yield f"The search has {chosen.search_epochs} epochs, in at most {share:.0%} of the time if this is enough."
    if "train.epochs" not in fixed:
        ends = "more are of no use" if passes >= MOST_EPOCHS - 1 else "there is no time for more"
        part = f"{chosen.length.images:,} images" if chosen.length.images else f"{steps} steps"
        yield f"The training has {chosen.length.epochs} epochs with {part} each: {ends}."
    if endless_warmup(chosen, settings, fixed):
        lowered = chosen.length.epochs - 1
        yield f"config.train.warmup_epochs is {lowered}: with the given value the warm-up would not end."
        fixed = set(fixed) - {"train.warmup_epochs"}
    yield from (f"config.{key} is kept as given." for key in PLANNED if key in fixed and key in settings.budget.keep)


def warnings(chosen: Option) -> list[str]:
    """Returns the warnings to print before hours are spent, each of one or two sentences."""
    if chosen.length.passes >= FEW_EPOCHS:
        return []
    return [
        f"In this budget the training sees each image only {chosen.length.passes:.2g} times, too few for a good model. "
        "Give more minutes (config.budget.minutes) or smaller images (config.data.image_size)."
    ]
