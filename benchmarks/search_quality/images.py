"""Labelled images for benchmarks, from a folder or a zip file with `.../train/<class>/<image>`.

train, val = images.read("cifar10_jpeg.zip", size=16, train=5000, val=5000, seed=0)
"""

import collections
import contextlib
import os
import zipfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.data import dataset
from models.data.image_format import ImageFormat

_CHUNK = 128  # images that are decoded together


def read(
    path: str, size: int, train: int, val: int, seed: int = 0
) -> tuple[dataset.ImageDataset, dataset.ImageDataset]:
    """Returns images to train and images to validate on, disjoint, each evenly from all classes.

    Args:
        path: Folder or zip file. Only the images of its `train` folder are used: none of the test images is seen.
        size: Height and width in pixels. Images of another size are resized, antialiased where they shrink.
        train: Number of images to train on, at least 1. Their mean and deviation normalise all images.
        val: Number of images to validate on, at least 1.
        seed: Decides which images are drawn.

    Raises:
        OSError: The folder or file cannot be read.
        ValueError: It has too few images, or a file is no image.
    """
    (train_files, val_files), class_names = draw(path, (train, val), seed)
    train_pixels, val_pixels = (_decode(files, size) for files in (train_files, val_files))
    mean, std = _moments(train_pixels)

    def image_dataset(files, pixels):
        ids = np.array([f"{number:06d} {name}".encode() for number, (name, _, _) in enumerate(files)])
        labels = np.array([label for _, label, _ in files], np.int32)
        return dataset.ImageDataset(pixels, labels, ids, class_names, mean, std)

    return image_dataset(train_files, train_pixels), image_dataset(val_files, val_pixels)


def draw(path: str, counts: Sequence[int], seed: int = 0) -> tuple[list[list[tuple[str, int, bytes]]], tuple[str, ...]]:
    """Returns disjoint parts of the training images, undecoded, and the classes' names.

    Each image is its name, its class's number and the content of its file. The classes take turns, so that the first
    images of a part are as even as all of it.

    Args:
        path: As `read` takes it.
        counts: Number of images of each part.
        seed: Decides which images are drawn.

    Raises:
        OSError: The folder or file cannot be read.
        ValueError: It has too few images.
    """
    try:
        archive = contextlib.nullcontext() if os.path.isdir(path) else zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: found no zip file; expected a folder or a zip file of images.") from error
    with archive as opened:
        by_class = _by_class(opened.namelist() if opened else _names(path))
        class_names = tuple(sorted(by_class))
        if len(class_names) < 2:
            raise ValueError(
                f"{path}: found {len(class_names)} classes; expected 2 or more, as .../train/<class>/<image>."
            )
        random = np.random.default_rng(seed)
        waiting = [list(random.permutation(by_class[name])) for name in class_names]
        parts = []
        for count in counts:
            part = []
            for index in range(count):
                label = index % len(class_names)
                if not waiting[label]:
                    class_name = class_names[label]
                    raise ValueError(
                        f"{path}: found {len(by_class[class_name])} images of {class_name!r}; expected enough for "
                        f"{' + '.join(map(str, counts))} images of {len(class_names)} classes. Ask for fewer."
                    )
                name = str(waiting[label].pop())
                part.append((name, label, opened.read(name) if opened else _content(path, name)))
            parts.append(part)
    return parts, class_names


def _names(folder):
    """The files in a folder, as a zip file would name them."""
    for parent, _, files in os.walk(folder):
        for file in files:
            yield os.path.relpath(os.path.join(parent, file), folder).replace(os.sep, "/")


def _by_class(names):
    found = collections.defaultdict(list)
    for name in sorted(names):
        *_, split, class_name, file = ["", "", *name.split("/")]
        if split == "train" and file and not file.startswith("."):
            found[class_name].append(name)
    return found


def _content(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def _decode(files, size):
    encoded = dataset.EncodedImages([content for _, _, content in files], ImageFormat((size, size, 3)))
    decoded = tf.data.Dataset.range(len(files)).batch(_CHUNK).map(encoded.take)
    try:
        return np.concatenate(list(decoded.as_numpy_iterator()))
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"{_broken(files, encoded)}: the image cannot be decoded.") from error


def _broken(files, encoded):
    """The name of the first file that is no image."""
    for index, (name, _, _) in enumerate(files):
        try:
            encoded.take(tf.constant([index]))
        except tf.errors.InvalidArgumentError:
            return name
    raise AssertionError("every image can be decoded by itself")


def _moments(pixels):
    """Mean and standard deviation of each channel, on the scale 0 to 1."""
    # By whole numbers: exact, and without a copy of all pixels in float64.
    count = pixels[..., 0].size
    mean = pixels.sum((0, 1, 2), dtype=np.int64) / count
    square = np.stack([np.bincount(pixels[..., c].ravel(), minlength=256) @ np.arange(256) ** 2 for c in range(3)])
    std = np.sqrt(square / count - mean**2)
    # A channel that is the same everywhere is only shifted.
    std = np.where(std > 0, std, 255)
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())
