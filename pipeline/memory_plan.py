"""Compares the memory that the steps of a run need with the available memory, and selects batch sizes that fit.

A batch size that was not given on the command line is lowered until it fits; the learning rates are lowered in
proportion. A batch size that was given and does not fit is refused. The batch sizes are stored in ROOT/memory.json, so
that a resumed run has the same batch sizes as the interrupted run, even if less memory is free.
"""

import contextlib
import itertools
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
from models.runtime.section import leaves
from models.search_spaces.registry import create_space
from models.settings import ConfigError, Settings

FILE_NAME = "memory.json"

# Memory of the process in addition to that of a stage: TFX, Beam, and remains of the ingest (docs/performance.md).
_PIPELINE = 250 * 2**20

_AMPLE = 0.5  # nothing is measured if the upper bound is at most this share of the available memory
_CARD = "the GPU's"

# The settings of each stage that are lowered with its batch.
_RATES = {
    stage: tuple(
        key.removeprefix(f"{stage}.")
        for key, _, note in leaves(Settings())
        if note.scales_with_batch and key.startswith(f"{stage}.")
    )
    for stage in ("search", "train")
}


def fit(config: ml_collections.ConfigDict, root: str, given: Collection[str]) -> Iterator[str]:
    """Lowers the batch sizes of a config, in place, until the steps fit into memory.

    Args:
        config: A valid config.
        root: The run's folder, which must exist.
        given: The settings on the command line, such as "search.batch_size". They are never changed.

    Yields:
        Lines for the person who started the run.

    Raises:
        ConfigError: A batch size on the command line does not fit, or no batch size fits.
    """
    if not _stages(config):
        return
    depends = json.loads(json.dumps(_depends(config, given)))
    path = os.path.join(root, FILE_NAME)
    decided = _read(path)
    if decided and decided.get("settings") == depends:
        for stage, batch in decided["batch_size"].items():
            _lower(config, stage, batch, given)
        yield f"Memory: batch sizes of an earlier run, from {path}: {_listed(decided['batch_size'])}."
        return
    told = yield from _decide(config, given)
    batches = {stage: config[stage].batch_size for stage in _stages(config)}
    from models.runtime.files import write_atomically

    write_atomically(path, json.dumps({"settings": depends, "batch_size": batches, "told": told}, indent=2))
    yield f"Memory: {told}."


def _stages(config):
    # A search by scores needs less memory than the final training: its networks are as large, its batches are small.
    # With a budget, the planner chooses a network and a batch of the training that fit.
    trained = not config.architecture and config.search.objective == "val_accuracy"
    return (*(["search"] if trained else []), *([] if config.budget.minutes else ["train"]))


def _decide(config, given):
    """Yields a line before each measurement. Returns a text with the batch size and the memory of each stage."""
    there = memory.limit()
    if there is None:
        return "not estimated, because this system does not report its free memory; the batch sizes are unchanged"
    images = images_of(Settings.parse(config).data)
    if images is None:
        return "not estimated, because the size of the images is unknown; the batch sizes are unchanged"
    told, heaviest = [], None
    for stage in _stages(config):
        batch = config[stage].batch_size
        kinds, how = _bound(config, stage, images, there), "at most "
        if kinds is None:
            yield f"Memory: measuring a step of the {stage} with small batches (about a minute, once per root)."
            measured = _measure(stage, config, images, heaviest, there)
            if "error" in measured:
                told.append(f"{stage} could not be measured ({measured['error']}), so its batch size remains {batch}")
                continue
            heaviest, kinds, how = measured["path"], _kinds(config, stage, images, measured, there), ""
        lowered = _choose(stage, batch, kinds, f"{stage}.batch_size" in given)
        rates = _lower(config, stage, lowered, given)
        need, has = max(kinds, key=lambda kind: kind[0].at(batch) / kind[1].bytes)
        line = f"{stage} in batches of {batch}: {how}{_gb(need.at(batch))} of {_gb(has.bytes)} {has.what}"
        told.append(f"{line}, lowered to {lowered} ({_gb(need.at(lowered))}; {rates})" if rates else line)
    return f"{'; '.join(told)}; {memory.RESERVE:.0%} kept in reserve"


