"""The executor of the SupernetSearch component."""

import dataclasses
import functools
import os
import time
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.types import artifact, artifact_utils

from components.examples import load_split
from components.parameters import parse_settings
from models.networks import inheritance
from models.oracle.oracle import TooManyFailures
from models.planning.plan import SEARCH as SEARCH_STAGE
from models.planning.plan import Plan
from models.runtime import artifact_files, checkpoint, progress, setup
from models.runtime.section import SEARCH
from models.search import payoff, spectrum, spectrum_tuner, tuner
from models.search_spaces.registry import create_space

# Advice for a search whose trials fail, by objective. With "spectrum", trials can fail only because memory is
# insufficient.
_REMEDIES = {
    "val_accuracy": "a lower config.search.learning_rate, with config.search.gradient_clip or with "
    "config.search.mixed_precision=''",
    spectrum.OBJECTIVE: spectrum_tuner.LESS_MEMORY,
}


class Executor(base_executor.BaseExecutor):
    """Runs the search and writes its results."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters.

        Raises:
            RuntimeError: Too many trials in a row failed (their loss was not finite, or they ran out of memory), or
                memory ran out before the first trial.
            ValueError: The data or the settings do not fit the search space.
        """
        began = time.monotonic()
        settings = parse_settings(exec_properties, "space", "search", "oracle", "data", "train")
        after = None
        if input_dict.get("plan"):
            plan = artifact_files.PLAN.load(artifact_utils.get_single_uri(input_dict["plan"]), Plan.from_document)
            settings = plan.apply(settings)
            after = plan.after(SEARCH_STAGE) if plan.minutes else None
        search = settings.search
        setup.set_up(
            seed=settings.seed,
            deterministic=settings.deterministic,
            tuned_kernels=settings.tuned_kernels,
            mixed_precision=search.mixed_precision,
        )
        space = create_space(settings.space)
        train, val = (load_split(input_dict["examples"], split, settings.data) for split in ("train", "val"))
        attempt = {
            "checkpoint_dir": os.path.join(
                exec_properties["checkpoint_dir"],
                checkpoint.fingerprint(settings.key(SEARCH), train.fingerprint, val.fingerprint),
            ),
            "results_dir": artifact_utils.get_single_uri(output_dict["results"]),
            "log_dir": artifact_utils.get_single_uri(output_dict["logs"]),
            "began": began,
        }
        if search.objective == spectrum.OBJECTIVE:
            score = spectrum_tuner.spectral_score(space, search, settings.train, train, settings.seed)
            make_tuner = functools.partial(spectrum_tuner.SpectrumTuner, score=score)
        else:
            with setup.strategy().scope():
                trainer = tuner.path_trainer(space, search, train.image_shape, len(train.class_names))
            make_tuner = functools.partial(
                tuner.SupernetTuner, trainer=trainer, train=train, val=val, seed=settings.seed
            )
        # The oracle is created after the weights, because KerasTuner takes a number from the generator of the weights.
        oracle = tuner.search_oracle(space, settings.oracle, search, settings.seed)
        searched = make_tuner(oracle, search=search, **attempt)
        logging.info("Searching %d choices with %s.", len(space.choices), settings.oracle.rule)
        try:
            with progress.followed_by(after):
                searched.search(verbose=0)
        except TooManyFailures as error:
            raise RuntimeError(
                f"The search stopped after {search.max_invalid} failed trials in a row. Start a new search with "
                f"{_REMEDIES[search.objective]}, or resume this search with a higher config.search.max_invalid. {error}"
            ) from error

        (distribution,) = output_dict["distribution"]
        artifact_files.DISTRIBUTION.save(distribution.uri, oracle.distribution_document())
        prediction = payoff.predict(oracle.multinomial, space, settings.seed)
        for warning in payoff.warnings(prediction):
            logging.warning("%s", warning)
        artifact_files.PREDICTION.save(distribution.uri, prediction and dataclasses.asdict(prediction))
        distribution.set_float_custom_property("entropy", oracle.multinomial.entropy())
        distribution.set_float_custom_property("seconds", searched.seconds())
        supernet = artifact_utils.get_single_uri(output_dict["supernet"])
        artifact_files.SUPERNET.save(supernet, searched.arrays())
        if settings.train.from_supernet:
            artifact_files.INHERITED.save(supernet, inheritance.give(searched.trainer.supernet))
