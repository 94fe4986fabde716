"""Images from examples, and batches of them.

Images are decoded once and kept as uint8 where they fit the memory allowed; else their encoded bytes wait in a
temporary file and are decoded in parallel each time. Order and augmentation are the same either way: a pure function
of seed, epoch and step, so that a resumed run sees what an uninterrupted one would have seen.
"""

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models.data import dataset_info, preprocessing
from models.data.augment import Augmentation, crop_and_flip, cutout, jitter, resized_crop
from models.data.dataset_info import DataError
from models.data.examples import read_sorted
from models.data.image_format import ImageFormat
from models.settings import Data

__all__ = ["Augmentation", "DataError", "EncodedImages", "ImageDataset", "batches", "load_examples"]


# Batches that wait for their step, and batches made at once at most: all of them are in memory, whatever the machine's
# number of cores (a container's share of them is not known).
_PREFETCHED, _PARALLEL = 2, 8


class EncodedImages:
    """Encoded images in a temporary file, decoded whenever they are asked for."""

    def __init__(self, encoded: Sequence[bytes], image_format: ImageFormat):
        """Writes the file.

        Args:
            encoded: The bytes of each image's file.
            image_format: The form to decode to.
        """
        self.shape = (len(encoded), *image_format.image_shape)
        self._format = image_format
        self._ends = np.cumsum([len(image) for image in encoded])
        with tempfile.TemporaryFile() as file:
            file.writelines(encoded)
            file.flush()
            # The operating system keeps as much of it in memory as there is room for.
            self._bytes = np.memmap(file, np.uint8, mode="r")

    def take(self, indices: tf.Tensor) -> tf.Tensor:
        """Returns the images at the indices: uint8 (batch, height, width, channels)."""
        encoded = tf.numpy_function(self._encoded, [indices], tf.string, stateful=False)
        return preprocessing.decode_images(tf.ensure_shape(encoded, indices.shape), self._format)

    def _encoded(self, indices):
        starts = [self._ends[index - 1] if index else 0 for index in indices]
        return np.array(
            [self._bytes[start : self._ends[index]].tobytes() for start, index in zip(starts, indices, strict=True)],
            dtype=object,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images, in the order of their ids.

    Attributes:
        images: uint8 (count, height, width, channels), or EncodedImages of that shape.
        labels: int32 (count,), each below the number of classes.
        ids: What names each image: bytes (count,).
        class_names: In the order of the labels.
        mean: Mean of each channel in the training images, on the scale 0 to 1.
        std: Standard deviation of each channel, on the same scale.
        fingerprint: A hash of everything that training sees of it, except the scores.
        scores: A teacher's logits for each image, float32 (count, classes); None without a teacher.
    """

    images: np.ndarray | EncodedImages
    labels: np.ndarray
    ids: np.ndarray
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str = ""
    scores: np.ndarray | None = None
    _functions: dict = dataclasses.field(default_factory=dict, init=False, repr=False)

    def __len__(self):
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return tuple(self.images.shape[1:])

    def pixels(self, start: int, end: int) -> tf.Tensor:
        """Returns the images from `start` to before `end`, not normalised: uint8 (batch, height, width, channels)."""
        if isinstance(self.images, EncodedImages):
            return self.images.take(tf.range(start, end))
        return tf.convert_to_tensor(self.images[start:end])

    def take(self, indices: np.ndarray) -> tf.Tensor:
        """Returns the images with these indices, not normalised: uint8 (batch, height, width, channels)."""
        if isinstance(self.images, EncodedImages):
            return self.images.take(tf.constant(indices))
        return tf.convert_to_tensor(self.images[indices])

    def batch_function(self, augment: Augmentation, one_hot: bool) -> Callable[..., tuple[tf.Tensor, Any]]:
        """Returns what makes a batch of indices (batch,), a key (2,) and a step: normalised images and labels.

        It is traced once for all epochs. One-hot labels come with the scores, if there are any: (labels, scores).
        """
        if (augment, one_hot) not in self._functions:
            self._functions[augment, one_hot] = self._trace(augment, one_hot)
        return self._functions[augment, one_hot]

    def _trace(self, augment, one_hot):
        with tf.device("CPU:0"):  # an accelerator's memory is not for the whole data set
            all_images = self.images if isinstance(self.images, EncodedImages) else tf.convert_to_tensor(self.images)
            all_labels = tf.convert_to_tensor(self.labels)
            all_scores = None if self.scores is None else tf.convert_to_tensor(self.scores)

        @tf.function(
            input_signature=[
                tf.TensorSpec((None,), tf.int64),
                tf.TensorSpec((2,), tf.int64),
                tf.TensorSpec((), tf.int64),
            ],
            autograph=False,
        )
        def make(indices, key, step):
            key = tf.random.experimental.stateless_fold_in(key, step, alg="philox")
            encoded = isinstance(all_images, EncodedImages)
            images = all_images.take(indices) if encoded else tf.gather(all_images, indices)
            labels = tf.gather(all_labels, indices)
            images = resized_crop(images, key, augment.crop_area)
            images = jitter(images, key, augment.jitter)
            images = crop_and_flip(images, key, augment.pad, augment.flip)
            images = preprocessing.normalise(images, self.mean, self.std)
            images = cutout(images, key, augment.cutout)
            if not one_hot:
                return images, labels
            labels = tf.one_hot(labels, len(self.class_names))
            return images, labels if all_scores is None else (labels, tf.gather(all_scores, indices))

        return make


def load_examples(patterns: str | Sequence[str], data: Data) -> ImageDataset:
    """Reads the examples of one or several splits of an examples artifact.

    Args:
        patterns: File patterns such as `.../Split-train/*`, as TFX hands them to a Trainer.
        data: `config.data`, which says the form to bring images to and the memory for those that are kept decoded.

    Returns:
        The images, sorted by id.

    Raises:
        DataError: There are no examples, an image cannot be decoded, or the images differ in size or channels and
            are to be kept as they are.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    # .../Split-train/* lies beside the facts of the data set.
    info = dataset_info.load(os.path.dirname(os.path.dirname(patterns[0])))
    image_format = ImageFormat.from_settings(info.image_shape(data.image_size, data.channels), data)
    normalization = info.normalization[image_format.image_shape[2]]
    ids, labels, encoded = read_sorted(patterns)
    images = EncodedImages(encoded, image_format)
    if np.prod(images.shape, dtype=np.int64) <= data.cache_mb * 2**20:
        images = _decode_all(images, ids)
    return ImageDataset(
        images,
        labels,
        ids,
        info.class_names,
        normalization.mean,
        normalization.std,
        _fingerprint(ids, labels, encoded, image_format, normalization),
    )


def batches(
    dataset: ImageDataset,
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int | None = None,
    start_step: int = 0,
    augment: Augmentation | None = None,
    one_hot: bool = False,
    sample: int | None = None,
) -> tf.data.Dataset:
    """Returns the batches of one training epoch, or of an evaluation.

    A training takes all images in a random order, then all of them in another order, and so on. An epoch is a part of
    this sequence: all images once, or `sample` of them. It has ceil(count / batch_size) batches. All are of one size,
    so that a training step is traced once: the last is filled up with the images that came first. An evaluation takes
    every image once, or a random `sample` of them, in the order of the ids; as many batches, whose sizes differ by 1 at
    most.

    Args:
        dataset: The images.
        batch_size: Images a batch, at least 1; a smaller data set is one batch.
        seed: Of order and augmentation, at least 0.
        epoch: Number of the training epoch, at least 0; None for an evaluation.
        start_step: Batches to leave out at the beginning, which costs nothing.
        augment: Changes to the images; None for none. Not for an evaluation.
        one_hot: Whether labels are float32 (batch, classes) instead of int32 (batch,). If the images have scores, the
            labels are then a pair: (labels, scores), both float32 (batch, classes).
        sample: How many images to take, if there are more; at least 1. The seed and the epoch decide which, and mix
            them: each batch is like all images.

    Returns:
        Pairs of float32 normalised images (batch, height, width, channels) and labels. The same arguments give the
        same batches, bit for bit.
    """
    count = len(dataset) if sample is None else min(sample, len(dataset))
    steps = -(-count // batch_size)
    if epoch is None:
        order = np.arange(count)
        if sample is not None:
            order = np.random.default_rng(seed).permutation(len(dataset))[:count]
        ends = np.cumsum([len(part) for part in np.array_split(order, steps)])
        key = np.zeros(2, np.int64)
    else:
        random = np.random.SeedSequence([seed, epoch])
        size = min(batch_size, count)
        order = np.resize(_in_turn(len(dataset), seed, epoch * count, count), steps * size)
        ends = np.arange(1, steps + 1) * size
        key = random.spawn(1)[0].generate_state(2).astype(np.int64)
    starts = np.concatenate([[0], ends[:-1]])
    sizes = set(ends - starts)
    batch = sizes.pop() if len(sizes) == 1 else None
    make = dataset.batch_function(augment or Augmentation(), one_hot)
    with tf.device("CPU:0"):
        starts, ends, order, key = (tf.constant(array, tf.int64) for array in (starts, ends, order, key))

    def batch_of(step):
        images, labels = make(order[starts[step] : ends[step]], key, step)
        labels = tf.nest.map_structure(lambda array: tf.ensure_shape(array, (batch, *array.shape[1:])), labels)
        return tf.ensure_shape(images, (batch, *dataset.image_shape)), labels

    numbers = tf.data.Dataset.range(start_step, steps)
    parallel = min(os.cpu_count() or 1, _PARALLEL)
    made = numbers.map(batch_of, num_parallel_calls=parallel, deterministic=True).prefetch(_PREFETCHED)
    # The end of an iterator would wait for the thread that tunes it, with few threads for as long as ten steps take.
    options = tf.data.Options()
    options.autotune.enabled = False
    return made.with_options(options)


def _in_turn(images: int, seed: int, first: int, count: int) -> np.ndarray:
    """Returns a part of the sequence in which a training takes images: `count` indices from place `first` on."""
    rounds = range(first // images, (first + count - 1) // images + 1)
    orders = [np.random.default_rng(np.random.SeedSequence([seed, number])).permutation(images) for number in rounds]
    return np.concatenate(orders)[first % images :][:count]


def _decode_all(images: EncodedImages, ids: np.ndarray) -> np.ndarray:
    chunk, decoded = 128, np.empty(images.shape, np.uint8)
    starts = tf.data.Dataset.range(0, len(ids), chunk)
    parts = starts.map(
        lambda start: images.take(tf.range(start, tf.minimum(start + chunk, len(ids)))),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    try:
        for number, part in enumerate(parts.as_numpy_iterator()):
            decoded[number * chunk : number * chunk + len(part)] = part
    except tf.errors.InvalidArgumentError as error:
        raise DataError(_undecodable(images, ids, error)) from error
    return decoded


def _undecodable(images, ids, error):
    for index, name in enumerate(ids):
        try:
            images.take(tf.constant([index]))
        except tf.errors.InvalidArgumentError as reason:
            return f"The image {name.decode()} cannot be decoded: {reason.message}"
    return f"The images cannot be decoded: {error.message}"


def _fingerprint(ids, labels, encoded, image_format, normalization):
    digest = hashlib.sha256(repr((image_format, normalization, labels.tolist())).encode())
    for part in (*ids, *encoded):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
