"""The executor of the ImageValidator component."""

import os
from typing import Any

import apache_beam as beam
import tensorflow as tf
from absl import logging
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.image_validator import checks, inspection, look, pictures
from models.data import dataset_info
from models.data.dataset_info import DataError
from models.data.examples import SPLITS, example_files
from models.data.image_format import ImageFormat, colour
from models.runtime import artifact_files


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes a report on all images, and fails if they cannot be used for training."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component.

        Args:
            input_dict: `examples` and, if there are any, `anomalies`.
            output_dict: `image_report`.
            exec_properties: The parameters in the specification of the component.

        Raises:
            DataError: The images cannot be used; the message lists all problems, each with some ids of images.
        """
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        info = dataset_info.load(examples.uri)
        severities = anomalies_pb2.AnomalyInfo.ERROR, anomalies_pb2.AnomalyInfo.WARNING
        anomalies = [list(_anomalies(input_dict, severity)) for severity in severities]
        artifact = artifact_utils.get_single_instance(output_dict["image_report"])
        self._write_report(_files(examples), info, exec_properties, anomalies, artifact.uri)
        report = artifact_files.IMAGE_REPORT.load(artifact.uri, dict)
        for warning in report["warnings"]:
            logging.warning("%s", warning)
        artifact.set_int_custom_property("warnings", len(report["warnings"]))
        if report["problems"]:
            listed = "\n".join(f"- {problem}" for problem in report["problems"])
            raise DataError(f"The images cannot be used for training:\n{listed}")

    def _write_report(self, files, info, settings, anomalies, uri):
        """Looks at all images with Beam. Its last step writes the report, which may be on another machine."""
        parts = pictures.parts(sum(map(sum, info.counts.values())))
        look_at_file = look.LookAtFile(_format(info, settings), len(info.class_names), settings["smallest_side"], parts)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Files" >> beam.Create(files)
                | "Inspect" >> inspection.Inspect(look_at_file)
                | "Report" >> beam.Map(_report, info, settings, anomalies)
                | "Write" >> beam.Map(lambda report: artifact_files.IMAGE_REPORT.save(uri, report))
            )


def _files(examples):
    """Returns the files of all splits."""
    return [
        look.File(split, number, path)
        for split, name in enumerate(SPLITS)
        for number, path in enumerate(example_files(os.path.join(artifact_utils.get_split_uri([examples], name), "*")))
    ]


def _format(info, settings):
    """Returns the form in which the training gets images."""
    try:
        shape = info.image_shape(settings["image_size"], settings["channels"])
    except DataError:  # the checks report it as a problem; until then, the images are decoded in this form
        shape = (32, 32, 3)
    return ImageFormat(shape, settings["resize"], colour(settings["background"]))


def _anomalies(input_dict, severity):
    """Yields the anomalies of a severity that TFDV found, in TFDV's words."""
    for artifact in input_dict.get("anomalies") or []:
        for split in artifact_utils.decode_split_names(artifact.split_names):
            anomalies = anomalies_pb2.Anomalies()
            path = os.path.join(artifact_utils.get_split_uri([artifact], split), "SchemaDiff.pb")
            with tf.io.gfile.GFile(path, "rb") as file:
                anomalies.ParseFromString(file.read())
            if anomalies.dataset_anomaly_info.severity == severity:
                yield f"{split}: {anomalies.dataset_anomaly_info.description}"
            for feature, anomaly in sorted(anomalies.anomaly_info.items()):
                if anomaly.severity == severity:
                    yield f"{split}: feature {feature}: {anomaly.short_description}: {anomaly.description}"


def _report(findings, info, settings, anomalies):
    errors, doubts = anomalies
    return {
        "problems": [*errors, *checks.problems(findings, info, settings)],
        "warnings": [*doubts, *checks.warnings(findings, info, settings["max_imbalance"])],
        "images": {split: findings.count(split).total() for split in SPLITS},
        "classes": {
            name: {split: findings.labels[split, label] for split in SPLITS}
            for label, name in enumerate(info.class_names)
        },
        "sizes": dict(findings.usual.get("size", ())),
        "channels": dict(findings.usual.get("channels", ())),
        "undecodable": dict(info.undecodable),
    }
