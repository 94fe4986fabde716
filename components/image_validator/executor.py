"""The ImageValidator component: its executor."""

import collections
import dataclasses
import functools
import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf
from absl import logging
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from models.data import dataset_info, image_header, preprocessing
from models.data.dataset_info import DataError
from models.data.examples import SPLITS, read_examples
from models.data.image_format import ImageFormat

REPORT_FILE = "image_report.json"
_NAMED = 5  # examples of a problem that a message names
_BATCH_BYTES = 2**24  # decoded images at a time
_TOO_DARK = 4096  # 16 bits a channel whose brightest is below: 12 bits or fewer, not stretched to the whole range
_LEARNABLE = 0.1  # share of what is possible above the majority that a function of the pixels must be able to reach
_DIFFERENT, _MANY = 0.1, 10  # share of a class's images that differ, and images from which it is looked at


class Executor(base_executor.BaseExecutor):
    """Writes a report on all images, and fails if they cannot be trained on."""

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
            exec_properties: As the component's specification says.

        Raises:
            DataError: The images cannot be used; every problem is listed, each with some of the images' ids.
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
            *_label_problems(images, info.class_names),
            *_shape_problems(images, exec_properties["image_size"], exec_properties["channels"]),
            *_size_problems(images, exec_properties),
            *_depth_problems(info),
            *_learning_problems(images),
        ]
        warnings = [
            *_anomalies(input_dict, anomalies_pb2.AnomalyInfo.WARNING),
            *_duplicates(images),
            *_sameness(images, info.class_names),
            *_count_warnings(images, info.class_names, exec_properties["max_imbalance"]),
        ]
        for warning in warnings:
            logging.warning("%s", warning)
        report = artifact_utils.get_single_instance(output_dict["image_report"])
        _write(report.uri, _report(images, info, problems, warnings))
        report.set_int_custom_property("warnings", len(warnings))
        if problems:
            raise DataError("The images cannot be trained on:\n" + "\n".join(f"- {problem}" for problem in problems))


@dataclasses.dataclass(frozen=True)
class _Image:
    """What is looked at of an image."""

    id: str
    label: int
    digest: bytes  # of its pixels as training will see them
    plain: bool  # of one colour
    size: str
    channels: int


def _format(info, settings):
    """Returns the form that images are trained in."""
    try:
        shape = info.image_shape(settings["image_size"], settings["channels"])
    except DataError:  # there is none, as the problems say; they are compared in this one
        shape = (32, 32, 3)
    return ImageFormat.from_settings(shape, settings)


