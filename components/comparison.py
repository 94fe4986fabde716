"""The accuracies with which the Evaluator compares a model's test accuracy. Summary and report read them."""

import dataclasses
from collections.abc import Sequence

from scipy import stats

from models.runtime.artifact_files import COMPARISON

_LUCK = 0.01  # if guessing reaches an accuracy with a higher probability than this, the accuracy may be chance


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Accuracies on `test`, 0 to 1.

    Attributes:
        threshold: The accuracy that a model needs to be blessed.
        chance: The accuracy of guessing a class at random.
        majority_class: The name of the class with the most images.
        majority_share: The accuracy of always guessing this class.
        clearly_more: The least accuracy that is clearly more than `majority_share`.
        baseline_accuracy: The accuracy of the earlier model; None if there is no baseline.
        baseline_not_compared: The reason why the baseline was left out, a clause such as "its classes are different
            (...)"; None if no baseline was left out.
    """

    threshold: float
    chance: float
    majority_class: str
    majority_share: float
    clearly_more: float
    baseline_accuracy: float | None = None
    baseline_not_compared: str | None = None

    def failure(self, accuracy: float) -> str | None:
        """Returns a warning if the model may have learned nothing, and otherwise None."""
        if accuracy >= least_passing(self.clearly_more):
            return None
        return (
            f"The accuracy is not clearly more than {self.majority_share:.4f}, the accuracy of always guessing "
            f"{self.majority_class!r}: {self.clearly_more:.4f} would be clearly more."
        )


def majority(counts: Sequence[int]) -> tuple[int, float, float]:
    """Returns the label of the largest class, its share, and the least accuracy that is clearly more than this share.

    An accuracy is clearly more than the share if always guessing the largest class reaches it in fewer than one of a
    hundred tests. If the images are too few for such an accuracy, the returned accuracy is 1.

    Args:
        counts: Number of test images of each class; their sum is at least 1.
    """
    images = sum(counts)
    label = max(range(len(counts)), key=lambda label: counts[label])
    share = counts[label] / images
    # isf(q) is the smallest number that is exceeded with a probability of at most q.
    return label, share, min(images, int(stats.binom.isf(_LUCK, images, share)) + 1) / images


def least_passing(accuracy: float) -> float:
    """Returns a bound just below an accuracy. TFMA computes in float32, and a model of this accuracy must pass."""
    return accuracy - 1e-7


def write(uri: str, comparison: Comparison) -> None:
    """Writes a comparison into the folder of the artifact `evaluation`."""
    COMPARISON.save(uri, dataclasses.asdict(comparison))


def read(uri: str) -> Comparison:
    """Reads the comparison from the folder of the artifact `evaluation`.

    Raises:
        ArtifactError: Another component than this project's Evaluator wrote the evaluation.
    """
    return COMPARISON.load(uri, lambda document: Comparison(**document))
