"""Before a run: what its steps need of memory beside what there is, and batches that fit.

A batch size that was not given on the command line is lowered to what fits, the learning rate in proportion; one that
was given and does not fit is refused. What was decided stays in ROOT/memory.json, so that a resumed run has the batches
of the interrupted one, however much memory is free then.
"""

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from typing import Any

import ml_collections

from models import memory
from models.architectures import presets
from models.memory import Need
from models.search_spaces.registry import create_space
from models.settings import ConfigError, Settings

FILE_NAME = "memory.json"

# What the process holds besides a stage: TFX, Beam and what the components before it leave (docs/performance.md).
_PIPELINE = 250 * 2**20

_AMPLE = 0.5  # share of the memory there is below which a generous bound is enough
_CARD = "the GPU's"

_RATES = ("learning_rate", "min_learning_rate")

# What a decision depends on; another value of these decides anew.
_DEPENDS = {
    "data": ("name", "version", "image_folder", "image_size", "channels", "cache_mb", "store"),
    "search": (
        *("objective", "batch_size", "learning_rate", "min_learning_rate", "cells", "channels"),
        *("mixed_precision", "xla", "traced_architectures"),
    ),
    "train": (
        *("batch_size", "learning_rate", "network", "cells", "channels", "auxiliary_weight", "ema"),
        *("mixed_precision", "xla"),
    ),
}


def fit(config: ml_collections.ConfigDict, root: str, given: Collection[str]) -> Iterator[str]:
    """Lowers the batch sizes of a config to what fits, in place, and says so.

    Args:
        config: Valid.
        root: Folder of the run, which exists.
        given: Keys that the command line gave, such as "search.batch_size": they are never changed.

    Yields:
        Lines for the person who started the run.

    Raises:
        ConfigError: A batch size that was given does not fit, or none does.
    """
    if not _stages(config):
        return
    depends = json.loads(json.dumps(_depends(config, given)))
    path = os.path.join(root, FILE_NAME)
    decided = _read(path)
    if decided and decided.get("settings") == depends:
        for stage, batch in decided["batch_size"].items():
            _lower(config, stage, batch, given)
        yield f"Memory: batches as decided before ({path}): {_listed(decided['batch_size'])}."
        return
    told = yield from _decide(config, given)
    batches = {stage: config[stage].batch_size for stage in _stages(config)}
    from models.runtime.files import write_atomically

    write_atomically(path, json.dumps({"settings": depends, "batch_size": batches, "told": told}, indent=2))
    yield f"Memory: {told}."


def _stages(config):
    # A search that trains nothing needs less than the training: few images, and the same network. With a budget the
    # planner chooses a network and a batch of the training that fit.
    trained = not config.architecture and config.search.objective == "val_accuracy"
    return (*(["search"] if trained else []), *([] if config.budget.minutes else ["train"]))


def _decide(config, given):
    """Yields what is being done; returns what was decided, for the heaviest architecture of each stage."""
    there = memory.limit()
    if there is None:
        return "not estimated, as this system does not say how much is free; batches stay as they are"
    images = _images(Settings.parse(config).data)
    if images is None:
        return "not estimated, as the size of the images is not known; batches stay as they are"
    told, heaviest = [], None
    for stage in _stages(config):
        batch = config[stage].batch_size
        kinds, how = _bound(config, stage, images, there), "at most "
        if kinds is None:
            yield f"Memory: measuring a step of the {stage} at small batches, a minute or so, once."
            measured = _measure(stage, config, images, heaviest, there)
            if "error" in measured:
                told.append(f"{stage} could not be measured ({measured['error']}), its batch stays at {batch}")
                continue
            heaviest, kinds, how = measured["path"], _kinds(config, stage, images, measured, there), ""
        lowered = _choose(stage, batch, kinds, f"{stage}.batch_size" in given)
        rates = _lower(config, stage, lowered, given)
        need, has = max(kinds, key=lambda kind: kind[0].at(batch) / kind[1].bytes)
        line = f"{stage} in batches of {batch}: {how}{_gb(need.at(batch))} of {_gb(has.bytes)} {has.what}"
        told.append(f"{line}, lowered to {lowered} ({_gb(need.at(lowered))}; {rates})" if rates else line)
    return f"{'; '.join(told)}; {memory.RESERVE:.0%} kept in reserve"


def _depends(config, given):
    settings = config.to_dict()
    return {
        **{section: {name: settings[section][name] for name in names} for section, names in _DEPENDS.items()},
        **{name: settings[name] for name in ("space", "architecture", "deterministic", "tuned_kernels")},
        **({"budget": True} if config.budget.minutes else {}),
        "given": sorted(key for key in given if key.split(".")[-1] in ("batch_size", *_RATES)),
    }


