"""Checks a config before anything starts: first every setting, then the combinations of settings.

This module imports neither TFX nor, unless a folder is in an object store, TensorFlow.
"""

import os
from collections.abc import Iterator

import ml_collections

from models.architectures import limits, presets
from models.oracle.rules.registry import create_rule
from models.planning.rules import PLANNED, warmup_epochs
from models.runtime.section import leaves
from models.search import derivation
from models.search_spaces.registry import create_space, unused
from models.settings import ConfigError, Settings


def validate(config: ml_collections.ConfigDict) -> Settings:
    """Checks every setting.

    Args:
        config: A config with the structure of pipeline/configs/base.py.

    Returns:
        The settings.

    Raises:
        ConfigError: A setting or a combination of settings is impossible. The message has a line for each problem.
    """
    settings = Settings.parse(config)  # combinations are checked only if each setting is valid
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
    import tensorflow as tf  # imported only here, because the import is slow

    return tf.io.gfile.isdir(path)


def _trains_paths(settings: Settings) -> bool:
    """Returns whether the search trains a supernet. Other searches do not use the settings of this training."""
    return settings.search.objective == "val_accuracy"


def _learning_rates(settings: Settings) -> Iterator[str]:
    search, train = settings.search, settings.train
    if _trains_paths(settings) and search.min_learning_rate > search.learning_rate:
        yield (
            f"config.search.min_learning_rate: found {search.min_learning_rate}; expected "
            f"config.search.learning_rate, {search.learning_rate}, or less."
        )
    if 0 < train.epoch_images < train.batch_size and not _is_planned(settings, "train.batch_size"):
        yield (
            f"config.train.epoch_images: found {train.epoch_images}; expected 0 (all images), or "
            f"config.train.batch_size, {train.batch_size}, or more."
        )
    planned = any(_is_planned(settings, name) for name in ("train.warmup_epochs", "train.epochs"))
    if train.warmup_epochs >= train.epochs and not planned:
        yield (
            f"config.train.warmup_epochs: found {train.warmup_epochs}; expected less than config.train.epochs, "
            f"{train.epochs}: the warm-up would not end."
        )


def _is_planned(settings: Settings, name: str) -> bool:
    """Returns whether a plan chooses the setting of this dotted name, so that its value in the config has no effect."""
    return bool(settings.budget.minutes) and name in PLANNED and name not in settings.budget.keep


def _rule(settings: Settings) -> Iterator[str]:
    try:
        create_rule(settings.oracle.rule, settings.oracle.options)
    except (ValueError, TypeError, ImportError) as error:
        yield f"config.oracle.rule: {error}."


def _warmup(settings: Settings) -> Iterator[str]:
    """Refuses a search that ends within the warm-up, in which all operations are sampled equally often."""
    try:
        epochs = warmup_epochs(settings)
    except (ValueError, TypeError, ImportError, AttributeError):
        return  # the other checks say what is wrong
    if not settings.architecture and settings.search.epochs < epochs and not _is_planned(settings, "search.epochs"):
        yield (
            f"config.search.epochs: found {settings.search.epochs}; expected {epochs} or more: the first {epochs} "
            "epochs are the warm-up (config.oracle.warmup_rounds), in which all operations are sampled equally often."
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
    """Refuses a search by scores in a space that does not support it."""
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


def _derive(settings: Settings) -> Iterator[str]:
    if settings.architecture:
        return
    try:
        derivation.require_limit(create_space(settings.space), settings.derive.max_skip_connections)
    except ImportError:
        return  # the other checks say what is wrong
    except ValueError as error:
        if str(error).startswith("config.derive"):
            yield str(error)


def _derive_costs(settings: Settings) -> Iterator[str]:
    """Refuses a budget of the derivation that no architecture can meet, hours before the derivation."""
    if settings.architecture or not settings.derive.needs_costs:
        return
    from pipeline import derive_costs  # slow

    try:
        side, _ = smallest_side(settings)
        yield from derive_costs.problems(settings, create_space(settings.space), side)
    except (ValueError, ImportError, AttributeError):
        return  # the other checks say what is wrong


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
        if cells[section] < 3 and not _is_planned(settings, f"{section}.cells"):
            yield (
                f"config.{section}.cells: found {cells[section]}; expected 3 or more with the cell space: one normal "
                "cell and two reduction cells."
            )


def smallest_side(settings: Settings) -> tuple[int, str]:
    """Returns the smallest side of an image that the final network of a config accepts.

    Args:
        settings: Valid settings, except that the image size may be too small.

    Returns:
        The smallest side in pixels, and a text that names the part of the network that needs this size.
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
            if 0 < size <= value and not _is_planned(settings, f"{section}.{key}"):
                yield (
                    f"config.{section}.{key}: found {value}; expected less than config.data.image_size, {size}: "
                    "nothing of an image would be left."
                )
    if 0 < size < side:
        yield f"config.data.image_size: found {size}; expected {side} or more: {what} needs this size."


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


def _budget(settings: Settings) -> Iterator[str]:
    minutes, keep = settings.budget.minutes, settings.budget.keep
    if keep and not minutes:
        yield f"config.budget.keep: found {keep}; expected (), the default: there is no budget (config.budget.minutes)."
    for name in keep:
        if name not in PLANNED:
            yield f"config.budget.keep: found {name!r}; expected settings that a plan chooses: {', '.join(PLANNED)}."


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


def _export(settings: Settings) -> Iterator[str]:
    """Refuses formats that cannot hold the trained network."""
    formats = settings.export.formats
    if formats and settings.train.mixed_precision:
        yield (
            f"config.export.formats: found {', '.join(formats)} with config.train.mixed_precision="
            f"{settings.train.mixed_precision!r}; expected config.train.mixed_precision='' with them: these "
            "formats are made from float32 networks only."
        )


def _teacher(settings: Settings) -> Iterator[str]:
    if settings.train.teacher and not settings.baselines.pretrained:
        yield (
            "config.train.teacher: found True; expected False, the default: config.baselines.pretrained names no "
            "network to learn from."
        )


def _hold_out_val(settings: Settings) -> Iterator[str]:
    if settings.train.hold_out_val and settings.baselines.pretrained:
        yield (
            "config.train.hold_out_val: found True; expected False with config.baselines.pretrained: the classifier of "
            "the pretrained network is fitted on val, too."
        )


def _from_supernet(settings: Settings) -> Iterator[str]:
    """Refuses to start from weights that no search trains, or whose places in the network are not known."""
    if not settings.train.from_supernet:
        return
    reason = ""
    if settings.architecture:
        reason = "there is no search (config.architecture)"
    elif not _trains_paths(settings):
        reason = f"the objective {settings.search.objective!r} (config.search.objective) trains no supernet"
    elif settings.space.name not in _NETWORKS:
        reason = f"the custom space {settings.space.name!r} (config.space.name) cannot pass on weights"
    if reason:
        yield f"config.train.from_supernet: found True; expected False, the default: {reason}."


_COMBINATIONS = (
    *(_budget, _data, _learning_rates, _rule, _warmup, _space, _objective, _derive, _unused, _cells, _image_size),
    *(_architecture, _derive_costs, _pretrained, _teacher, _hold_out_val, _from_supernet, _export),
)
