"""The embedded digits as a TFDS data set."""

import collections
import socket

import numpy as np
import tensorflow_datasets as tfds
from sklearn import datasets

from components.tfds_example_gen import source
from models.settings import Data


def test_holds_every_digit_of_scikit_learn_once_and_needs_no_network(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    builder = source.Source(Data(name="digits")).prepare(str(tmp_path)).builder
    found = collections.Counter()
    for split, count in (("train", 1437), ("test", 360)):
        examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
        assert len(examples) == count
        # Brightness 0 to 16 became 0 to 255.
        found.update((np.round(ex["image"] / 255 * 16).astype(int).tobytes(), ex["label"]) for ex in examples)
    digits = datasets.load_digits()
    assert found == collections.Counter(
        (image.astype(int).tobytes(), label) for image, label in zip(digits.images, digits.target, strict=True)
    )
