"""The baselines: a function for each, which trains the baseline and classifies the test images with it."""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tfx.types import artifact

from components.examples import load_split, load_splits
from models.architectures.genotype import genotype_from_dict
from models.baselines import fitting, linear_head, networks, pretrained, verdict
from models.baselines.fitting import Limits, Outcome
from models.data.dataset import ImageDataset
from models.networks import profiling
from models.runtime import artifact_files, checkpoint
from models.runtime.section import TRAINING
from models.settings import Baselines, Settings
from models.training.distillation import SoftLabels

_MOST_EPOCHS = 100  # of the plain CNN: it gains nothing from more epochs


@dataclasses.dataclass(frozen=True)
class Run:
    """The data that all baselines use.

    Attributes:
        asked: `config.baselines`.
        files: A fingerprint of the pretrained network's files (`pretrained.fingerprint`).
        settings: The settings of the final training.
        final: The Trainer's record of the final training.
        seconds: The seconds of search and final training together.
        examples: The artifact with the examples.
        test: The test images.
        checkpoint_dir: The folder of the checkpoints of all baselines.
        uri: The folder of the output artifact.
        teacher: The folder of the teacher's artifact; None without a teacher.
    """

    asked: Baselines
    files: str
    settings: Settings
    final: Mapping[str, Any]
    seconds: float
    examples: list[artifact.Artifact]
    test: ImageDataset
    checkpoint_dir: str
    uri: str
    teacher: str | None = None

    @functools.cached_property
    def train(self) -> ImageDataset:
        """The images of the final training."""
        return load_splits(self.examples, self.settings.train.splits, self.settings.data)

    @functools.cached_property
    def taught(self) -> tuple[ImageDataset, list[str]]:
        """The images of the final training, and a list.

        If the final training had a teacher, the images have the teacher's scores, and the list contains the fingerprint
        of these scores. Otherwise the list is empty.
        """
        if not self.settings.train.teacher:
            return self.train, []
        found = SoftLabels.load(self.teacher)
        return found.of(self.train), [found.fingerprint]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.test.class_names)

    def limits(self, most: int, spent: float = 0.0) -> Limits:
        """Returns how long a baseline is trained.

        Args:
            most: The largest number of epochs.
            spent: The seconds that the baseline has used so far. They are subtracted from its time.
        """
        return Limits(self.asked.epochs, self.asked.time_share * self.seconds - spent, most)

    def directory(self, name: str, *depends: Any) -> str:
        """Returns the folder of a baseline's checkpoints.

        Args:
            name: The baseline.
            depends: Values on which the result of this baseline depends, besides those that are common to all. Other
                values give another folder.
        """
        key = checkpoint.fingerprint(
            (self.asked.epochs, self.asked.time_share),
            (self.final["genotype"], self.settings.key(TRAINING)),
            (self.train.fingerprint, self.test.fingerprint),
            *depends,
        )
        return os.path.join(self.checkpoint_dir, name, key)

    def log_dir(self, name: str) -> str:
        """Returns the folder of the TensorBoard logs of a baseline's training."""
        return os.path.join(self.uri, "logs", name)


def _majority(run: Run) -> Outcome:
    label = np.bincount(run.test.labels).argmax()  # no constant answer is more accurate
    return Outcome(
        np.full(len(run.test), label, np.int32),
        verdict.Cost(0, 0, 0.0, details=f"always answers {run.test.class_names[label]!r}"),
    )


def _cnn(run: Run, teacher: bool = False) -> Outcome:
    name = "cnn_distilled" if teacher else "cnn"
    recipe = networks.cnn_recipe(run.settings.train, teacher)
    data, depends = run.taught if teacher else (run.train, [])
    directory = run.directory(name, *depends)
    return fitting.kept(
        directory,
        lambda: fitting.fit(
            name,
            lambda: networks.cnn_classifier(recipe, run.test.image_shape, run.classes),
            run.settings.model_copy(update={"train": recipe}),
            run.limits(_MOST_EPOCHS),
            data,
            run.test,
            directory,
            run.log_dir(name),
        ),
    )


def _preset(run: Run) -> Outcome:
    found = networks.preset(genotype_from_dict(run.final["genotype"]))
    settings = networks.preset_settings(run.settings, min(run.test.image_shape[:2]))
    data, depends = run.taught
    directory = run.directory("preset", found.name, *depends)

    def classifier(channels):
        return networks.preset_classifier(found, settings, channels, run.test.image_shape, run.classes)

    def choose():
        began = time.monotonic()
        channels = networks.channels_for(
            run.final["macs"],
            lambda channels: profiling.profile(classifier(channels).network).macs,
            step=2 if settings.train.network == "imagenet" else 1,
        )
        return {"channels": channels, "seconds": time.monotonic() - began}

    def train():
        chosen, seconds = fitting.once(os.path.join(directory, "network.json"), choose).values()
        outcome = fitting.fit(
            "preset",
            lambda: classifier(chosen),
            settings,
            run.limits(settings.train.epochs, seconds),
            data,
            run.test,
            directory,
            run.log_dir("preset"),
        )
        details = f"{found.name}, {settings.train.cells} cells, {chosen} channels"
        cost = dataclasses.replace(outcome.cost, seconds=outcome.cost.seconds + seconds, details=details)
        return dataclasses.replace(outcome, cost=cost)

    return fitting.kept(directory, train)


def _pretrained(run: Run) -> Outcome:
    directory = run.directory("pretrained", run.asked.pretrained, run.asked.weights, run.files)
    if run.teacher:
        found, strength = _of_the_teacher(run.teacher)
    else:
        fitting.set_up(run.settings)
        found = pretrained.extract(
            run.asked.pretrained,
            run.asked.weights,
            lambda split: run.test if split == "test" else load_split(run.examples, split, run.settings.data),
            os.path.join(directory, "features"),
        )
        artifact_files.FEATURES.save(run.uri, found.arrays)
        strength = None
    return fitting.kept(directory, lambda: _linear(run, found, strength))


def _of_the_teacher(uri: str) -> tuple[pretrained.Features, float]:
    """Returns the features that the Teacher has computed, and the regularisation that it has chosen."""
    document = artifact_files.TEACHER.load(uri, dict)
    cost = {name: document[name] for name in ("params", "macs", "seconds")}
    return pretrained.Features(artifact_files.FEATURES.load(uri), **cost), document["strength"]


def _linear(run: Run, found: pretrained.Features, strength: float | None) -> Outcome:
    """Returns the outcome of the linear classifier; `strength` is the regularisation, None if it is not yet chosen."""
    began = time.monotonic()
    train, val = found.split("train"), found.split("val")
    if strength is None:
        strength = linear_head.train_head(train, val, run.classes).strength
    head = linear_head.train_again(train, val, run.classes, strength)
    features = found.arrays["test"]
    weights = features.shape[1] * run.classes
    cost = verdict.Cost(
        params=found.params + weights + run.classes,
        macs=None if found.macs is None else found.macs + weights,
        seconds=found.seconds + time.monotonic() - began,
        details=f"{os.path.basename(run.asked.pretrained.rstrip('/'))}, regularisation {strength:g}",
    )
    return Outcome(head.scores(features).argmax(axis=1).astype(np.int32), cost)


BASELINES: Mapping[str, Callable[[Run], Outcome]] = {
    "majority": _majority,
    "cnn": _cnn,
    "cnn_distilled": functools.partial(_cnn, teacher=True),
    "preset": _preset,
    "pretrained": _pretrained,
}