def _depends(config, given):
    """Returns the values on which a decision depends; other values of these decide anew."""
    return {
        **{key: value for key, value, note in leaves(Settings.parse(config)) if note.memory},
        **({"budget": True} if config.budget.minutes else {}),
        "given": sorted(key for key in given if key.endswith(".batch_size")),
    }


def _read(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return None


def _lower(config, stage, batch, given) -> str:
    """Sets a stage's batch size and adapts its learning rates. Returns a text about the learning rates."""
    settings = config[stage]
    if batch == settings.batch_size:
        return ""
    factor = batch / settings.batch_size
    settings.batch_size = batch
    if f"{stage}.learning_rate" in given:
        return "learning rate as given"
    rates = [name for name in _RATES[stage] if f"{stage}.{name}" not in given]
    for name in rates:
        settings[name] *= factor
    if "min_learning_rate" in settings:  # the learning rate does not fall below a given minimum
        settings.learning_rate = max(settings.learning_rate, settings.min_learning_rate)
    return f"learning rate {settings.learning_rate:.3g}"


def _choose(stage: str, batch: int, kinds: list[tuple[Need, memory.Limit]], given: bool) -> int:
    """Returns the batch size of the config if it fits, and otherwise the largest batch size that fits."""
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
    """Returns an upper bound of the need and its limit. None if the bound is unknown or not far below the limit."""
    settings = Settings.parse(config)
    space = create_space(settings.space)
    bound = memory.most(space, getattr(settings, stage), images["shape"])
    # An architecture from a file may have custom operations or a custom backbone.
    known = not config.architecture or (config.architecture in presets.PRESETS and space.name == "cell")
    if bound is None or not known or _has_gpu():
        return None
    need = Need(bound.fixed + images["bytes"], bound.per_image)
    return [(need, there)] if need.at(config[stage].batch_size) <= _AMPLE * there.bytes else None


def _has_gpu():
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _kinds(config, stage, images, measured, there):
    """Returns pairs of need and limit: for the memory of this process and, if there is a GPU, for the GPU's memory."""
    programs = config.search.traced_architectures if stage == "search" else 1
    extra = {"host": _PIPELINE + images["bytes"], "card": 0}
    limits = {"host": there, "card": memory.Limit(measured.get("card_bytes", 0), _CARD)}
    return [
        (Need(need["fixed"] + (programs - 1) * need["program"] + extra[kind], need["per_image"]), limits[kind])
        for kind, need in measured.items()
        if kind in limits
    ]


def _measure(stage, config, images, heaviest, there) -> dict[str, Any]:
    """Returns the measurement of `models.memory_probe`, made in a separate process, or its failure as `error`."""
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


def images_of(data) -> dict[str, Any] | None:
    """Returns `shape`, number of `classes` and `bytes` in memory of the training images; None if the size is unknown.

    Raises:
        DataError: The data cannot be used. This is reported before anything is measured.
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
        encoded = count * math.prod(shape)  # as large as the pixels: a PNG cannot compress noise
    return {
        "shape": shape,
        "classes": max(classes, 2),
        "bytes": memory.decoded_bytes(count, shape, data.cache_mb) + encoded,
    }


def _folder(data):
    """Returns the shape of an image (0: unknown), and the numbers of classes, of train and val images, and of bytes."""
    import tensorflow as tf

    from components.tfds_example_gen import folder

    found = folder.scan(data.image_folder)
    listed = [paths for split, paths in found.paths.items() if split != "test"]

    def paths():
        return (os.path.join(found.path, path) for path in itertools.chain(*listed))

    encoded = 0
    if data.store == "original" or not data.image_size:
        with contextlib.suppress(tf.errors.OpError):  # for example a dangling link, which the ingest reports
            encoded = sum(tf.io.gfile.stat(path).length for path in paths())
    return next(_shapes(paths()), (0, 0, 3)), len(found.class_names), sum(map(len, listed)), encoded


def _shapes(paths) -> Iterator[tuple[int, int, int]]:
    """Yields height, width and channels of the images that can be read; the ingest reports the others."""
    import tensorflow as tf

    from models.data import image_file

    for path in paths:
        with contextlib.suppress(image_file.UnreadableImage, tf.errors.OpError):
            with tf.io.gfile.GFile(path, "rb") as file:
                header = image_file.inspect(file.read())
            yield header.height, header.width, header.channels


def _data_set(source):
    """Returns the same four values as `_folder` for a TFDS data set, as far as TFDS knows them without its files."""
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
