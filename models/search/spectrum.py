"""Scores untrained architectures by the spectra of their features and gradients: no label and no training step.

A network that is to tell images apart needs features that do not collapse onto a few directions, at the end of every
stage, and outputs that depend on different pixels for different images. Both can be seen before any training: the
entropy of the eigenvalues of a covariance matrix is large where many directions matter alike. Entropies of features
are among the scores of AZ-NAS (Lee and Ham 2024, arXiv 2403.19232), the spectrum of the images' gradients is among
those of NASWOT's first version (Mellor et al. 2021, arXiv 2006.04647). docs/results.md has our measurements.

One score depends on its initial weights. The oracle takes it as noise: every evaluation has new weights and images.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models.architectures.choices import Path
from models.data import dataset
from models.networks.supernet import Supernet

OBJECTIVE = "spectrum"
REFERENCE = 60  # random architectures that a score is relative to

_WEIGHTS, _IMAGES = range(2)  # streams of random numbers
_TINY = 1e-12
_SAME = 1e-6  # scores that differ by less are equal


class SpectralScore:
    """Scores paths of an untrained supernet, each evaluation with new initial weights and images.

    Each entropy is replaced by its rank among random architectures, the reference: the fraction of these whose entropy
    is smaller. The score is the geometric mean of these ranks, in (0, 1]: high ranks hardly compensate for a low one.

    Args:
        supernet: As deep and as wide as the network to be built. Its weights are changed.
        images: Images to look at; labels are not used.
        count: Images of an evaluation, at least 2.
        seed: Of weights and images.
        sample: Returns a random path, for the reference, from a generator.
    """

    def __init__(
        self,
        supernet: Supernet,
        images: dataset.ImageDataset,
        count: int,
        seed: int,
        sample: Callable[[np.random.Generator], Path],
    ):
        self._supernet, self._images, self._seed, self._sample = supernet, images, seed, sample
        self._count = min(count, len(images))
        self._initial: dict[int, np.ndarray] = {}

    def compute_reference(self) -> None:
        """Computes the entropies of the random architectures; `score` needs them."""
        generator = np.random.default_rng([self._seed, REFERENCE])
        # Numbers of the reference are negative in the search's count.
        found = [self.entropies(self._sample(generator), number) for number in range(REFERENCE)]
        self._reference = np.sort(np.array(found), axis=0)

    def score(self, path: Path, number: int) -> float:
        """Returns the score of a path, in (0, 1].

        Args:
            path: Choice name -> operation name.
            number: Of the evaluation: another number means other weights and images.
        """
        found = self.entropies(path, REFERENCE + number)
        smaller = (self._reference < found).sum(axis=0)
        return float(np.exp(np.log((smaller + 0.5) / (REFERENCE + 0.5)).mean()))

    def entropies(self, path: Path, number: int) -> np.ndarray:
        """Returns the entropies of a path in nats: of each stage's features, the pooled features, and the gradients.

        Args:
            path: Choice name -> operation name.
            number: Of the weights and images.
        """
        self._draw_weights(path, number)
        chosen = np.random.default_rng([self._seed, number, _IMAGES]).choice(len(self._images), self._count, False)
        make = self._images.batch_function(dataset.Augmentation(), False)
        images, _ = make(tf.constant(chosen, tf.int64), tf.zeros(2, tf.int64), tf.constant(0, tf.int64))
        with tf.GradientTape() as tape:
            tape.watch(images)
            stages = self._supernet.stages(images, path)
            pooled = tf.reduce_mean(stages[-1], axis=(1, 2))
            energy = tf.reduce_sum(pooled**2)
        gradients = tape.gradient(energy, images)
        gradients = tf.zeros_like(images) if gradients is None else gradients
        rows = np.reshape(gradients, (len(chosen), -1)).astype(np.float64)
        rows -= rows.mean(axis=1, keepdims=True)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True) + _TINY
        features = [entropy(_covariance(tensor)) for tensor in (*stages, pooled)]
        return np.array([*features, entropy(rows @ rows.T)])

    def _draw_weights(self, path: Path, number: int) -> None:
        """Gives the path's weights new initial values: the first ones in another order, with other signs.

        Without other signs the mean of a kernel would stay the same, and with it the correlation of its outputs: all
        evaluations of an architecture would err alike.
        """
        generator = np.random.default_rng([self._seed, number, _WEIGHTS])
        for variable in self._supernet.path_variables(path):
            first = self._initial.setdefault(id(variable), variable.numpy().reshape(-1))
            if first.min() < 0 < first.max():  # others, such as constants, are no symmetric random values
                drawn = generator.permutation(first) * generator.choice([-1, 1], first.size).astype(first.dtype)
                variable.assign(drawn.reshape(variable.shape))


def warnings(epochs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns what is wrong with the scores of a search, a sentence or two each; none where all is well.

    Args:
        epochs: Per epoch `status`, and of a completed one `spectrum`.
    """
    scores = [figures[OBJECTIVE] for figures in epochs if figures["status"] == "COMPLETED"]
    if len(scores) > 1 and max(scores) - min(scores) < _SAME:
        return [
            f"The search could not tell architectures apart: all {len(scores)} scores are {scores[0]:.3f}. Its result "
            "is no better than a random architecture. See whether the images differ at all; give it more of them "
            "(config.search.score_images)."
        ]
    return []


def entropy(matrix: np.ndarray) -> float:
    """Returns the entropy of a matrix's eigenvalues as shares of their sum, in nats; 0 for a matrix of zeros.

    It is also 0 where the matrix has a value that is not finite: features that overflow tell no images apart.

    Args:
        matrix: float64 (n, n), symmetric, no eigenvalue below 0 but for rounding.
    """
    if not np.isfinite(matrix).all():
        return 0.0
    values = np.maximum(np.linalg.eigvalsh(matrix), 0.0)
    shares = values / max(values.sum(), _TINY)
    return float(-(shares * np.log(np.maximum(shares, _TINY))).sum())


def _covariance(features: tf.Tensor) -> np.ndarray:
    """Returns the covariance of the channels, float64 (channels, channels), over images and pixels."""
    rows = tf.reshape(features, (-1, features.shape[-1]))
    rows -= tf.reduce_mean(rows, axis=0)
    return (tf.matmul(rows, rows, transpose_a=True) / len(rows)).numpy().astype(np.float64)
