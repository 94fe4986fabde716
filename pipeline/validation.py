"""Checks a config before anything starts: every setting by itself, then the combinations that cannot be.

Imports neither TensorFlow nor TFX.
"""

import os
from collections.abc import Iterator

import ml_collections

from models.architectures import limits, presets
from models.oracle.rules.registry import create_rule
from models.runtime.section import leaves
from models.search_spaces.registry import create_space, unused
from models.settings import ConfigError, Settings


def validate(config: ml_collections.ConfigDict) -> Settings:
    """Checks every setting.

    Args:
        config: As pipeline/configs/base.py lays it out.

    Returns:
        The settings.

    Raises:
        ConfigError: Something cannot be; every problem is named, not the first alone.
    """
    settings = Settings.parse(config)  # combinations make sense only where the parts do
    problems = [problem for check in _COMBINATIONS for problem in check(settings)]
    if problems:
        raise ConfigError("\n".join(problems))
    return settings


def _data(settings: Settings) -> Iterator[str]:
    folder, name = settings.data.image_folder, settings.data.name
    if not folder and not name:
        yield "No data: give config.data.image_folder=DIR or config.data.name, a TFDS data set."
    if folder and not _is_folder(os.path.expanduser(folder)):
        yield f"config.data.image_folder={folder} is not a folder."


def _is_folder(path: str) -> bool:
    if "://" not in path:
        return os.path.isdir(path)
    import tensorflow as tf  # slow, and knows buckets

    return tf.io.gfile.isdir(path)


def _trains_paths(settings: Settings) -> bool:
    """Returns whether the search trains; another one has no use for the settings of that training."""
    return settings.search.objective == "val_accuracy"


def _learning_rates(settings: Settings) -> Iterator[str]:
    search, train = settings.search, settings.train
    if _trains_paths(settings) and search.min_learning_rate > search.learning_rate:
        yield (
            f"config.search.min_learning_rate: found {search.min_learning_rate}; expected "
            f"config.search.learning_rate, {search.learning_rate}, or less."
        )
    if train.warmup_epochs >= train.epochs:
        yield (
            f"config.train.warmup_epochs: found {train.warmup_epochs}; expected less than config.train.epochs, "
            f"{train.epochs}: the warm-up would not end."
        )


def _rule(settings: Settings) -> Iterator[str]:
    try:
        create_rule(settings.oracle.rule, settings.oracle.options)
    except (ValueError, TypeError, ImportError) as error:
        yield f"config.oracle.rule: {error}."


def _warmup(settings: Settings) -> Iterator[str]:
    """Refuses a search that ends within the warm-up: it samples all operations alike and learns nothing."""
    try:
        rule = create_rule(settings.oracle.rule, settings.oracle.options)
        choices = create_space(settings.space).choices
    except (ValueError, TypeError, ImportError, AttributeError):
        return  # the other checks say what is wrong
    rounds = rule.warmup_rounds if settings.oracle.warmup_rounds is None else settings.oracle.warmup_rounds
    epochs = rounds * max(len(choice.operations) for choice in choices)
    if not settings.architecture and settings.search.epochs < epochs:
        yield (
            f"config.search.epochs: found {settings.search.epochs}; expected more than {epochs}: the first {epochs} "
            f"sample all operations equally often (config.oracle.warmup_rounds is {rounds}), so nothing would be "
            "learned."
        )


_NETWORKS = {"cell": ("cifar", "imagenet"), "mobile": ("mobile",), "nasbench201": ("nasbench201",)}


def _space(settings: Settings) -> Iterator[str]:
    try:
        create_space(settings.space)
    except (ValueError, ImportError) as error:
        message = str(error).removeprefix("config.").removesuffix(".")
        yield f"config.{message if message.startswith('space') else f'space: {message}'}."
        return
    name, network = settings.space.name, settings.train.network
    allowed = _NETWORKS.get(name, (network,))
    if network not in allowed:
        yield (
            f"config.train.network: found {network!r}; expected {' or '.join(map(repr, allowed))} with the {name} "
            f"space. Set --config.train.network={allowed[0]}."
        )


