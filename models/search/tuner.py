"""The search: a KerasTuner tuner whose trials share the weights of one supernet."""

import math
from collections.abc import Mapping
from typing import Any

import keras_tuner
import numpy as np
import tensorflow as tf
from absl import logging

from models.architectures.choices import Path
from models.data import dataset
from models.oracle.oracle import MultinomialOracle
from models.runtime import artifact_files, checkpoint, setup
from models.runtime.progress import Progress
from models.search import search_signal
from models.search.path_training import PathTrainer
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


class SupernetTuner(keras_tuner.Tuner):
    """Runs one trial per search epoch: trains the sampled sub-network on the shared weights, then validates it.

    A search that was interrupted goes on from its newest checkpoint, which holds all there is: weights, momentum, the
    oracle's state and the figures so far. Data order and augmentation are functions of seed and epoch.

    Args:
        oracle: Samples architectures and learns from their validation accuracy. Its max_trials is the number of epochs.
        trainer: Holds the supernet.
        train: Images the weights learn from.
        val: Images the sampled networks are validated on; disjoint from `train`.
        search: `config.search`.
        seed: Of data order and augmentation.
        checkpoint_dir: This search's own checkpoints.
        results_dir: Where KerasTuner's account of the trials goes, and the list with the figures of every epoch.
        log_dir: TensorBoard scalars.
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
    ):
        super().__init__(oracle=oracle, directory=results_dir, project_name="trials", overwrite=True)
        self.trainer = trainer
        self._train, self._val = train, val
        self._search, self._seed = search, seed
        self._checkpoint_dir = checkpoint_dir
        self._results_dir = results_dir
        self._writer = tf.summary.create_file_writer(log_dir)
        self._epochs: list[dict[str, Any]] = []
        self._resume()
        self._progress = Progress("search", oracle.max_trials, len(self._epochs))

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
            augment=dataset.Augmentation(search.pad, search.flip, search.cutout),
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

    def _try_run_and_update_trial(self, trial, *args, **kwargs):
        # KerasTuner counts any exception as a failed trial and goes on; a mistake in the program must be seen.
        try:
            self._run_and_update_trial(trial, *args, **kwargs)
            trial.status = "COMPLETED"
        except keras_tuner.errors.FailedTrialError as error:
            trial.status, trial.message = "FAILED", str(error)

    def on_trial_end(self, trial):
        """Lets the oracle learn, shows and logs the epoch, checkpoints when due, warns if the search learns nothing."""
        super().on_trial_end(trial)
        ended = self.oracle.trials[trial.trial_id]
        multinomial = self.oracle.multinomial
        best = multinomial.best()
        figures = {
            "epoch": int(trial.trial_id),
            "status": ended.status,
            "entropy": multinomial.entropy(),
            "best": best and best.score,
            **{name: ended.metrics.get_last_value(name) for name in sorted(ended.metrics.metrics)},
        }
        self._epochs.append(figures)
        self._log(figures)
        shown = {
            name: figures[name] for name in ("loss", OBJECTIVE, "best", "entropy") if figures.get(name) is not None
        }
        if ended.status != "COMPLETED":
            shown = {"trial": f"{ended.status}: {ended.message}", **shown}
        done = len(self._epochs)
        if done % self._search.checkpoint_every == 0 or done == self.oracle.max_trials:
            state = {"oracle": self.oracle.get_state(), "epochs": self._epochs}
            checkpoint.save(self._checkpoint_dir, done, self.trainer.state(), state)
        # After the checkpoint: an epoch that is shown is not lost.
        self._progress.epoch(figures["epoch"], **shown)
        if done in (search_signal.EARLY, self.oracle.max_trials):
            counts = (np.bincount(data.labels, minlength=len(data.class_names)) for data in (self._train, self._val))
            for warning in search_signal.warnings(self._epochs, *counts):
                logging.warning("%s", warning)

    def on_search_end(self):
        """Writes the figures of all epochs."""
        artifact_files.EPOCHS.save(self._results_dir, self._epochs)
        self._writer.close()

    def _resume(self) -> None:
        found = checkpoint.latest(self._checkpoint_dir)
        if found is None:
            return
        self.trainer.restore(found.arrays)
        self.oracle.restore(found.state["oracle"])
        self._epochs = found.state["epochs"]
        for figures in self._epochs:
            self._log(figures)

    def _log(self, figures: Mapping[str, Any]) -> None:
        with self._writer.as_default(step=figures["epoch"]):
            for name, value in figures.items():
                if isinstance(value, float):
                    tf.summary.scalar(f"search/{name}", value)
        self._writer.flush()


def search_oracle(space: SearchSpace, oracle: Oracle, search: Search, seed: int) -> MultinomialOracle:
    """Returns the oracle that `config.oracle` describes for a space.

    Args:
        space: Where to search.
        oracle: `config.oracle`.
        search: `config.search`: its epochs are the trials, its max_invalid ends the search.
        seed: Of the sampling.
    """
    return MultinomialOracle(
        objective=keras_tuner.Objective(OBJECTIVE, "max"),
        max_trials=search.epochs,
        rule=oracle.rule,
        rule_options=oracle.options,
        warmup_rounds=oracle.warmup_rounds,
        seed=seed,
        hyperparameters=hyperparameters(space),
        allow_new_entries=False,
        tune_new_entries=False,
        max_consecutive_failed_trials=search.max_invalid,
    )
