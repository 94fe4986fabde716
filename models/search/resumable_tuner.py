"""A KerasTuner tuner that can be killed at any time and resumed: what the searches of this package share."""

import time
from collections.abc import Mapping
from typing import Any

import keras_tuner
import numpy as np
import tensorflow as tf

from models.oracle.oracle import MultinomialOracle
from models.runtime import artifact_files, checkpoint
from models.runtime.progress import Progress


class ResumableTuner(keras_tuner.Tuner):
    """Runs trials, shows and logs their figures, and resumes from its newest checkpoint.

    A checkpoint holds all there is: the oracle's state, the figures so far, and what the subclass names in `arrays`. A
    subclass calls `resume` at the end of its constructor.

    Args:
        oracle: Samples architectures and learns from the scores. Its max_trials is the number of trials.
        checkpoint_every: Trials between checkpoints.
        shown: Names of the metrics that the terminal shows, besides the best score and the entropy.
        checkpoint_dir: This search's own checkpoints.
        results_dir: Where KerasTuner's account of the trials goes, and the list with the figures of every trial.
        log_dir: TensorBoard scalars.
        began: time.monotonic() when this process began to work for the search; None: now.
    """

    def __init__(
        self,
        oracle: MultinomialOracle,
        *,
        checkpoint_every: int,
        shown: tuple[str, ...],
        checkpoint_dir: str,
        results_dir: str,
        log_dir: str,
        began: float | None = None,
    ):
        super().__init__(oracle=oracle, directory=results_dir, project_name="trials", overwrite=True)
        self._checkpoint_every = checkpoint_every
        self._shown = shown
        self._checkpoint_dir = checkpoint_dir
        self._results_dir = results_dir
        self._writer = tf.summary.create_file_writer(log_dir)
        self._epochs: list[dict[str, Any]] = []
        self._began = time.monotonic() if began is None else began
        self._seconds_before = 0.0

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns what a trial changes besides the oracle, by name."""
        return {}

    def seconds(self) -> float:
        """Returns the seconds spent so far, earlier runs of an interrupted search included."""
        return self._seconds_before + time.monotonic() - self._began

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what `arrays` returned."""

    def resume(self) -> None:
        """Takes over the newest checkpoint, if there is one."""
        found = checkpoint.latest(self._checkpoint_dir)
        if found is not None:
            self.restore(found.arrays)
            self.oracle.restore(found.state["oracle"])
            self._epochs = found.state["epochs"]
            self._seconds_before = found.state.get("seconds", 0.0)
            for figures in self._epochs:
                self._log(figures)
        self._progress = Progress("search", self.oracle.max_trials, len(self._epochs))

    def _try_run_and_update_trial(self, trial, *args, **kwargs):
        # KerasTuner counts any exception as a failed trial and goes on; a mistake in the program must be seen.
        try:
            self._run_and_update_trial(trial, *args, **kwargs)
            trial.status = "COMPLETED"
        except keras_tuner.errors.FailedTrialError as error:
            trial.status, trial.message = "FAILED", str(error)

    def on_trial_end(self, trial):
        """Lets the oracle learn, shows and logs the trial, checkpoints when due, warns if the search learns nothing."""
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
        shown = {name: figures[name] for name in (*self._shown, "best", "entropy") if figures.get(name) is not None}
        if ended.status != "COMPLETED":
            shown = {"trial": f"{ended.status}: {ended.message}", **shown}
        done = len(self._epochs)
        if done % self._checkpoint_every == 0 or done == self.oracle.max_trials:
            state = {"oracle": self.oracle.get_state(), "epochs": self._epochs, "seconds": self.seconds()}
            checkpoint.save(self._checkpoint_dir, done, self.arrays(), state)
        # After the checkpoint: an epoch that is shown is not lost.
        self._progress.epoch(figures["epoch"], **shown)
        self.warn(self._epochs)

    def warn(self, epochs: list[dict[str, Any]]) -> None:
        """Warns of a search that cannot tell architectures apart; called after each trial.

        Args:
            epochs: The figures of the trials so far.
        """

    def on_search_end(self):
        """Writes the figures of all trials."""
        artifact_files.EPOCHS.save(self._results_dir, self._epochs)
        self._writer.close()

    def _log(self, figures: Mapping[str, Any]) -> None:
        with self._writer.as_default(step=figures["epoch"]):
            for name, value in figures.items():
                if isinstance(value, float):
                    tf.summary.scalar(f"search/{name}", value)
        self._writer.flush()