def _objective(settings: Settings) -> Iterator[str]:
    """Refuses what a search without training cannot do."""
    if settings.architecture or _trains_paths(settings):
        return
    objective = settings.search.objective
    try:
        space = create_space(settings.space)
    except (ValueError, ImportError):
        return  # the other checks say what is wrong
    if not hasattr(space, "repair"):
        yield (
            f"config.search.objective: found {objective!r}; expected 'val_accuracy' with the {settings.space.name} "
            "space: it has no method `repair` (models/search_spaces/base.py)."
        )


def _unused(settings: Settings) -> Iterator[str]:
    """Refuses settings without use in this run: dropping them silently would hide a mistake."""
    try:
        reasons = unused(settings)
    except (ValueError, ImportError):
        return  # the other checks say what is wrong
    defaults = {key: value for key, value, _ in leaves(Settings())}
    for key, value, _ in leaves(settings):
        if key in reasons and value != defaults.get(key):
            yield f"config.{key}: found {value!r}; expected {defaults.get(key)!r}, the default: {reasons[key]}."


def _cells(settings: Settings) -> Iterator[str]:
    if settings.space.name != "cell":
        return
    cells = {"search": settings.search.cells, "train": settings.train.cells}
    for section in ("search", "train") if _trains_paths(settings) and not settings.architecture else ("train",):
        if cells[section] < 3:
            yield (
                f"config.{section}.cells: found {cells[section]}; expected 3 or more with the cell space: a normal "
                "cell and the two reductions."
            )


def smallest_side(settings: Settings) -> tuple[int, str]:
    """Returns what the networks of a config need of the images.

    Args:
        settings: Valid but for the size of its images.

    Returns:
        The smallest side in pixels, and what it is that needs it.
    """
    train = settings.train
    if train.network == "mobile":
        if settings.architecture:
            backbone = presets.resolve_architecture(settings.architecture)[0].backbone
        else:
            backbone = create_space(settings.space).backbone
        return 2**backbone.halvings, "the backbone of the mobile network (config.space.backbone)"
    auxiliary = train.auxiliary_weight > 0 and train.network in limits.SMALLEST_WITH_AUXILIARY
    what = f"the {train.network} network (config.train.network"
    if auxiliary:
        what = f"the auxiliary head of {what}; config.train.auxiliary_weight=0.0 removes the head"
    return limits.smallest(train.network, auxiliary), what + ")"


def _image_size(settings: Settings) -> Iterator[str]:
    try:
        side, what = smallest_side(settings)
    except (ValueError, ImportError, AttributeError):
        return  # the other checks say what is wrong
    size = settings.data.image_size
    recipes = {"search": settings.search, "train": settings.train}
    for section in ("search", "train") if _trains_paths(settings) else ("train",):
        recipe = recipes[section]
        for key, value in (("pad", recipe.pad), ("cutout", recipe.cutout)):
            if 0 < size <= value:
                yield (
                    f"config.{section}.{key}: found {value}; expected less than config.data.image_size, {size}: "
                    "nothing of an image would be left."
                )
    if 0 < size < side:
        yield f"config.data.image_size: found {size}; expected {side} or more, which {what} needs."


def _architecture(settings: Settings) -> Iterator[str]:
    if not settings.architecture:
        return
    try:
        genotype, _ = presets.resolve_architecture(settings.architecture)
    except ValueError as error:
        yield f"config.architecture: {error}"
        return
    space = genotype.to_dict()["space"]
    if space != settings.space.name:
        yield (
            f"config.architecture: found {settings.architecture}, a genotype of the {space!r} space; expected one of "
            f"the {settings.space.name!r} space (config.space.name). Set --config.space.name={space}."
        )


def _pretrained(settings: Settings) -> Iterator[str]:
    """Loads the pretrained network, whose mistakes would else be found after the search."""
    asked = settings.baselines
    if not asked.pretrained:
        return
    from models.baselines import pretrained  # slow

    try:
        pretrained.load(asked.pretrained, asked.weights, settings.data.image_size)
    except ConfigError as error:
        yield str(error)


_COMBINATIONS = (
    *(_data, _learning_rates, _rule, _warmup, _space, _objective, _unused, _cells, _image_size, _architecture),
    _pretrained,
)
