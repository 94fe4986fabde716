"""Makes the two plans of a run: a plan before the search, and a corrected plan between search and training."""

import bisect
import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence

from models.architectures.genotype import Genotype
from models.baselines import pretrained
from models.data.dataset import ImageDataset
from models.planning import measure, plan, rules
from models.planning.costs import Costs, Figures, NetworkTimes, SearchTimes, Size
from models.planning.plan import Plan
from models.runtime import setup
from models.search import spectrum
from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import create_space
from models.settings import ConfigError, Settings

# Seconds of training the linear classifier on pretrained features, for each image, feature and class.
_CLASSIFIER = 2e-7

Load = Callable[[Sequence[str]], ImageDataset]


def plan_search(settings: Settings, load: Load, architecture: Genotype | None, test_images: int, used: float) -> Plan:
    """Measures this machine on these images and plans the run.

    Args:
        settings: All settings, with a budget.
        load: Returns the images of the splits of these names.
        architecture: The architecture to be trained; None if there is a search.
        test_images: The number of test images.
        used: The seconds that the run has used so far.

    Raises:
        ConfigError: The budget or the memory is too small for the smallest network.
    """
    watch = measure.Stopwatch()
    space = create_space(settings.space)
    data = load(settings.train.splits)
    loaded = watch.seconds()
    fixed = rules.fixed(settings)
    settings, candidates = _fit_memory(space, settings, data, fixed)
    batch, total = settings.train.batch_size, 60 * settings.budget.minutes
    networks: list[NetworkTimes] = []
    searches: list[SearchTimes] = []
    scored = not architecture and settings.search.objective == spectrum.OBJECTIVE
    of_pretrained = _measure_pretrained(settings, data, test_images)
    allowed = rules.MEASURING * total + watch.seconds() - loaded  # a pretrained network is measured in any case

    def costs_now() -> Costs:
        return Costs(
            Figures(
                images=len(data),
                test_images=test_images,
                pixels=data.image_shape[0] * data.image_shape[1],
                side=min(data.image_shape[:2]),
                stages=settings.train.network == "nasbench201",
                load=loaded,
                networks=tuple(networks),
                searches=tuple(searches),
                sized=scored,
                score_images=settings.search.score_images,
                reference=spectrum.REFERENCE if scored else 0,
                pretrained=of_pretrained,
            )
        )

    # The smallest size is measured first, and then, each time, the size that the earlier measurements choose.
    size = candidates[0]
    while True:
        sized = _sized(settings, size, data, fixed)
        if scored or (not architecture and not searches):
            searches.append(_measure_search(space, sized, load, data))
        # If tracing a network of cells would take too long, the scores alone show how fast the machine is.
        told = scored and settings.train.network == "cifar"
        if networks or not told or watch.seconds() + costs_now().start(size) <= allowed:
            networks.append(_measure_network(sized, space, architecture, data, allowed / 4))
        costs = costs_now()
        chosen = rules.choose(costs, _room(settings, used + watch.seconds()), candidates, settings, fixed, batch)
        seen = [Size(found.cells, found.channels) for found in networks or searches]
        if chosen.size in seen or watch.seconds() + costs.measuring(chosen.size) > allowed:
            break
        size = chosen.size
    _require_room(chosen, costs, candidates, settings, fixed, used + watch.seconds())
    spent = watch.seconds()
    seconds = {
        plan.BEFORE: used,
        plan.PLANNING: spent + rules.correction(costs, chosen.size, batch, settings),
        **rules.stages(costs, chosen, settings),
    }
    return Plan(
        minutes=settings.budget.minutes,
        choices=rules.choices(chosen, costs.figures.side, settings, fixed),
        reasons=tuple(rules.reasons(chosen, candidates, settings, fixed, costs.steps(batch))),
        warnings=tuple(rules.warnings(chosen)),
        seconds=_with_reserve(seconds, settings),
        over=(plan.BEFORE,),
        used=used + spent,
        figures=dataclasses.asdict(costs.figures),
    )


def plan_training(
    settings: Settings, load: Load, architecture: Genotype, before: Plan, searched: float, used: float
) -> Plan:
    """Corrects a plan: counts the seconds that were really used, and measures the derived network.

    In a short budget the derived network is not measured, and its size stays as planned.

    Args:
        settings: All settings, with the values of the config.
        load: Returns the images of the splits of these names.
        architecture: The derived architecture.
        before: The plan before the search.
        searched: The seconds of the search, including earlier runs of an interrupted search.
        used: The seconds that the run has used so far.
    """
    watch = measure.Stopwatch()
    fixed = rules.fixed(settings)
    given, settings = settings, before.apply(settings)
    figures = Figures.from_document(before.figures)
    size, batch = Size(settings.train.cells, settings.train.channels), settings.train.batch_size
    reasons = [f"The search took {searched:.0f} s; {before.seconds[plan.SEARCH]:.0f} s were planned."] * bool(searched)
    costs, sizes, derived = Costs(figures), [], None
    if rules.correction(costs, size, batch, settings):
        data = load(settings.train.splits)
        measured_for = rules.MEASURING * 60 * before.minutes / 2
        derived = _measure_network(settings, create_space(settings.space), architecture, data, measured_for)
        predicted = costs.step(size, batch)
        reasons.append(f"A step of the derived network takes {derived.step:.3f} s; {predicted:.3f} s were predicted.")
        costs = Costs(figures, derived)
        sizes = measure.fitting(create_space(settings.space), settings, data, rules.sizes(given, fixed))
    room = _room(settings, used + watch.seconds()) + searched
    chosen = rules.correct(costs, room, sizes, settings, fixed, searched)
    changed = sizes if chosen.size != size else []
    spent = watch.seconds()
    seconds = {
        **rules.stages(costs, chosen, settings),
        plan.BEFORE: before.seconds[plan.BEFORE],
        plan.PLANNING: before.used - before.seconds[plan.BEFORE] + spent,
        plan.SEARCH: searched,
    }
    return Plan(
        minutes=before.minutes,
        choices=rules.choices(chosen, figures.side, given, fixed),
        reasons=(*reasons, *rules.reasons(chosen, changed, given, fixed, costs.steps(batch))),
        warnings=tuple(rules.warnings(chosen)),
        seconds=_with_reserve(seconds, settings),
        over=(plan.BEFORE, plan.PLANNING, plan.SEARCH),
        used=used + spent,
        figures={**before.figures, "derived": derived and dataclasses.asdict(derived)},
        first=before.seconds,
    )


