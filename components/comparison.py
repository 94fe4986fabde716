"""What a model's test accuracy is compared with. Written beside the evaluation, read by the summary and the report."""

import dataclasses
from collections.abc import Sequence

from scipy import stats

from models.runtime.artifact_files import COMPARISON

_LUCK = 0.01  # probability above which a result may well be luck


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Accuracies on `test`, 0 to 1.

    Attributes:
        threshold: The least accuracy of a blessed model.
        chance: What guessing among the classes reaches.
        majority_class: The name of the class with the most images.
        majority_share: What always guessing that class reaches.
        clearly_more: The least accuracy that is clearly more than `majority_share`.
        baseline_accuracy: The earlier model's; None where there is none to compare with.
        baseline_not_compared: Why an earlier model was left out, in words that continue "it is not compared:"; None if
            no model was left out.
    """

    threshold: float
    chance: float
    majority_class: str
    majority_share: float
    clearly_more: float
    baseline_accuracy: float | None = None
    baseline_not_compared: str | None = None

    def failure(self, accuracy: float) -> str | None:
        """Returns a warning for a model that may have learned nothing; None for any other."""
        if accuracy >= least_passing(self.clearly_more):
            return None
        return (
            f"The accuracy is not clearly more than what always guessing {self.majority_class!r} reaches, "
            f"{self.majority_share:.4f}: {self.clearly_more:.4f} would be."
        )


def majority(counts: Sequence[int]) -> tuple[int, float, float]:
    """Returns the largest class's label, its share, and the least accuracy that is clearly more than that.

    A guess that is right with that share as its probability reaches this accuracy in fewer than one of a hundred tests.
    If there are too few images for such an accuracy, it is 1.

    Args:
        counts: Test images of each class; at least one in all.
    """
    images = sum(counts)
    label = max(range(len(counts)), key=lambda label: counts[label])
    share = counts[label] / images
    # isf(q) is the smallest number that is exceeded with a probability of at most q.
    return label, share, min(images, int(stats.binom.isf(_LUCK, images, share)) + 1) / images


def least_passing(accuracy: float) -> float:
    """Returns a bound just below an accuracy, so that a model of this accuracy passes: TFMA counts in float32."""
    return accuracy - 1e-7


def write(uri: str, comparison: Comparison) -> None:
    """Writes it into the folder of the artifact `evaluation`."""
    COMPARISON.save(uri, dataclasses.asdict(comparison))


def read(uri: str) -> Comparison:
    """Reads it from the folder of the artifact `evaluation`.

    Raises:
        ArtifactError: The evaluation was not written by this Evaluator.
    """
    return COMPARISON.load(uri, lambda document: Comparison(**document))
