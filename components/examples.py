"""Reads the examples artifact, for the components that train on it."""

import os
from collections.abc import Sequence

from tfx.types import artifact, artifact_utils

from models.data import dataset
from models.settings import Data


def load_split(examples: list[artifact.Artifact], split: str, data: Data) -> dataset.ImageDataset:
    """Returns a split of the examples, decoded with the settings of `config.data`."""
    return load_splits(examples, (split,), data)


def load_splits(examples: list[artifact.Artifact], splits: Sequence[str], data: Data) -> dataset.ImageDataset:
    """Returns the images of several splits of the examples in one data set, decoded as in `load_split`."""
    uris = (uri for split in splits for uri in artifact_utils.get_split_uris(examples, split))
    return dataset.load_examples([os.path.join(uri, "*") for uri in uris], data)
