"""The executor of the Baselines component."""

from typing import Any

import numpy as np
from tfx.dsl.components.base import base_executor
from tfx.types import artifact, artifact_utils
from tfx.utils import path_utils

from components.baselines.trained import BASELINES, Run
from components.examples import load_split
from models.baselines import fitting, verdict
from models.runtime import artifact_files
from models.settings import Baselines, Settings


class Executor(base_executor.BaseExecutor):
    """Trains the baselines, tests them and the final network, and compares them."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters.

        Raises:
            ConfigError: The pretrained network cannot be used.
            ValueError: The loss of a baseline is not finite.
        """
        asked = Baselines.from_json(exec_properties["baselines"])
        uri = artifact_utils.get_single_uri(output_dict["comparison"])
        final = artifact_files.TRAINING.load(artifact_utils.get_single_uri(input_dict["model_run"]), dict)
        settings = Settings.parse(final["settings"])
        run = Run(
            asked=asked,
            files=exec_properties["files"],
            settings=settings,
            final=final,
            seconds=final["seconds"] + _search_seconds(input_dict.get("distribution")),
            examples=input_dict["examples"],
            test=load_split(input_dict["examples"], "test", settings.data),
            checkpoint_dir=exec_properties["checkpoint_dir"],
            uri=uri,
            teacher=artifact_utils.get_single_uri(input_dict["soft_labels"]) if input_dict.get("soft_labels") else None,
        )
        model_dir = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"]))
        network = fitting.Outcome(
            fitting.served_predictions(model_dir, run.test),
            verdict.Cost(final["params"], final["macs"], run.seconds, final["epochs"]),
        )
        outcomes = {name: BASELINES[name](run) for name in asked.compared(settings.train.teacher)}
        predicted = {name: outcome.predicted for name, outcome in {"network": network, **outcomes}.items()}
        artifact_files.PREDICTIONS.save(
            uri, {"ids": np.asarray(run.test.ids, dtype=np.bytes_), "labels": run.test.labels, **predicted}
        )
        compared = verdict.compare(
            run.test.labels,
            (network.predicted, network.cost),
            {name: (outcome.predicted, outcome.cost) for name, outcome in outcomes.items()},
        )
        artifact_files.BASELINES.save(uri, compared.to_document())


def _search_seconds(distribution: list[artifact.Artifact] | None) -> float:
    return distribution[0].get_float_custom_property("seconds") if distribution else 0.0
