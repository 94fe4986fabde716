"""The executor of the Evaluator component. It extends the executor of TFX's Evaluator."""

import dataclasses
from typing import Any

import tensorflow_model_analysis as tfma
from absl import logging
from tfx.components.evaluator import executor
from tfx.types import artifact, artifact_utils
from tfx.utils import path_utils, proto_utils

from components import baseline, comparison
from models.data import dataset_info


class Executor(executor.Executor):
    """Calls TFX's executor with a complete configuration, and with a baseline only if it can be compared."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see TFX's Evaluator for inputs, outputs and parameters.

        Raises:
            DataError: The examples were not written by TfdsExampleGen.
        """
        info = dataset_info.load(artifact_utils.get_single_uri(input_dict["examples"]))
        eval_config = proto_utils.json_to_proto(exec_properties["eval_config"], tfma.EvalConfig())
        label, share, clearly_more = comparison.majority(info.counts["test"])
        found = comparison.Comparison(
            threshold=_complete(eval_config, clearly_more),
            chance=1 / len(info.class_names),
            majority_class=info.class_names[label],
            majority_share=share,
            clearly_more=clearly_more,
        )
        if input_dict.get("baseline_model"):
            saved_model = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"]))
            reason = baseline.why_not_comparable(
                artifact_utils.get_single_uri(input_dict["baseline_model"]),
                info.class_names,
                baseline.read_form(saved_model) if info.stored == "resized" else None,
            )
            if reason:
                logging.info("The baseline is left out: %s.", reason)
                found = dataclasses.replace(found, baseline_not_compared=reason)
                input_dict = {**input_dict, "baseline_model": []}
        super().Do(input_dict, output_dict, {**exec_properties, "eval_config": proto_utils.proto_to_json(eval_config)})
        uri = artifact_utils.get_single_uri(output_dict["evaluation"])
        comparison.write(uri, dataclasses.replace(found, baseline_accuracy=_baseline_accuracy(uri)))


def _complete(eval_config: tfma.EvalConfig, threshold: float) -> float:
    """Sets the threshold in `eval_config` if it has no value; returns the accuracy that a model needs."""
    (bound,) = (
        per_slice.threshold.value_threshold
        for metrics in eval_config.metrics_specs
        for metric in metrics.metrics
        for per_slice in metric.per_slice_thresholds
    )
    if bound.HasField("lower_bound"):
        return bound.lower_bound.value
    bound.lower_bound.value = comparison.least_passing(threshold)
    return threshold


def _baseline_accuracy(uri: str) -> float | None:
    """Returns the measured accuracy of the baseline; None if there is no baseline."""
    for measured in tfma.load_metrics(uri):
        for item in measured.metric_keys_and_values:
            if (
                not measured.slice_key.single_slice_keys
                and item.key.name == "sparse_categorical_accuracy"
                and item.key.model_name == tfma.BASELINE_KEY
                and not item.key.is_diff
            ):
                return item.value.double_value.value
    return None
