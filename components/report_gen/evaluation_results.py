"""The results of the Evaluator, for the report and the summary."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf
import tensorflow_model_analysis as tfma

from models.runtime import artifact_files


@dataclasses.dataclass(frozen=True)
class ClassResult:
    """Accuracy (0 to 1) on the test images of a class, and the number of these images."""

    name: str
    accuracy: float
    support: int


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of the Evaluator on `test`.

    Attributes:
        accuracy: The accuracy, 0 to 1.
        loss: The cross-entropy in nats.
        images: The number of test images.
        classes: The results of the classes with test images, in the order of their labels.
        confusion: (label, predicted label) -> number of images; pairs without images are left out.
        failures: The reasons why the model was not blessed, one sentence each.
    """

    accuracy: float
    loss: float
    images: int
    classes: tuple[ClassResult, ...]
    confusion: Mapping[tuple[int, int], int]
    failures: tuple[str, ...]


def read_evaluation(uri: str, class_names: Sequence[str]) -> Evaluation:
    """Reads the results of the Evaluator.

    Args:
        uri: The URI of the artifact `evaluation`.
        class_names: The names of the classes, in the order of the labels.

    Raises:
        ArtifactError: The results do not exist, or lack a metric that `evaluation` of pipeline/stages.py requests.
    """
    try:
        figures = {
            _label(measured): {
                item.key.name: item.value.double_value.value
                for item in measured.metric_keys_and_values
                if _is_candidate(item.key) and not item.key.is_diff
            }
            for measured in tfma.load_metrics(uri)
        }
        confusion = {
            (entry.actual_class_id, entry.predicted_class_id): round(entry.num_weighted_examples)
            for drawn in tfma.load_plots(uri)
            if _label(drawn) is None
            for item in drawn.plot_keys_and_values
            if _is_candidate(item.key)
            for matrix in item.value.multi_class_confusion_matrix_at_thresholds.matrices
            for entry in matrix.entries
            if entry.predicted_class_id >= 0  # negative: no class had a probability above 0
        }
        overall = figures.pop(None)
        return Evaluation(
            accuracy=overall["sparse_categorical_accuracy"],
            loss=overall["sparse_categorical_crossentropy"],
            images=round(overall["example_count"]),
            classes=tuple(
                ClassResult(class_names[label], found["sparse_categorical_accuracy"], round(found["example_count"]))
                for label, found in sorted(figures.items())
            ),
            confusion=dict(sorted(confusion.items())),
            failures=tuple(_failures(tfma.load_validation_result(uri))),
        )
    except (KeyError, IndexError, ValueError, OSError, tf.errors.OpError) as error:
        raise artifact_files.ArtifactError(
            f"{uri} does not contain the results that the Evaluator writes: {error!r}"
        ) from error


def _label(of_slice) -> int | None:
    """Returns the label of a slice, or None for the whole split."""
    keys = of_slice.slice_key.single_slice_keys
    return keys[0].int64_value if keys else None


def _is_candidate(key) -> bool:
    """Returns whether a metric belongs to the new model. If there is a baseline, it has metrics too."""
    return key.model_name in ("", tfma.CANDIDATE_KEY)


def _failures(result: tfma.proto.validation_result_pb2.ValidationResult) -> Iterator[str]:
    for measured in result.metric_validations_per_slice:
        for failure in measured.failures:
            name = failure.metric_key.name.removeprefix("sparse_categorical_").replace("_", " ")
            value = failure.metric_value.double_value.value
            if failure.metric_key.is_diff:
                least = failure.metric_threshold.change_threshold.absolute.value
                yield f"The {name} differs by {value:+.4f} from the latest blessed model's; the limit is {least:+.4f}."
            else:
                least = failure.metric_threshold.value_threshold.lower_bound.value
                yield f"The {name} is {value:.4f}; {least:g} is required."