def _look(split_uri, image_format):
    """Yields what is seen of the images of a split, a few of which are decoded at a time."""
    size = max(1, _BATCH_BYTES // math.prod(image_format.image_shape))
    for examples in read_examples(os.path.join(split_uri, "*")).as_numpy_iterator():
        for start in range(0, len(examples["id"]), size):
            part = {name: values[start : start + size] for name, values in examples.items()}
            pixels, sizes, channels = (seen.numpy() for seen in _decoder(image_format)(part["image"]))
            plain = (pixels == pixels[:, :1, :1]).all(axis=(1, 2, 3))
            for number, image_id in enumerate(part["id"]):
                yield _Image(
                    image_id.decode(),
                    int(part["label"][number]),
                    hashlib.sha256(pixels[number].tobytes()).digest(),
                    bool(plain[number]),
                    "{1}x{0}".format(*sizes[number]),
                    int(channels[number]),
                )


@functools.cache
def _decoder(image_format):
    """Returns a function of files (batch,): their pixels, sizes and numbers of channels."""

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
    """Returns what TFDV found of a severity, in its own words."""
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


def _label_problems(images, class_names):
    everything = list(itertools.chain(*images.values()))
    unknown = [image for image in everything if not 0 <= image.label < len(class_names)]
    if unknown:
        yield (
            f"{len(unknown)} labels lie outside the {len(class_names)} classes (0 to {len(class_names) - 1}): "
            f"{_some(f'{image.id} has {image.label}' for image in unknown)}."
        )
    for split in ("train", "val"):
        found = {image.label for image in images[split]}
        missing = [name for label, name in enumerate(class_names) if label not in found]
        if len(found) < 2:
            yield f"{split} has {len(found)} classes; needed are 2 or more."
        elif missing:
            yield f"{split} has no image of {len(missing)} classes: {_some(missing)}. Add images or remove the class."


def _shape_problems(images, image_size, channels):
    everything = list(itertools.chain(*images.values()))
    for what, attribute, setting, example in (
        ("size", "size", image_size, "config.data.image_size to the size in pixels that all are to be resized to"),
        ("channels", "channels", channels, "config.data.channels to 1 (grey) or 3 (colours), to convert them all"),
    ):
        counts = collections.Counter(getattr(image, attribute) for image in everything)
        if len(counts) > 1 and not setting:
            (usual, number), *_ = counts.most_common()
            others = [image for image in everything if getattr(image, attribute) != usual]
            yield (
                f"The images differ in {what}: {number} have {usual}, {len(others)} do not: "
                f"{_some(f'{image.id} has {getattr(image, attribute)}' for image in others)}. Set {example}."
            )


def _size_problems(images, settings):
    side = settings["smallest_side"]
    small = [image for image in itertools.chain(*images.values()) if min(map(int, image.size.split("x"))) < side]
    if small and not settings["image_size"]:
        yield (
            f"{len(small)} images have sides of less than {side} pixels, which {settings['needed_by']} needs: "
            f"{_some(f'{image.id} has {image.size}' for image in small)}. Set config.data.image_size to {side} or more."
        )


def _depth_problems(info):
    if 0 < info.brightest < _TOO_DARK:
        yield (
            f"The images with 16 bits a channel use values up to {info.brightest} of 65535 alone, so that they would "
            "come out nearly black: save them with 8 bits, or stretch them to the whole range."
        )


def _learning_problems(images):
    """Yields a problem where no function of the pixels could tell the classes apart."""
    labels = collections.defaultdict(collections.Counter)
    for image in (*images["train"], *images["val"]):
        labels[image.digest][image.label] += 1
    count = sum(map(collections.Counter.total, labels.values()))
    majority = max(sum(labels.values(), collections.Counter()).values(), default=0)
    reachable = sum(max(counts.values()) for counts in labels.values())
    if reachable - majority < _LEARNABLE * (count - majority):
        yield (
            f"{count} images to train on come out as {len(labels)} different pictures: whoever knew all by heart would "
            f"tell {reachable} of them right, and {majority} are of the largest class, so that nothing can be learned. "
            "Look at the files: are they transparent (config.data.background), of 16 bits, coloured "
            "(config.data.channels), much larger than config.data.image_size?"
        )


def _sameness(images, class_names):
    by_class = collections.defaultdict(list)
    for image in (*images["train"], *images["val"]):
        by_class[image.label].append(image)
    plain, few = [], []
    for label, name in enumerate(class_names):
        found = by_class[label]
        different = len({image.digest for image in found})
        if len(found) > 1 and all(image.plain for image in found):
            plain.append(f"{name} ({len(found)} images)")
        elif len(found) >= _MANY and different < _DIFFERENT * len(found):
            few.append(f"{name} ({len(found)} images, {different} different)")
    if plain:
        yield f"All images of {len(plain)} classes are of one colour each, without a picture: {_some(plain)}."
    if few:
        yield f"Most images of {len(few)} classes are the same picture over again: {_some(few)}."


def _duplicates(images):
    first = {split: {} for split in SPLITS}
    for split, there in first.items():
        for image in images[split]:
            there.setdefault(image.digest, image)
    for one, other in (("train", "test"), ("val", "test"), ("train", "val")):
        twice = [(first[one][image.digest], image) for image in images[other] if image.digest in first[one]]
        if twice:
            yield (
                f"{len(twice)} images of {other} are in {one} too, so the accuracy on {other} flatters: "
                f"{_some(f'{b.id} is {a.id}' for a, b in twice)}."
            )
        contradicting = [(a, b) for a, b in twice if a.label != b.label]
        if contradicting:
            yield (
                f"{len(contradicting)} of them have another label there: "
                f"{_some(f'{b.id} is {a.id}' for a, b in contradicting)}."
            )


def _count_warnings(images, class_names, max_imbalance):
    tested = {image.label for image in images["test"]}
    missing = [name for label, name in enumerate(class_names) if label not in tested]
    if missing:
        yield f"test has no image of {len(missing)} classes: {_some(missing)}. Nothing will be known of them."
    counts = collections.Counter(image.label for split in ("train", "val") for image in images[split])
    known = {name: counts[label] for label, name in enumerate(class_names) if counts[label]}
    if known and max(known.values()) > max_imbalance * min(known.values()):
        most, least = max(known, key=known.get), min(known, key=known.get)
        yield (
            f"The classes are very unequal: {known[most]} training images of {most}, {known[least]} of {least}. "
            "Accuracy will say little of the small ones; look at the metrics per class."
        )


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


def _some(texts: Iterable[str]) -> str:
    texts = list(texts)
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more


def _write(uri, report):
    tf.io.gfile.makedirs(uri)
    with tf.io.gfile.GFile(os.path.join(uri, REPORT_FILE), "w") as file:
        json.dump(report, file, indent=1)
