"""Reads the examples artifact, for the components that train on it."""

import os

from tfx.types import artifact, artifact_utils

from models.data import dataset
from models.settings import Data


def load_split(examples: list[artifact.Artifact], split: str, data: Data) -> dataset.ImageDataset:
    """Returns a split of the examples, decoded with the settings of `config.data`."""
    patterns = [os.path.join(uri, "*") for uri in artifact_utils.get_split_uris(examples, split)]
    return dataset.load_examples(patterns, data)
