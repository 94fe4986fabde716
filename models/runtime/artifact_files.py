"""Every file inside an artifact: its name, its writer and its reader, in one place.

The files lie directly in the artifact's folder, but for those of a SavedModel and of a front. The code that uses a
document knows its meaning; this file checks that the document exists and is well-formed.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from models.runtime import checkpoint
from models.runtime.files import write_atomically

_Parsed = TypeVar("_Parsed")


class ArtifactError(ValueError):
    """A file of an artifact is missing or malformed; the message names the file."""


@dataclasses.dataclass(frozen=True)
class ArtifactFile:
    """A file of an artifact.

    Attributes:
        name: Its path in the artifact's folder.
        written_by: The component whose output it is.
    """

    name: str
    written_by: str

    def path(self, uri: str) -> str:
        """Returns where the file is.

        Args:
            uri: The artifact's folder.
        """
        return os.path.join(uri, self.name)

    def exists(self, uri: str) -> bool:
        """Returns whether the file exists."""
        return tf.io.gfile.exists(self.path(uri))

    def write(self, uri: str, content: str | bytes) -> None:
        """Writes the file, whole or not at all; its folder is made when missing."""
        path = self.path(uri)
        tf.io.gfile.makedirs(os.path.dirname(path))
        write_atomically(path, content)

    def read(self, uri: str) -> bytes:
        """Returns the file's content.

        Raises:
            ArtifactError: It does not exist.
        """
        try:
            with tf.io.gfile.GFile(self.path(uri), "rb") as file:
                return file.read()
        except tf.errors.NotFoundError:
            raise ArtifactError(f"{self.path(uri)} does not exist; run {self.written_by} again.") from None

    def fingerprint(self, uri: str) -> str:
        """Returns the SHA-256 of the file's content.

        Raises:
            ArtifactError: It does not exist.
        """
        return hashlib.sha256(self.read(uri)).hexdigest()

    def parsed(self, uri: str, parse: Callable[[bytes], _Parsed]) -> _Parsed:
        """Returns what `parse` makes of the content.

        Raises:
            ArtifactError: The file does not exist, or `parse` cannot use it.
        """
        content = self.read(uri)
        try:
            return parse(content)
        except (KeyError, TypeError, ValueError, AttributeError, EOFError) as error:
            raise ArtifactError(f"{self.path(uri)} is malformed: {error!r}. Run {self.written_by} again.") from error


class JsonFile(ArtifactFile):
    """A file with a JSON document."""

    def save(self, uri: str, document: Any) -> None:
        """Writes a document; the numbers come back as they were, to the last bit."""
        self.write(uri, json.dumps(document, indent=1))

    def load(self, uri: str, parse: Callable[[Any], _Parsed]) -> _Parsed:
        """Returns what `parse` makes of the document.

        Raises:
            ArtifactError: The file does not exist, or `parse` cannot use it.
        """
        return self.parsed(uri, lambda content: parse(json.loads(content)))


class ArraysFile(ArtifactFile):
    """A file with named arrays."""

    def save(self, uri: str, arrays: dict[str, np.ndarray]) -> None:
        """Writes the arrays."""
        self.write(uri, checkpoint.pack(arrays))

    def load(self, uri: str) -> dict[str, np.ndarray]:
        """Returns the arrays.

        Raises:
            ArtifactError: The file does not exist, or holds no arrays.
        """
        return self.parsed(uri, checkpoint.unpack)


DATASET_INFO = JsonFile("dataset_info.json", "TfdsExampleGen")
IMAGE_REPORT = JsonFile("image_report.json", "ImageValidator")
TEACHER = JsonFile("teacher.json", "Teacher")
SOFT_LABELS = ArraysFile("soft_labels.npz", "Teacher")
PLAN = JsonFile("plan.json", "SearchPlanner or TrainingPlanner")
LATENCY_TABLE = JsonFile("latency_table.json", "LatencyTable")
DISTRIBUTION = JsonFile("distribution.json", "SupernetSearch")
PREDICTION = JsonFile("prediction.json", "SupernetSearch")
SUPERNET = ArraysFile("supernet.npz", "SupernetSearch")
INHERITED = ArraysFile("inherited.npz", "SupernetSearch")
EPOCHS = JsonFile("epochs.json", "SupernetSearch")
GENOTYPE = JsonFile("genotype.json", "ArchitectureDeriver or ArchitectureImporter")
DERIVATION = JsonFile("derivation.json", "ArchitectureDeriver or ArchitectureImporter")
FRONT = JsonFile("front.json", "ArchitectureDeriver")
HYPERPARAMETERS = JsonFile("hyperparameters.json", "ArchitectureDeriver, ArchitectureImporter or TrainingPlanner")
TRAINING = JsonFile("training.json", "Trainer")
# In the folder of a SavedModel.
CLASS_NAMES = ArtifactFile("assets/class_names.txt", "Trainer")
IMAGE_FORMAT = JsonFile("assets.extra/preprocessing.json", "Trainer")
WARMUP_REQUESTS = ArtifactFile("assets.extra/tf_serving_warmup_requests", "Trainer")
COMPARISON = JsonFile("comparison.json", "Evaluator")
BASELINES = JsonFile("baselines.json", "Baselines")
PREDICTIONS = ArraysFile("predictions.npz", "Baselines")
FEATURES = ArraysFile("features.npz", "Baselines or Teacher")
EXPORTS = JsonFile("exports.json", "Exporter")
EXPORTED = {
    "litert": ArtifactFile("model.tflite", "Exporter"),
    "litert_int8": ArtifactFile("model_int8.tflite", "Exporter"),
    "onnx": ArtifactFile("model.onnx", "Exporter"),
}
REPORT = ArtifactFile("report.html", "ReportGen")


def front_genotype(number: int) -> JsonFile:
    """Returns the file with a genotype of a front, which are counted from 0."""
    return JsonFile(f"front/{number:02d}.json", "ArchitectureDeriver")