def _fit_memory(
    space: SearchSpace, settings: Settings, data: ImageDataset, fixed: Collection[str]
) -> tuple[Settings, list[Size]]:
    """Returns the settings with a batch that fits, and the sizes that fit into memory with this batch.

    Raises:
        ConfigError: Not even the smallest network fits.
    """
    batch = rules.batch_size(settings, fixed, len(data))
    while True:
        settings = plan.apply({"train.batch_size": batch}, settings)
        candidates = measure.fitting(space, settings, data, rules.sizes(settings, fixed))
        if candidates:
            return settings, candidates
        if "train.batch_size" in fixed or batch <= rules.LEAST_BATCH:
            raise ConfigError(
                f"config.train.batch_size: found {batch}, with which not even the smallest network fits into memory. "
                "Lower config.data.image_size, or do not keep config.train.batch_size, config.train.cells and "
                "config.train.channels."
            )
        batch //= 2


def _sized(settings: Settings, size: Size, data: ImageDataset, fixed: Collection[str]) -> Settings:
    """Returns the settings with a size, and with the recipe for a training of LEAST_EPOCHS epochs."""
    usual = rules.Option(
        size, settings.search.epochs, rules.Length(rules.LEAST_EPOCHS, 0, rules.LEAST_EPOCHS), settings.train.batch_size
    )
    return plan.apply(rules.choices(usual, min(data.image_shape[:2]), settings, fixed), settings)


def _measure_network(
    settings: Settings, space: SearchSpace, architecture: Genotype | None, data: ImageDataset, seconds: float
) -> NetworkTimes:
    _set_up(settings, settings.train.mixed_precision)
    measured = architecture or measure.random_architecture(space, settings.seed)
    return measure.network(settings, measured, data, seconds, rules.CORRECTION_STEPS)


def _measure_search(space: SearchSpace, settings: Settings, load: Load, data: ImageDataset) -> SearchTimes:
    _set_up(settings, settings.search.mixed_precision)
    if settings.search.objective == spectrum.OBJECTIVE:
        return measure.scored_search(space, settings, data)
    return measure.trained_search(space, settings, load(("train",)), load(("val",)))


def _measure_pretrained(settings: Settings, data: ImageDataset, test_images: int) -> float:
    """Returns the seconds of the pretrained baseline; 0 without it, and if the Teacher has computed its features."""
    if not settings.baselines.pretrained or settings.train.teacher:
        return 0.0
    _set_up(settings, "")
    start, image, features = pretrained.measure(settings.baselines.pretrained, settings.baselines.weights, data)
    classifier = _CLASSIFIER * len(data) * features * len(data.class_names)
    return start + (len(data) + test_images) * image + classifier


def _set_up(settings: Settings, precision: str) -> None:
    setup.set_up(
        seed=settings.seed,
        deterministic=settings.deterministic,
        tuned_kernels=settings.tuned_kernels,
        mixed_precision=precision,
    )


def _room(settings: Settings, used: float) -> float:
    """Returns the seconds that are left for search, training and all later stages, without the reserve."""
    return 60 * settings.budget.minutes * (1 - rules.SPARE) - used


def _require_room(
    chosen: rules.Option,
    costs: Costs,
    candidates: Sequence[Size],
    settings: Settings,
    fixed: Collection[str],
    used: float,
) -> None:
    """Refuses a budget in which not even the smallest network can be trained.

    Raises:
        ConfigError: The budget is too small; the message names the least minutes.
    """
    if chosen.length.epochs:
        return
    passes = rules.shortest(costs, chosen.batch, settings, fixed)
    needed = f"{math.ceil(passes * costs.steps(chosen.batch)):,} training steps"
    if "train.epochs" in fixed:
        needed = f"{settings.train.epochs:,} training epochs"

    def enough(tenths: int) -> bool:
        budget = settings.budget.model_copy(update={"minutes": tenths / 10})
        larger = settings.model_copy(update={"budget": budget})
        return rules.choose(costs, _room(larger, used), candidates, larger, fixed, chosen.batch).length.epochs > 0

    few = many = math.floor(10 * settings.budget.minutes) + 1
    while not enough(many):
        few, many = many, 2 * many
    least = bisect.bisect_left(range(few, many), True, key=enough) + few
    kept = " with the settings that are kept (config.budget.keep, command line)" if settings.budget.keep else ""
    raise ConfigError(
        f"config.budget.minutes: found {settings.budget.minutes:g}; expected {least / 10:g} or more: {used:.0f} s are "
        f"used, and a run with the smallest network and {needed}{kept} needs the rest."
    )


def _with_reserve(seconds: Mapping[str, float], settings: Settings) -> dict[str, float]:
    """Returns the seconds of all stages in their order, with the reserve as the last one."""
    found = {**seconds, plan.RESERVE: 60 * settings.budget.minutes - sum(seconds.values())}
    return {stage: round(found[stage], 1) for stage in plan.STAGES if stage in found}
