"""Learning from a teacher: a network learns the probabilities that a better network gives to the classes.

This is the distillation of Hinton, Vinyals and Dean (arXiv 1503.02531). With the teacher's logits t and the network's
logits s of an image, a temperature T and a weight w, the loss of the image is

    (1 - w) * cross_entropy(label, softmax(s)) + w * T^2 * cross_entropy(softmax(t / T), softmax(s / T))

The gradients of the second term shrink with 1 / T^2; the factor T^2 keeps their size.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from models.data.dataset import ImageDataset
from models.runtime import artifact_files
from models.runtime.artifact_files import ArtifactError
from models.settings import Train


@dataclasses.dataclass(frozen=True)
class Distillation:
    """The settings of a distillation.

    Attributes:
        temperature: T, above 0.
        weight: w, above 0 and at most 1.
    """

    temperature: float
    weight: float

    @classmethod
    def of(cls, recipe: Train) -> "Distillation | None":
        """Returns the distillation of `config.train`; None without a teacher."""
        return cls(recipe.teacher_temperature, recipe.teacher_weight) if recipe.teacher else None

    def loss(self, hard: tf.Tensor, scores: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns the loss of a batch, a scalar.

        Args:
            hard: The mean cross-entropy of the labels, a scalar.
            scores: The teacher's logits, float32 (batch, classes).
            logits: The network's logits, float32 (batch, classes).
        """
        # Keras's loss, because it knows how many replicas share a batch.
        cross_entropy = keras.losses.CategoricalCrossentropy(from_logits=True)
        soft = cross_entropy(tf.nn.softmax(scores / self.temperature), logits / self.temperature)
        return (1 - self.weight) * hard + self.weight * self.temperature**2 * soft


@dataclasses.dataclass(frozen=True)
class SoftLabels:
    """A teacher's logits for the images of the final training.

    Attributes:
        scores: float32 (images, classes), in the order of the images.
        data: The fingerprint of these images (`ImageDataset.fingerprint`).
        fingerprint: A hash of the scores.
    """

    scores: np.ndarray
    data: str
    fingerprint: str

    @classmethod
    def load(cls, uri: str) -> "SoftLabels":
        """Reads the soft labels from the artifact's folder.

        Raises:
            ArtifactError: A file is missing or malformed.
        """
        data = artifact_files.TEACHER.load(uri, lambda document: document["data"])
        file = artifact_files.SOFT_LABELS
        return cls(file.load(uri)["scores"], data, file.fingerprint(uri))

    def of(self, data: ImageDataset) -> ImageDataset:
        """Returns the images with their scores.

        Raises:
            ArtifactError: The soft labels belong to other images.
        """
        if data.fingerprint != self.data or self.scores.shape != (len(data), len(data.class_names)):
            raise ArtifactError(
                f"{artifact_files.SOFT_LABELS.name} has the scores of {len(self.scores)} other images; expected those "
                f"of the {len(data)} images of the final training. Run {artifact_files.SOFT_LABELS.written_by} again."
            )
        return dataclasses.replace(data, scores=self.scores)
