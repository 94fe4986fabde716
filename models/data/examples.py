"""How an image and its class stand in a tf.Example: the splits, the features, writing and reading them."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.data.dataset_info import DataError

SPLITS = ("train", "val", "test")

# What a tf.Example of TfdsExampleGen holds.
_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "id": tf.io.FixedLenFeature([], tf.string),
}


def example_files(patterns: str | Sequence[str]) -> list[str]:
    """Returns the sorted files that match.

    Raises:
        DataError: No file matches.
    """
    files = sorted(file for pattern in np.atleast_1d(patterns) for file in tf.io.gfile.glob(str(pattern)))
    if not files:
        raise DataError(f"There are no examples in {', '.join(np.atleast_1d(patterns))}.")
    return files


def read_examples(patterns: str | Sequence[str]) -> tf.data.Dataset:
    """Returns the parsed examples of the files that match, 1,024 at a time.

    Raises:
        DataError: No file matches.
    """
    return read_records(example_files(patterns)).batch(1024).map(parse_examples).prefetch(2)


def read_records(files: str | Sequence[str]) -> tf.data.Dataset:
    """Returns the serialized examples of files."""
    return tf.data.TFRecordDataset(files, compression_type="GZIP")


def parse_examples(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns `id`, `label` and the encoded `image` of serialized examples (batch,)."""
    return tf.io.parse_example(serialized, _FEATURES)


def read_sorted(patterns: str | Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns ids, int32 labels and encoded images of all examples, in the order of the ids.

    Raises:
        DataError: No file matches, or the files hold no examples.
    """
    parts = list(read_examples(patterns).as_numpy_iterator())
    if not parts:
        raise DataError(f"The files {', '.join(patterns)} hold no examples.")
    ids, labels, encoded = (np.concatenate([part[name] for part in parts]) for name in ("id", "label", "image"))
    order = np.argsort(ids)
    return ids[order], labels[order].astype(np.int32), encoded[order]


def serialize_example(image_id: str, label: int, encoded: bytes) -> bytes:
    """Returns the serialized tf.Example of an encoded image; equal arguments give equal bytes."""
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image_id.encode()])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)
