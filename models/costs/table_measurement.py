"""Measures a latency table on this device (models/costs/latency_table.py)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from models.architectures.choices import Path
from models.costs import latency, runtimes
from models.costs.latency_table import LatencyTable, Networks, Operation, Whole
from models.costs.sites import Site, computed, reference_network, sites
from models.networks.operations import Identity
from models.runtime.messages import some
from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import network_options
from models.settings import Train

Stopwatch = Callable[[Sequence[keras.layers.Layer], tuple[int, int, int]], float]
"""Takes built layers and the shape of an image or a feature map, (height, width, channels). Returns the milliseconds in
which all layers are computed, each for an input of its own, and their outputs added."""

# An operation that takes less than SHORT milliseconds by itself is measured in COPIES, with weights of their own.
_SHORT, _COPIES = 1.0, 8
_SECONDS, _SECONDS_OF_A_NETWORK = 0.3, 1.0


def stopwatch(backend: str, threads: int, batch: int) -> Stopwatch:
    """Returns the stopwatch of this device.

    It returns what a tenth of the calls undercut: on an idle device this is close to the median, and on a busy one it
    depends much less on what else runs.

    Args:
        backend: One of `runtimes.BACKENDS`.
        threads: The threads of LiteRT; TensorFlow takes what `runtimes.set_threads` has set.
        batch: The images of a batch.
    """

    def timed(layers: Sequence[keras.layers.Layer], shape: tuple[int, int, int]) -> float:
        call = runtimes.ready(
            lambda *inputs: tf.add_n([layer(given) for layer, given in zip(layers, inputs, strict=True)]),
            [(batch, *shape)] * len(layers),
            backend,
            threads,
        )
        whole = isinstance(layers[0], keras.Model)
        return latency.measure(call, _SECONDS_OF_A_NETWORK if whole else _SECONDS).low

    return timed


def measure(
    path: str,
    space: SearchSpace,
    train: Train,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    backend: str,
    threads: int = 1,
    batch: int = 1,
    networks: int = 10,
    rounds: int = 3,
    seed: int = 0,
    timed: Stopwatch | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> LatencyTable:
    """Measures a table and writes it, or continues an earlier measurement.

    Args:
        path: The file of the table. What a killed measurement has measured is there and is kept.
        space: One of `models.costs.sites.SPACES`.
        train: `config.train`, which sizes the final network.
        image_shape: (height, width, channels) of an image.
        classes: Number of classes.
        backend: One of `runtimes.BACKENDS`.
        threads: The threads of the runtime.
        batch: The images of a batch.
        networks: The number of whole networks.
        rounds: The rounds in which they are measured. A short disturbance hits one round of a network, not its median.
        seed: Decides which networks are measured.
        timed: Measures; None for the stopwatch of this device.
        say: Takes a line about the progress.

    Raises:
        ValueError: The file has another table, or a setting does not fit the space.
    """
    timed = timed or stopwatch(backend, threads, batch)
    _, reference = reference_network(space, train, image_shape, classes)
    found = sites(space, reference)
    fresh = LatencyTable(
        device=runtimes.device(),
        backend=backend,
        threads=threads,
        batch=batch,
        networks=Networks.of(space, train, image_shape, classes),
        wanted=networks,
        rounds=rounds,
        places={
            choice: {operation: tuple(map(str, places)) for operation, places in operations.items()}
            for choice, operations in found.items()
        },
    )
    table = _continued(path, fresh)
    by_key = {str(site): site for operations in found.values() for places in operations.values() for site in places}
    began, done = time.monotonic(), 0
    steps = len(table.missing) + len(table.missing_networks)

    def told(what: str, ms: float) -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - began) / done * (steps - done)
        say(f"{done}/{steps}  {what}  {ms:.3f} ms  about {left:.0f} s left")

    empty: dict[int, float] = {}
    for key in table.missing:
        ms = _alone(by_key[key], timed, empty)
        operation = Operation(kind=by_key[key].kind, ms=ms)
        table = table.model_copy(update={"operations": {**table.operations, key: operation}})
        table.save(path)
        told(key, ms)
    paths = random_paths(space, networks, seed)
    for number in table.missing_networks:
        drawn = paths[number % networks]
        ms = timed([network_of(space, train, image_shape, classes, drawn)], image_shape)
        whole = Whole(path=table.used(space, drawn), ms=ms)
        table = table.model_copy(update={"whole": (*table.whole, whole)})
        table.save(path)
        told("a whole network", ms)
    return table


def random_paths(space: SearchSpace, count: int, seed: int) -> list[Path]:
    """Returns random derived architectures whose output depends on the image, different ones if there are enough.

    The derivation from random probabilities gives them. A path that is drawn operation by operation would have more
    edges than any derived network, if the cell space lacks the operation `none`.

    Args:
        space: One of `models.costs.sites.SPACES`.
        count: Their number.
        seed: Decides which.
    """
    generator = np.random.default_rng(seed)
    found: list[Path] = []
    for attempt in itertools.count():
        path = space.path(space.derive({c.name: generator.random(len(c.operations)).tolist() for c in space.choices}))
        if computed(space, path, constants=False) and (path not in found or attempt > 100 * count):
            found.append(path)
        if len(found) == count:
            return found


def network_of(
    space: SearchSpace, train: Train, image_shape: tuple[int, int, int], classes: int, path: Path
) -> keras.Model:
    """Returns the final network of an architecture, untrained."""
    return space.network(space.genotype(path), image_shape, classes, **network_options(space, train))


def _alone(site: Site, timed: Stopwatch, empty: dict[int, float]) -> float:
    """Returns the milliseconds of an operation without those of an empty call.

    Args:
        site: The operation.
        timed: Measures.
        empty: The empty calls so far: number of inputs -> milliseconds.
    """

    def without_call(count: int) -> float:
        if count not in empty:
            empty[count] = timed([Identity() for _ in range(count)], (1, 1, 1))
        return max(timed([site.built() for _ in range(count)], site.shape) - empty[count], 0.0)

    ms = without_call(1)
    return without_call(_COPIES) / _COPIES if ms < _SHORT else ms


def _continued(path: str, fresh: LatencyTable) -> LatencyTable:
    """Returns the table of a file if it is the same measurement, or a fresh one if there is no file."""
    if not tf.io.gfile.exists(path):
        return fresh
    with tf.io.gfile.GFile(path, "r") as file:
        earlier = LatencyTable.parse(file.read(), path)
    differences = [
        f"{name} {getattr(earlier, name)!r} instead of {getattr(fresh, name)!r}"
        for name in ("backend", "threads", "batch", "wanted")
        if getattr(earlier, name) != getattr(fresh, name)
    ]
    differences += [
        f"{name} {found!r} instead of {getattr(fresh.device, name)!r}"
        for name, found in earlier.device
        if found != getattr(fresh.device, name)
    ]
    differences += earlier.networks.differences(fresh.networks)
    moved = [
        f"{operation} of {choice}"
        for choice, operations in fresh.places.items()
        for operation, places in operations.items()
        if earlier.places.get(choice, {}).get(operation) != places
    ]
    if moved and not differences:
        differences = [f"other places of {some(moved)}"]
    if differences:
        raise ValueError(f"{path}: found another table: {'; '.join(differences)}. Remove it or name another file.")
    return earlier.model_copy(update={"rounds": fresh.rounds})
