"""The search by spectral scores: a KerasTuner tuner that trains nothing."""

import keras_tuner
import numpy as np
import tensorflow as tf
from absl import logging

from models.architectures.choices import Path
from models.data import dataset
from models.networks.supernet import Supernet
from models.oracle.oracle import MultinomialOracle
from models.search import spectrum
from models.search.resumable_tuner import ResumableTuner
from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import scored_options
from models.settings import Search, Train


def spectral_score(
    space: SearchSpace, search: Search, train: Train, images: dataset.ImageDataset, seed: int
) -> spectrum.SpectralScore:
    """Builds a supernet of the final network's size and what scores its paths.

    Args:
        space: Where to search.
        search: `config.search`.
        train: `config.train`, whose cells and channels the scored networks have.
        images: Training images.
        seed: Of weights, images and the reference.

    Raises:
        ValueError: The space's supernet does not show its stages.
    """

    def sample(generator: np.random.Generator) -> Path:
        path = {choice.name: choice.operations[generator.integers(len(choice.operations))] for choice in space.choices}
        return space.repair(path, generator)

    supernet = space.supernet(images.image_shape, len(images.class_names), **scored_options(space, train))
    if type(supernet).stages is Supernet.stages:
        raise ValueError(
            f"config.search.objective: found {spectrum.OBJECTIVE!r}; expected 'val_accuracy' with the {space.name} "
            "space: its supernet has no method `stages` (models/networks/supernet.py)."
        )
    return spectrum.SpectralScore(supernet, images, search.score_images, seed, sample)


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
