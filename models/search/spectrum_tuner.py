"""The search by spectral scores: a KerasTuner tuner that trains nothing."""

import contextlib
import functools
from collections.abc import Iterator

import keras_tuner
import tensorflow as tf
from absl import logging

from models.data import dataset
from models.networks.supernet import Supernet
from models.oracle.oracle import MultinomialOracle
from models.search import spectrum
from models.search.resumable_tuner import ResumableTuner
from models.search_spaces.base import SearchSpace, random_path
from models.search_spaces.registry import scored_options
from models.settings import Search, Train

LESS_MEMORY = "a lower config.search.score_images, config.train.channels or config.train.cells"


def build_score(
    space: SearchSpace, search: Search, train: Train, images: dataset.ImageDataset, seed: int
) -> spectrum.SpectralScore:
    """Builds a supernet of the final network's size and what scores its paths; the reference is not computed yet.

    Args:
        space: Where to search.
        search: `config.search`.
        train: `config.train`, whose cells and channels the scored networks have.
        images: Training images.
        seed: Of weights, images and the reference.

    Raises:
        ValueError: The space's supernet does not show its stages.
    """
    supernet = space.supernet(images.image_shape, len(images.class_names), **scored_options(space, train))
    if type(supernet).stages is Supernet.stages:
        raise ValueError(
            f"config.search.objective: found {spectrum.OBJECTIVE!r}; expected 'val_accuracy' with the {space.name} "
            "space: its supernet has no method `stages` (models/networks/supernet.py)."
        )
    return spectrum.SpectralScore(supernet, images, search.score_images, seed, functools.partial(random_path, space))


def spectral_score(
    space: SearchSpace, search: Search, train: Train, images: dataset.ImageDataset, seed: int
) -> spectrum.SpectralScore:
    """Returns what scores the paths of a supernet, with its reference; arguments and errors as for `build_score`.

    Raises:
        RuntimeError: Memory ran out.
    """
    score = build_score(space, search, train, images, seed)
    with memory_explained():
        score.compute_reference()
    return score


@contextlib.contextmanager
def memory_explained() -> Iterator[None]:
    """If memory runs out while scores are computed, says which settings need less.

    Raises:
        RuntimeError: Memory ran out.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise RuntimeError(
            f"Out of memory while architectures were scored; start again with {LESS_MEMORY}. {error.message}"
        ) from error


class SpectrumTuner(ResumableTuner):
    """Scores one sampled architecture per trial.

    Args:
        oracle: Samples architectures and learns from their scores.
        score: Scores them.
        search: `config.search`.
        checkpoint_dir, results_dir, log_dir, began: See `ResumableTuner`.
    """

    def __init__(
        self,
        oracle: MultinomialOracle,
        score: spectrum.SpectralScore,
        search: Search,
        *,
        checkpoint_dir: str,
        results_dir: str,
        log_dir: str,
        began: float | None = None,
    ):
        super().__init__(
            oracle,
            checkpoint_every=search.checkpoint_every,
            shown=(spectrum.OBJECTIVE,),
            checkpoint_dir=checkpoint_dir,
            results_dir=results_dir,
            log_dir=log_dir,
            began=began,
        )
        self._score = score
        self.resume()

    def run_trial(self, trial, **_):
        """Returns the score of the trial's architecture.

        Raises:
            FailedTrialError: Memory ran out.
        """
        try:
            return {spectrum.OBJECTIVE: self._score.score(trial.hyperparameters.values, int(trial.trial_id))}
        except tf.errors.ResourceExhaustedError as error:
            raise keras_tuner.errors.FailedTrialError(f"Out of memory: {error.message}") from error

    def warn(self, epochs):
        if len(epochs) == self.oracle.max_trials:
            for warning in spectrum.warnings(epochs):
                logging.warning("%s", warning)
