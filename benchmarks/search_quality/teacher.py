"""A teacher for benchmarks: a linear classifier on the features of a pretrained network (docs/baselines.md)."""

import dataclasses
import functools
import time

import numpy as np

from models.baselines import linear_head, pretrained
from models.data import dataset

_VAL = 5  # one of so many training images chooses the regularisation


@dataclasses.dataclass(frozen=True)
class Teacher:
    """What a pretrained network knows of a set of images.

    Attributes:
        training: The training images with the teacher's scores.
        accuracy: Of the linear classifier on the held-out images.
        params: Number of parameters.
        teaching: Processor seconds for the scores.
        seconds: Processor seconds for the accuracy: as `teaching`, and training on all images. Without the features of
            the held-out images.
    """

    training: dataset.ImageDataset
    accuracy: float
    params: int
    teaching: float
    seconds: float


@functools.cache
def teach(path: str, training: dataset.ImageDataset, held_out: dataset.ImageDataset) -> Teacher:
    """Returns the teacher.

    Args:
        path: The pretrained network, a .keras file or the folder of a SavedModel.
        training: The training images, in any order.
        held_out: Images to evaluate on.
    """
    classes = len(training.class_names)
    network = pretrained.load(path, "", max(training.image_shape[:2]))
    began = time.process_time()
    features = pretrained.features(network, training, "teacher: training images")
    val = np.random.default_rng(0).permutation(len(training)) % _VAL == 0
    train, val = ((features[chosen], training.labels[chosen]) for chosen in (~val, val))
    head = linear_head.train_head(train, val, classes)
    scores = head.scores(features).astype(np.float32)
    teaching = time.process_time() - began
    best = linear_head.train_again(train, val, classes, head.strength)
    seconds = time.process_time() - began
    tested = best.scores(pretrained.features(network, held_out, "teacher: held-out images"))
    return Teacher(
        dataclasses.replace(training, scores=scores),
        float(np.mean(tested.argmax(axis=1) == held_out.labels)),
        network.params + best.weights.size,
        teaching,
        seconds,
    )
