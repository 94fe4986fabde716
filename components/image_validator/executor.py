"""The executor of the ImageValidator component."""

import collections
import functools
import hashlib
import itertools
import math
import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import logging
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.image_validator import checks
from models.data import dataset_info, image_header, preprocessing
from models.data.dataset_info import DataError
from models.data.examples import SPLITS, read_examples
from models.data.image_format import ImageFormat, colour
from models.runtime import artifact_files

_BATCH_BYTES = 2**24  # size of the images that are decoded at a time


class Executor(base_executor.BaseExecutor):
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
        image_format = _format(info, exec_properties)
        images = {}
        for split in SPLITS:
            images[split] = list(_look(artifact_utils.get_split_uri([examples], split), image_format))
            logging.info("Looked at %d images of %s.", len(images[split]), split)
        problems = [
            *_anomalies(input_dict, anomalies_pb2.AnomalyInfo.ERROR),
            *checks.problems(images, info, exec_properties),
        ]
        warnings = [
            *_anomalies(input_dict, anomalies_pb2.AnomalyInfo.WARNING),
            *checks.warnings(images, info, exec_properties["max_imbalance"]),
        ]
        for warning in warnings:
            logging.warning("%s", warning)
        report = artifact_utils.get_single_instance(output_dict["image_report"])
        artifact_files.IMAGE_REPORT.save(report.uri, _report(images, info, problems, warnings))
        report.set_int_custom_property("warnings", len(warnings))
        if problems:
            raise DataError(
                "The images cannot be used for training:\n" + "\n".join(f"- {problem}" for problem in problems)
            )


def _format(info, settings):
    """Returns the form in which the training gets images."""
    try:
        shape = info.image_shape(settings["image_size"], settings["channels"])
    except DataError:  # the checks report it as a problem; until then, the images are decoded in this form
        shape = (32, 32, 3)
    return ImageFormat(shape, settings["resize"], colour(settings["background"]))


def _look(split_uri, image_format):
    """Yields the facts about each image of a split; decodes a few images at a time."""
    size = max(1, _BATCH_BYTES // math.prod(image_format.image_shape))
    for examples in read_examples(os.path.join(split_uri, "*")).as_numpy_iterator():
        for start in range(0, len(examples["id"]), size):
            part = {name: values[start : start + size] for name, values in examples.items()}
            pixels, sizes, channels = (seen.numpy() for seen in _decoder(image_format)(part["image"]))
            plain = (pixels == pixels[:, :1, :1]).all(axis=(1, 2, 3))
            for number, image_id in enumerate(part["id"]):
                yield checks.Image(
                    image_id.decode(),
                    int(part["label"][number]),
                    hashlib.sha256(pixels[number].tobytes()).digest(),
                    bool(plain[number]),
                    "{1}x{0}".format(*sizes[number]),
                    int(channels[number]),
                )


@functools.cache
def _decoder(image_format):
    """Returns a function that maps files (batch,) to their pixels, sizes and numbers of channels."""

    def decode(encoded):
        header = image_header.read(encoded)
        return preprocessing.decode_image(encoded, image_format), header.size(), header.channels

    kinds = (
        tf.TensorSpec(image_format.image_shape, tf.uint8),
        tf.TensorSpec((2,), tf.int32),
        tf.TensorSpec((), tf.int32),
    )
    return tf.function(
        lambda files: tf.map_fn(decode, files, fn_output_signature=kinds),
        input_signature=[tf.TensorSpec((None,), tf.string)],
        autograph=False,
    )


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


def _report(images, info, problems: Sequence[str], warnings: Sequence[str]):
    everything = list(itertools.chain(*images.values()))
    labels = {split: collections.Counter(image.label for image in found) for split, found in images.items()}
    return {
        "problems": problems,
        "warnings": warnings,
        "images": {split: len(found) for split, found in images.items()},
        "classes": {
            name: {split: labels[split][label] for split in SPLITS} for label, name in enumerate(info.class_names)
        },
        "sizes": dict(collections.Counter(image.size for image in everything).most_common(20)),
        "channels": dict(collections.Counter(image.channels for image in everything)),
        "undecodable": dict(info.undecodable),
    }
