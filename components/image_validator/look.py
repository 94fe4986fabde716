"""The work of Beam's workers: a worker takes a file of examples, decodes its images, and notes the facts about them."""

import collections
import functools
import hashlib
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import tensorflow as tf

from components.image_validator import pictures
from components.image_validator.findings import Findings, Place, Sample
from models.data import image_header, preprocessing
from models.data.examples import SPLITS, parse_examples, read_records
from models.data.image_format import ImageFormat

# The outputs of LookAtFile.
FINDINGS, VALUES, PICTURES = "findings", "values", "pictures"

_BATCH_BYTES = 2**24  # size of the images that are decoded at a time at most
_EXAMPLES = 128  # examples that are read at a time at most; files may be as large as photos are
_TOGETHER = 1024  # images whose facts are added up before they are handed on
_DIGEST = 16  # bytes of a SHA-256; among a billion images, two different ones are equal with a probability of 1e-21


class File(NamedTuple):
    """A file of examples: the number of its split in SPLITS, its number in this split, and its path."""

    split: int
    number: int
    path: str


class _Image(NamedTuple):
    """The facts about an image."""

    place: Place
    id: str
    label: int
    digest: bytes  # of the pixels that training gets
    plain: bool  # whether all pixels have the same colour
    sides: tuple[int, int]  # width and height
    channels: int


class LookAtFile(beam.DoFn):
    """Notes the facts about the images of a file, a few images at a time.

    The output FINDINGS has Findings. VALUES has (("size" or "channels", value), Sample of the images), and PICTURES
    has the pictures for each part of their comparison.
    """

    def __init__(self, image_format: ImageFormat, classes: int, smallest_side: int, parts: int):
        """Takes the arguments that are the same for all files.

        Args:
            image_format: The form in which the training gets images.
            classes: Number of classes.
            smallest_side: Images with a side of fewer pixels are noted as too small.
            parts: Number of parts of the comparison of pictures.
        """
        self._image_format, self._classes = image_format, classes
        self._smallest_side, self._parts = smallest_side, parts

    def process(self, file: File) -> Iterator[Any]:
        """Looks at the images of one file."""
        found = _look(file, self._image_format)
        while images := list(itertools.islice(found, _TOGETHER)):
            yield self._findings(images)
            for value in _values(images):
                yield beam.pvalue.TaggedOutput(VALUES, value)
            shown = ((image.digest, image.label, image.place, image.id) for image in images)
            for part in pictures.divide(shown, self._parts):
                yield beam.pvalue.TaggedOutput(PICTURES, part)

    def _findings(self, images):
        findings = Findings()
        for image in images:
            split = SPLITS[image.place[0]]
            findings.labels[split, image.label] += 1
            if image.plain and split != "test":
                findings.plain[image.label] += 1
        unknown = [(image, image.label) for image in images if not 0 <= image.label < self._classes]
        small = [(image, _size(image)) for image in images if min(image.sides) < self._smallest_side]
        findings.add(("unknown label",), _sample(unknown))
        findings.add(("small",), _sample(small))
        return findings


def _values(images):
    having = collections.defaultdict(list)
    for image in images:
        having["size", _size(image)].append(image)
        having["channels", image.channels].append(image)
    for (what, value), found in having.items():
        yield (what, value), _sample([(image, value) for image in found])


def _sample(having):
    """Returns the sample of images, each with what the message tells of it."""
    return Sample.of([(image.place, f"{image.id} has {value}") for image, value in having])


def _size(image):
    return f"{image.sides[0]}x{image.sides[1]}"


def _look(file, image_format):
    """Yields the facts about each image of a file; decodes a few images at a time."""
    size = max(1, min(_EXAMPLES, _BATCH_BYTES // math.prod(image_format.image_shape)))
    numbers = itertools.count()
    for serialized in read_records(file.path).batch(size).prefetch(1):
        examples = {name: values.numpy() for name, values in _decoder(image_format)(serialized).items()}
        pixels = examples["pixels"]
        plain = (pixels == pixels[:, :1, :1]).all(axis=(1, 2, 3))
        for index, image_id in enumerate(examples["id"]):
            height, width = examples["size"][index].tolist()
            yield _Image(
                place=(file.split, file.number, next(numbers)),
                id=image_id.decode(),
                label=int(examples["label"][index]),
                digest=hashlib.sha256(pixels[index].tobytes()).digest()[:_DIGEST],
                plain=bool(plain[index]),
                sides=(width, height),
                channels=int(examples["channels"][index]),
            )


@functools.cache
def _decoder(image_format):
    """Returns a function of serialized examples (batch,): their ids, labels, pixels, sizes and numbers of channels."""

    def decode(encoded):
        header = image_header.read(encoded)
        return preprocessing.decode_image(encoded, image_format), header.size(), header.channels

    kinds = (
        tf.TensorSpec(image_format.image_shape, tf.uint8),
        tf.TensorSpec((2,), tf.int32),
        tf.TensorSpec((), tf.int32),
    )

    def look(serialized):
        examples = parse_examples(serialized)
        pixels, sizes, channels = tf.map_fn(decode, examples["image"], fn_output_signature=kinds)
        facts = {"pixels": pixels, "size": sizes, "channels": channels}
        return {"id": examples["id"], "label": examples["label"], **facts}

    return tf.function(look, input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