def _read(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return None


def _lower(config, stage, batch, given) -> str:
    """Sets a stage's batch size and what goes with it; returns what was changed besides."""
    settings = config[stage]
    if batch == settings.batch_size:
        return ""
    factor = batch / settings.batch_size
    settings.batch_size = batch
    if f"{stage}.learning_rate" in given:
        return "learning rate as given"
    rates = [name for name in _RATES if name in settings and f"{stage}.{name}" not in given]
    for name in rates:
        settings[name] *= factor
    if "min_learning_rate" in settings:  # one that was given stays the lower of the two
        settings.learning_rate = max(settings.learning_rate, settings.min_learning_rate)
    return f"learning rate {settings.learning_rate:.3g}"


def _choose(stage: str, batch: int, kinds: list[tuple[Need, memory.Limit]], given: bool) -> int:
    """Returns the batch size to take: the one that is set where it fits, else the largest that does."""
    tight = [(need, has) for need, has in kinds if need.at(batch) > has.bytes * (1 - memory.RESERVE)]
    if not tight:
        return batch
    largest = min(need.largest(has.bytes * (1 - memory.RESERVE)) for need, has in tight)
    need, has = max(tight, key=lambda kind: kind[0].at(batch) / kind[1].bytes)
    found = (
        f"config.{stage}.batch_size is {batch}, which needs {_gb(need.at(batch))} with the heaviest architecture; "
        f"{_gb(has.bytes)} are {has.what}, of which {memory.RESERVE:.0%} is kept in reserve."
    )
    if largest < 2:
        raise ConfigError(
            f"{found} No batch fits: lower config.data.image_size, config.{stage}.channels or config.{stage}.cells."
        )
    if given:
        raise ConfigError(f"{found} The largest that fits is --config.{stage}.batch_size={largest}.")
    return largest


def _bound(config, stage, images, there):
    """Returns the need that is certainly not exceeded, where that is little beside what there is; else None."""
    settings = Settings.parse(config)
    space = create_space(settings.space)
    bound = memory.most(space, getattr(settings, stage), images["shape"])
    # An architecture from a file may have operations and a backbone of its own.
    known = not config.architecture or (config.architecture in presets.PRESETS and space.name == "cell")
    if bound is None or not known or _has_gpu():
        return None
    need = Need(bound.fixed + images["bytes"], bound.per_image)
    return [(need, there)] if need.at(config[stage].batch_size) <= _AMPLE * there.bytes else None


def _has_gpu():
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _kinds(config, stage, images, measured, there):
    """Returns pairs of need and limit: this process's memory and, where there is one, the GPU's."""
    programs = config.search.traced_architectures if stage == "search" else 1
    extra = {"host": _PIPELINE + images["bytes"], "card": 0}
    limits = {"host": there, "card": memory.Limit(measured.get("card_bytes", 0), _CARD)}
    return [
        (Need(need["fixed"] + (programs - 1) * need["program"] + extra[kind], need["per_image"]), limits[kind])
        for kind, need in measured.items()
        if kind in limits
    ]


def _measure(stage, config, images, heaviest, there) -> dict[str, Any]:
    """Returns what `models.memory_probe` measured, in a process of its own, or why it could not."""
    request = {
        "stage": stage,
        "config": config.to_dict(),
        "image_shape": images["shape"],
        "classes": images["classes"],
        "path": heaviest,
        "room": there.bytes,
    }
    done = subprocess.run(
        [sys.executable, "-m", "models.memory_probe"], input=json.dumps(request), capture_output=True, text=True
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"the measuring process ended with {done.returncode}"]
        return {"error": last[0]}
    return json.loads(done.stdout.splitlines()[-1])


def _images(data) -> dict[str, Any] | None:
    """Returns `shape`, number of `classes` and the `bytes` in memory of the training images; None if not known.

    Raises:
        DataError: The data cannot be used; who named them need not wait until something was measured.
    """
    from components.tfds_example_gen.source import Source

    source = Source(data)
    source.check()
    (height, width, channels), classes, count, encoded = _folder(data) if data.image_folder else _data_set(source)
    if data.image_size:
        height = width = data.image_size
    if not height or not width:
        return None
    shape = (height, width, data.channels or channels or 3)
    if data.image_size and data.store == "resized":
        encoded = count * math.prod(shape)  # of noise, which a PNG cannot make smaller
    return {
        "shape": shape,
        "classes": max(classes, 2),
        "bytes": memory.decoded_bytes(count, shape, data.cache_mb) + encoded,
    }


def _folder(data):
    """Returns an image's shape (0: unknown), the classes, the images to train and validate with, and their bytes."""
    import tensorflow as tf

    from components.tfds_example_gen import folder

    found = folder.scan(data.image_folder)
    paths = [
        os.path.join(found.path, path) for split in found.splits if split != "test" for path in found.items(split)[0]
    ]
    encoded = 0
    if data.store == "original" or not data.image_size:
        with contextlib.suppress(tf.errors.OpError):  # a dangling link, say; the ingest names it
            encoded = sum(tf.io.gfile.stat(path).length for path in paths)
    return next(_shapes(paths), (0, 0, 3)), len(found.class_names), len(paths), encoded


def _shapes(paths) -> Iterator[tuple[int, int, int]]:
    """Yields height, width and channels of the images that can be read; the ingest says what is wrong with others."""
    import tensorflow as tf

    from models.data import image_file

    for path in paths:
        with contextlib.suppress(image_file.UnreadableImage, tf.errors.OpError):
            with tf.io.gfile.GFile(path, "rb") as file:
                header = image_file.inspect(file.read())
            yield header.height, header.width, header.channels


def _data_set(source):
    """Returns the same of a TFDS data set, as far as TFDS knows it without its files."""
    import tensorflow_datasets as tfds

    info = source.builder().info
    features = list(info.features.values())
    shape = next((feature.shape for feature in features if isinstance(feature, tfds.features.Image)), (None, None, 3))
    classes = next((f.num_classes for f in features if isinstance(f, tfds.features.ClassLabel)), None)
    count = info.splits["train"].num_examples if "train" in info.splits else 0
    return tuple(side or 0 for side in shape), classes or 2, count, int(info.dataset_size or 0)


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def _listed(batches):
    return ", ".join(f"{stage} {batch}" for stage, batch in batches.items())
