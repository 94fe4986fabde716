"""The examples artifact, as the components that train on it read it."""

import os

from tfx.types import artifact, artifact_utils

from models.data import dataset
from models.settings import Data


def load_split(examples: list[artifact.Artifact], split: str, data: Data) -> dataset.ImageDataset:
    """Returns a split of the examples, decoded as `config.data` says."""
    patterns = [os.path.join(uri, "*") for uri in artifact_utils.get_split_uris(examples, split)]
    return dataset.load_examples(patterns, data)
