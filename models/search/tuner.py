"""The search: a KerasTuner tuner whose trials share the weights of one supernet."""

import math

import keras_tuner
import numpy as np
import tensorflow as tf
from absl import logging

from models.architectures.choices import Path
from models.data import dataset
from models.oracle.oracle import MultinomialOracle
from models.runtime import setup
from models.search import search_signal
from models.search.path_training import PathTrainer
from models.search.resumable_tuner import ResumableTuner
from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import supernet_options
from models.settings import Oracle, Search

OBJECTIVE = "val_accuracy"


def hyperparameters(space: SearchSpace) -> keras_tuner.HyperParameters:
    """Returns a search space as KerasTuner sees it: one Choice per edge or block."""
    values = keras_tuner.HyperParameters()
    for choice in space.choices:
        values.Choice(choice.name, list(choice.operations))
    return values


def path_trainer(space: SearchSpace, search: Search, image_shape: tuple[int, int, int], classes: int) -> PathTrainer:
    """Builds the supernet of a space and what trains and evaluates its paths.

    Args:
        space: Where to search.
        search: `config.search`.
        image_shape: Height, width, channels.
        classes: At least 2.
    """
    supernet = space.supernet(image_shape, classes, **supernet_options(space, search))
    return PathTrainer(
        supernet,
        momentum=search.momentum,
        weight_decay=search.weight_decay,
        gradient_clip=search.gradient_clip,
        cache_size=search.traced_architectures,
        jit=setup.use_xla(search.xla),
    )


def validate_path(
    trainer: PathTrainer,
    path: Path,
    val: dataset.ImageDataset,
    train: dataset.ImageDataset,
    search: Search,
    seed: int,
) -> dict[str, float]:
    """Returns loss and accuracy of a path on the validation images.

    Args:
        trainer: Holds the supernet.
        path: Choice name -> operation name.
        val: Images to validate on.
        train: `search.norm_images` of these, drawn by the seed, give the path its batch norm statistics.
        search: `config.search`.
        seed: The search's, so that all paths are validated with the statistics of the same images.
    """
    size = search.batch_size
    norm_batches = dataset.batches(train, size, seed=seed, sample=search.norm_images)
    return trainer.evaluate(path, dataset.batches(val, size), norm_batches)


def learning_rate(search: Search, epoch: int) -> float:
    """Returns the learning rate of a search epoch (0-based): a cosine from learning_rate down to min_learning_rate."""
    low, high = search.min_learning_rate, search.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * epoch / search.epochs)) / 2


class SupernetTuner(ResumableTuner):
    """Runs one trial per search epoch: trains the sampled sub-network on the shared weights, then validates it.

    Its checkpoints hold weights and momentum. Data order and augmentation are functions of seed and epoch.

    Args:
        oracle: Samples architectures and learns from their validation accuracy. Its max_trials is the number of epochs.
        trainer: Holds the supernet.
        train: Images the weights learn from.
        val: Images on which sampled architectures are validated; disjoint from `train`.
        search: `config.search`.
        seed: Of data order and augmentation.
        checkpoint_dir: This search's own checkpoints.
        results_dir: Where KerasTuner's account of the trials goes, and the list with the figures of every epoch.
        log_dir: TensorBoard scalars.
        began: See `ResumableTuner`.
    """

    def __init__(
        self,
        oracle: MultinomialOracle,
        trainer: PathTrainer,
        train: dataset.ImageDataset,
        val: dataset.ImageDataset,
        search: Search,
        *,
        seed: int,
        checkpoint_dir: str,
        results_dir: str,
        log_dir: str,
        began: float | None = None,
    ):
        super().__init__(
            oracle,
            checkpoint_every=search.checkpoint_every,
            shown=("loss", OBJECTIVE),
            checkpoint_dir=checkpoint_dir,
            results_dir=results_dir,
            log_dir=log_dir,
            began=began,
        )
        self.trainer = trainer
        self._train, self._val = train, val
        self._search, self._seed = search, seed
        self.resume()

    def run_trial(self, trial, **_):
        """Trains the trial's sub-network for one epoch and returns its figures.

        Raises:
            FailedTrialError: The loss is not finite or memory ran out; the weights are as they were before the trial.
        """
        epoch = int(trial.trial_id)
        path = trial.hyperparameters.values
        search = self._search
        rate = learning_rate(search, epoch)
        batches = dataset.batches(
            self._train,
            search.batch_size,
            seed=self._seed,
            epoch=epoch,
            augment=dataset.Augmentation.of(search),
        )
        before = self.trainer.snapshot(path)
        try:
            trained = self.trainer.train_epoch(path, batches, rate, progress=self._progress.step)
            validated = validate_path(self.trainer, path, self._val, self._train, search, self._seed)
        except tf.errors.ResourceExhaustedError as error:
            self.trainer.rollback(before)
            raise keras_tuner.errors.FailedTrialError(f"Out of memory: {error.message}") from error
        if not all(math.isfinite(figures["loss"]) for figures in (trained, validated)):
            self.trainer.rollback(before)
            raise keras_tuner.errors.FailedTrialError(f"The loss is not finite: {trained['loss']}")
        return {
            OBJECTIVE: validated["accuracy"],
            "val_loss": validated["loss"],
            "loss": trained["loss"],
            "accuracy": trained["accuracy"],
            "learning_rate": rate,
        }

    def arrays(self):
        return self.trainer.state()

    def restore(self, arrays):
        self.trainer.restore(arrays)

    def warn(self, epochs):
        ended = len(epochs) == self.oracle.max_trials
        if not ended and len(epochs) != search_signal.EARLY:
            return
        train, val = (np.bincount(data.labels, minlength=len(data.class_names)) for data in (self._train, self._val))
        warnings = search_signal.warnings(epochs, train, val)
        if ended:
            sizes = [len(operations) for operations in self.oracle.multinomial.operations]
            warnings += search_signal.narrowing(epochs, sizes, val)
        for warning in warnings:
            logging.warning("%s", warning)


def search_oracle(space: SearchSpace, oracle: Oracle, search: Search, seed: int) -> MultinomialOracle:
    """Returns the oracle that `config.oracle` describes for a space.

    Args:
        space: Where to search.
        oracle: `config.oracle`.
        search: `config.search`: its epochs are the trials, its max_invalid ends the search.
        seed: Of the sampling.
    """
    return MultinomialOracle(
        objective=keras_tuner.Objective(search.objective, "max"),
        max_trials=search.epochs,
        rule=oracle.rule,
        rule_options=oracle.options,
        warmup_rounds=oracle.warmup_rounds,
        seed=seed,
        # An untrained network is scored as it would be built; paths of shared weights are the paper's, with all edges.
        repair=space.repair if search.objective == "spectrum" else None,
        hyperparameters=hyperparameters(space),
        allow_new_entries=False,
        tune_new_entries=False,
        max_consecutive_failed_trials=search.max_invalid,
    )
