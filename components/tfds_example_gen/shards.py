"""The work of Beam's workers: a worker takes a shard of images, checks each image, and writes the examples.

A worker returns only numbers: it copies the images from the source to the files of the examples, a few at a time, and
decodes them with one thread per core. The files depend neither on the number of workers nor on restarts of a worker.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping

import apache_beam as beam
import numpy as np
import tensorflow as tf
from PIL import Image

from components.tfds_example_gen import plan, source
from models.data import image_file, preprocessing
from models.data.dataset_info import Normalization
from models.data.examples import serialize_example
from models.data.image_format import ImageFormat, colour
from models.settings import Data


def decode(data: Data, encoded: bytes) -> image_file.Picture:
    """Decodes an image with the size and the channels in the settings; 0 keeps those of the image.

    Raises:
        UnreadableImage: The file is not a complete image of a format that can be read.
    """
    background = colour(data.background)
    if data.image_size:
        shape = (data.image_size, data.image_size, 3)
        header, pixels = image_file.decode(encoded, ImageFormat(shape, data.resize, background))
    else:
        header, pixels = image_file.read(encoded, background)
    if (data.channels or header.channels) == 1:
        pixels = preprocessing.grey(pixels).numpy()
    return image_file.Picture(header, pixels)


@dataclasses.dataclass
class Totals:
    """Totals over images: sums, minima and maxima of integers, so the order in which they are combined does not matter.

    Attributes:
        counts: (part, label) -> number of images.
        height: Least and greatest height in pixels, before resizing.
        width: Least and greatest width in pixels, before resizing.
        channels: Least and greatest number of channels.
        histograms: Number of channels -> histogram of the images of train and val after resizing, int64 (channels,
            256): the number of pixels with each of the values 0 to 255, per channel.
        brightest: Greatest value in images with 16 bits per channel; 0 without such images.
        undecodable: Id and reason of each image that cannot be decoded. The other totals do not include these images.
    """

    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    height: tuple[int, ...] = ()
    width: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    histograms: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    brightest: int = 0
    undecodable: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @classmethod
    def sum(cls, parts: "Iterable[Totals]") -> "Totals":
        """Returns the totals of all parts."""
        total = cls()
        for part in parts:
            total.counts.update(part.counts)
            for name in ("height", "width", "channels"):
                values = getattr(total, name) + getattr(part, name)
                setattr(total, name, (min(values), max(values)) if values else ())
            for channels, histogram in part.histograms.items():
                total.histograms[channels] = total.histograms.get(channels, 0) + histogram
            total.brightest = max(total.brightest, part.brightest)
            total.undecodable += part.undecodable
        return total

    def normalization(self) -> dict[int, Normalization]:
        """Returns number of channels -> mean and deviation of each channel, for pixel values from 0 to 1."""
        return {channels: _normalization(histogram) for channels, histogram in sorted(self.histograms.items())}


class WriteShard(beam.DoFn):
    """Writes the examples of shards, which are given by their places in the plan. Yields the Totals of each shard."""

    def __init__(self, reader: source.Reader, data: Data, shards: str, directories: Mapping[str, str], unfinished: str):
        """Takes the arguments that are the same for all shards.

        Args:
            reader: Reads the images of the source.
            data: `config.data`, which defines the form of the stored images.
            shards: The file of the plan (plan.py).
            directories: train, val and test -> the folder for the examples of this part.
            unfinished: A folder for files that are being written.
        """
        self._reader, self._data, self._shards = reader, data, shards
        self._directories, self._unfinished = directories, unfinished

    def process(self, place: plan.Place) -> Iterator[Totals]:
        """Writes one shard."""
        shard = plan.read(self._shards, place)
        loads = self._reader.read(shard.split, shard.start, [image_id for image_id, _, _ in shard.images])
        looked_at = _map_in_order(functools.partial(_look, self._data), loads)
        totals = []
        with contextlib.ExitStack() as stack:
            write = {part: stack.enter_context(self._writer(part, file)) for part, file in shard.files.items()}
            for (image_id, label, part), seen in zip(shard.images, looked_at, strict=True):
                totals.append(seen.totals(image_id, label, part))
                if not seen.reason:
                    write[part](serialize_example(image_id, label, seen.stored))
        yield Totals.sum(totals)

    @contextlib.contextmanager
    def _writer(self, part, name):
        """Yields a writer of examples. When its file is complete, the file is moved to its final folder."""
        # A worker that its engine has given up may still write when another one does its work again.
        unfinished = os.path.join(self._unfinished, f"{part}-{name}-{uuid.uuid4().hex}")
        # Image files are already compressed.
        options = tf.io.TFRecordOptions("GZIP", compression_level=0)
        with tf.io.TFRecordWriter(unfinished, options) as writer:
            yield writer.write
        tf.io.gfile.rename(unfinished, os.path.join(self._directories[part], name), overwrite=True)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """The facts about an image, and the bytes for its example."""

    reason: str = ""  # why the image cannot be decoded; the other fields are then empty
    stored: bytes = b""
    header: image_file.Header | None = None
    histogram: np.ndarray | None = None
    brightest: int = 0

    def totals(self, image_id, label, part):
        if self.reason:
            return Totals(undecodable=[(image_id, self.reason)])
        return Totals(
            counts=collections.Counter({(part, label): 1}),
            height=(self.header.height,),
            width=(self.header.width,),
            channels=(self.header.channels,),
            histograms={} if part == "test" else {len(self.histogram): self.histogram},
            brightest=self.brightest,
        )


def _look(data: Data, load: Callable[[], bytes]) -> _Seen:
    """Reads an image and decodes it once, with the decoder of all later stages."""
    try:
        encoded = load()
        header, pixels = decode(data, encoded)
        brightest = image_file.brightest(encoded) if header.sixteen_bit else 0
    except image_file.UnreadableImage as error:
        return _Seen(str(error))
    except (FileNotFoundError, PermissionError) as error:  # a dangling link, another user's file
        return _Seen(error.strerror)
    histogram = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0]).histogram()
    if data.store == "resized" and (header.height, header.width) != pixels.shape[:2]:
        encoded = tf.io.encode_png(pixels, compression=1).numpy()  # the usual level takes 5 times as long
    return _Seen("", encoded, header, np.reshape(histogram, (-1, 256)), brightest)


def _map_in_order(function, items):
    """Yields the results of the function for the items, in order. The function runs for a few items in parallel."""
    pending, ahead = collections.deque(), 2 * _cores()
    for item in items:
        pending.append(_pool().submit(function, item))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


@functools.cache
def _pool():
    """Returns the threads of this process; all of its workers share them."""
    return concurrent.futures.ThreadPoolExecutor(_cores(), "decode")


def _cores():
    return len(os.sched_getaffinity(0))


def _normalization(histogram):
    values = np.arange(256) / 255
    share = histogram / histogram.sum(axis=1, keepdims=True)
    mean = share @ values
    std = np.sqrt(np.maximum(share @ values**2 - mean**2, 0))
    std[std < 1e-6] = 1.0  # all pixels have the same value
    return Normalization(tuple(mean.tolist()), tuple(std.tolist()))
