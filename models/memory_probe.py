"""Measures what a step of the search or of the final training needs, in a process of its own: small batches, a line.

    python -m models.memory_probe < request.json

The request is what `measure` takes (or, with a `batch`, `peak`), the last line of the output what it returns, as JSON.
The steps are those of the search and of the final training, on noise in place of images.
"""

import functools
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from models import memory
from models.architectures import presets
from models.data import dataset
from models.runtime import setup
from models.search import tuner
from models.search_spaces import registry
from models.search_spaces.base import SearchSpace
from models.settings import Settings
from models.training import classifier

_STEPS = 3  # from the second on all buffers are there
# Of forward activations at the larger batch. Tensors of small batches are laid out less densely by the allocator: a
# line through them alone is up to half too steep.
_MEASURED_BYTES = 2.5e9


def measure(
    stage: str,
    config: Mapping[str, Any],
    image_shape: tuple[int, int, int],
    classes: int,
    path: Mapping[str, str] | None = None,
    room: float = math.inf,
) -> dict[str, Any]:
    """Returns what a stage needs with the heaviest architecture of its space, or with the one that the config names.

    Args:
        stage: "search" or "train".
        config: All settings; no batch is larger than the stage's `batch_size` (or 4).
        image_shape: Height, width, channels.
        classes: At least 2.
        path: The heaviest path, where it is known already.
        room: Bytes there are; about half of them is used at most.

    Returns:
        `host` and, on a GPU, `card`: memory of the process and of the card, each as `fixed`, `per_image` (as in
        `models.memory.Need`) and `program`, the bytes that every further architecture adds which is kept traced.
        `card_bytes`: what TensorFlow may take of the card. `path`: the heaviest path, None where it was not needed.
    """
    steps = _steps(stage, config, image_shape, classes, path)
    large = max(4, min(steps.batch_size, int(min(_MEASURED_BYTES, room / 3) / steps.bytes_per_image())))
    small = max(2, large // 4)
    if stage == "search":
        # The second architecture shows what a program adds. The larger batch needs one, too, and room that the smaller
        # left in pieces is of no use to it: in this process it would seem to need a fifth more than it does.
        first, second = steps.peaks([(steps.path, small), (steps.second, small)])
        last = _peak_elsewhere(stage, config, image_shape, classes, steps.path, large)
    else:
        first, last = steps.peaks([(steps.path, small), (steps.path, large)])
        second = first
    needs = {"path": steps.path}
    for kind in first:
        need = memory.line((small, first[kind]), (large, last[kind]))
        needs[kind] = {"fixed": need.fixed, "per_image": need.per_image, "program": second[kind] - first[kind]}
    if "card" in needs:
        from tensorflow.python.client import device_lib

        needs["card_bytes"] = next(d.memory_limit for d in device_lib.list_local_devices() if d.device_type == "GPU")
    return needs


def peak(stage: str, config: Mapping[str, Any], image_shape, classes: int, path: Mapping[str, str] | None, batch: int):
    """Returns the peaks, `host` and perhaps `card`, of this process after a few steps of one batch.

    Arguments are those of `measure`; `batch` is the number of images.
    """
    steps = _steps(stage, config, image_shape, classes, path)
    return steps.peaks([(steps.path, batch)])[0]


def _peak_elsewhere(*arguments):
    names = ("stage", "config", "image_shape", "classes", "path", "batch")
    asked = json.dumps(dict(zip(names, arguments, strict=True)))
    command = [sys.executable, "-m", "models.memory_probe"]
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _steps(stage, config, image_shape, classes, path):
    settings = Settings.parse(config)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    setup.set_up(
        seed=settings.seed,
        deterministic=settings.deterministic,
        tuned_kernels=settings.tuned_kernels,
        mixed_precision=(settings.search if stage == "search" else settings.train).mixed_precision,
    )
    return {"search": _Search, "train": _Training}[stage](settings, tuple(image_shape), classes, path)


class _Search:
    """Steps of the search."""

    def __init__(self, settings, image_shape, classes, path):
        self._search, self._image_shape, self._classes = settings.search, image_shape, classes
        space = registry.create_space(settings.space)
        with setup.strategy().scope():
            self._trainer = tuner.path_trainer(space, settings.search, image_shape, classes)
        self.batch_size = settings.search.batch_size
        self.path, self.second = (path, path) if path else heaviest(space, self._trainer.supernet, image_shape)

    def bytes_per_image(self):
        supernet = self._trainer.supernet
        return forward_bytes(lambda images: supernet(images, path=self.path, training=True), self._image_shape)

    def peaks(self, runs):
        """Returns the peaks after the steps of each path with a batch, smaller ones first."""
        peaks, search = [], self._search
        augment = dataset.Augmentation.of(search)
        for path, batch in runs:
            batches = dataset.batches(_noise(self._image_shape, self._classes, batch), batch, epoch=0, augment=augment)
            self._trainer.train_epoch(path, batches, search.learning_rate)
            peaks.append(_peaks())
        return peaks


class _Training:
    """Steps of the final training; its one architecture is `path` and `second`."""

    def __init__(self, settings, image_shape, classes, path):
        self._recipe, self._image_shape, self._classes = settings.train, image_shape, classes
        space = registry.create_space(settings.space)
        if settings.architecture:
            architecture, _ = presets.resolve_architecture(settings.architecture)
        else:
            if path is None:
                options = registry.supernet_options(space, settings.search)
                path, _ = heaviest(space, space.supernet(image_shape, classes, **options), image_shape)
            architecture = space.derive(
                {
                    choice.name: [float(name == path[choice.name]) for name in choice.operations]
                    for choice in space.choices
                }
            )
        self._strategy = setup.strategy()
        with self._strategy.scope():
            self._network = classifier.build_network(settings, architecture, image_shape, classes)
            self._classifier = classifier.Classifier(self._network, settings.train.auxiliary_weight)
            classifier.compile_classifier(self._classifier, settings.train)
        classifier.prepare(self._classifier, image_shape, classes)
        self.batch_size = settings.train.batch_size
        self.path = self.second = path

    def bytes_per_image(self):
        return forward_bytes(lambda images: self._network(images, training=True), self._image_shape)

    def peaks(self, runs):
        """Returns the peaks after the steps of each batch, smaller ones first."""
        recipe = self._recipe
        augment = dataset.Augmentation.of(recipe)
        parts = [
            dataset.batches(
                _noise(self._image_shape, self._classes, batch), batch, epoch=0, augment=augment, one_hot=True
            )
            for _, batch in runs
        ]
        # One dataset of all sizes, so that the step is traced once.
        joined = functools.reduce(tf.data.Dataset.concatenate, parts)
        iterator = iter(self._strategy.experimental_distribute_dataset(joined))
        peaks = []
        for _ in runs:
            for _ in range(_STEPS):
                self._classifier.train_function(iterator)
            peaks.append(_peaks())
        return peaks


def heaviest(space: SearchSpace, supernet: Callable[..., tf.Tensor], image_shape: tuple[int, int, int]):
    """Returns the path whose forward program has the most bytes of tensors, and the one next to it.

    Operations are ranked by the paths that take one wherever it is offered; each choice then takes its heaviest.

    Args:
        space: Where to search.
        supernet: The space's.
        image_shape: Height, width, channels.
    """
    names = dict.fromkeys(name for choice in space.choices for name in choice.operations)

    def cost(name):
        path = {c.name: name if name in c.operations else c.operations[0] for c in space.choices}
        return forward_bytes(lambda images: supernet(images, path=path, training=True), image_shape)

    costs = {name: cost(name) for name in names}
    ranked = {choice.name: sorted(choice.operations, key=costs.get, reverse=True) for choice in space.choices}
    return tuple({name: order[min(rank, len(order) - 1)] for name, order in ranked.items()} for rank in (0, 1))


def forward_bytes(network: Callable[[tf.Tensor], Any], image_shape: tuple[int, int, int], batch: int = 32) -> float:
    """Returns the bytes of all tensors of a forward program, for each image; it is traced, not run.

    Args:
        network: Called on float32 images (batch, height, width, channels).
        image_shape: Height, width, channels.
        batch: Images, so many that what does not grow with them hardly counts.
    """
    program = tf.function(network, autograph=False).get_concrete_function(tf.TensorSpec((batch, *image_shape)))
    outputs = [output for operation in program.graph.get_operations() for output in operation.outputs]
    return (
        sum(
            output.dtype.size * (output.shape.num_elements() or 0)
            for output in outputs
            if output.dtype not in (tf.resource, tf.variant, tf.string)
        )
        / batch
    )


def _noise(image_shape, classes, batch):
    random = np.random.default_rng(0)
    count, channels = _STEPS * batch, image_shape[2]
    return dataset.ImageDataset(
        images=random.integers(0, 256, (count, *image_shape), np.uint8),
        labels=random.integers(0, classes, count, np.int32),
        ids=np.arange(count).astype(bytes),
        class_names=tuple(map(str, range(classes))),
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
    )


def _peaks():
    """Returns the peaks so far: of this process, and of the first GPU (each replica's has its share of the batch)."""
    with open("/proc/self/status") as file:
        peak = next(line for line in file if line.startswith("VmHWM"))
    peaks = {"host": int(peak.split()[1]) * 1024}
    if tf.config.list_physical_devices("GPU"):
        peaks["card"] = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return peaks


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps(peak(**asked) if "batch" in asked else measure(**asked)))
