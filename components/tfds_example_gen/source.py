"""The source of the images: a folder or a TFDS data set. Checks that it can be used."""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import gcs_utils

from components.tfds_example_gen import cut, digits, folder, plan, tfds_set
from models.data.dataset_info import DataError
from models.settings import Data

# Data sets of this project. They are generated from installed packages, so they need no permission for a download.
_EMBEDDED = {"digits": digits.Digits}


class Reader(Protocol):
    """Reads the images. Beam's workers get a copy of the object, so it does not grow with the number of images."""

    def read(self, split: str, start: int, ids: Sequence[str]) -> Iterator[Callable[[], bytes]]:
        """Yields for each id a function that returns the file. The ids are those of `items(split)` from `start` on."""
        ...


class Images(Protocol):
    """Labelled images of a folder or of a TFDS data set.

    Attributes:
        version: The TFDS version; empty for a folder.
        class_names: Names of the classes, in the order of their labels.
        splits: train, val and test, if the source has them -> the name of this split in the source.
        origins: The same keys -> a text that says where the images come from.
        reader: What reads the images.
    """

    version: str
    class_names: tuple[str, ...]
    splits: Mapping[str, str]
    origins: Mapping[str, str]
    reader: Reader

    def items(self, split: str) -> plan.Items:
        """Returns the ids and the labels of the images of train, val or test, without reading an image."""
        ...


class Source:
    """The source of images that the settings select.

    Args:
        data: `config.data`.
    """

    def __init__(self, data: Data):
        self._data = data

    def check(self) -> None:
        """Finds all mistakes that can be found without reading an image.

        Raises:
            DataError: The source cannot be used; the message gives the reason and the solution.
        """
        if self._data.image_folder:
            self._folder()
        elif not self._data.name:
            raise DataError("No data: give config.data.image_folder=DIR or config.data.name, a TFDS data set.")
        else:
            builder = self.builder()
            if builder.is_prepared():
                tfds_set.features(builder, self._data.image_feature, self._data.label_feature)
                tfds_set.check_splits(builder, self._data.test_split)
            elif self._data.name not in _EMBEDDED and not self._data.download:
                raise DataError(
                    f"The TFDS data set {self._data.name!r} {builder.version} is not prepared in {builder.data_dir}. "
                    "Set config.data.download=True to download it, or config.data.data_dir to the folder that has it."
                )

    def fingerprint(self) -> str:
        """Returns a text that changes when the data change, so that TFX does not use cached examples of other data.

        For a folder and for a prepared data set, the text contains a hash of the paths, sizes and times of change of
        all files. For a data set that may be downloaded, it contains a hash of the checksums that TFDS has on record.
        For an embedded data set, it contains only the version.
        """
        if self._data.image_folder:
            return self._folder().fingerprint()
        builder = self.builder()
        name = builder.info.full_name
        if self._data.name in _EMBEDDED:
            return name
        if self._data.download:
            checksums = sorted((url, info.checksum) for url, info in builder.url_infos.items())
            return f"{name} {hashlib.sha256(repr(checksums).encode()).hexdigest()}"
        return f"{name} {folder.hash_listing(builder.data_dir, sorted(tf.io.gfile.listdir(builder.data_dir)))}"

    def builder(self, scratch_dir: str = "") -> tfds.core.DatasetBuilder:
        """Returns the TFDS builder, prepared or not.

        Args:
            scratch_dir: The folder in which an embedded data set is prepared, unless `config.data.data_dir` is set.

        Raises:
            DataError: TFDS has no such data set or version.
        """
        arguments = {"data_dir": self._data.data_dir or None}
        if self._data.version:
            arguments["version"] = self._data.version
        if self._data.name in _EMBEDDED and not self._data.data_dir:
            arguments["data_dir"] = scratch_dir or None
        with _without_cloud_storage():
            try:
                return tfds.builder(self._data.name, **arguments)
            except tfds.core.registered.DatasetNotFoundError:
                raise DataError(
                    f"config.data.name is {self._data.name!r}: TFDS {tfds.__version__} knows no such data set, and "
                    f"none is prepared in {self._data.data_dir or 'its default data_dir'}. Names are listed at "
                    "https://www.tensorflow.org/datasets/catalog."
                ) from None
            except (AssertionError, ValueError) as error:  # unknown version or unknown builder config
                raise DataError(
                    f"config.data.name={self._data.name!r}, config.data.version={self._data.version!r}: {error}"
                ) from error

    def prepare(self, scratch_dir: str) -> Images:
        """Returns the images. If necessary and allowed, the data set is first downloaded and prepared.

        Args:
            scratch_dir: As in `builder`. Every Beam worker must have access to this folder.

        Raises:
            DataError: The data do not exist, cannot be downloaded or are not labelled images.
        """
        if self._data.image_folder:
            images = self._folder()
            images.warn_of_others()
            return images
        self.check()
        builder = self.builder(scratch_dir)
        if not builder.is_prepared():
            try:
                with contextlib.nullcontext() if self._data.download else _quiet():
                    builder.download_and_prepare()
            except Exception as error:  # the code of a data set may raise any exception
                raise DataError(
                    f"The TFDS data set {builder.info.full_name} could not be prepared in {builder.data_dir}: {error}"
                ) from error
        return tfds_set.choose(builder, self._data.test_split, self._data.image_feature, self._data.label_feature)

    def _folder(self) -> folder.ImageFolder:
        found = folder.scan(os.path.expanduser(self._data.image_folder))
        found.refuse_unreadable(self._data.max_corrupt_share)
        if "val" not in found.splits:  # val is then cut from train
            cut.refuse_small_classes(found.counts["train"])
        return found


@contextlib.contextmanager
def _quiet():
    """Hides TFDS's progress bars, because an embedded data set is prepared in a moment, without a download."""
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()


@contextlib.contextmanager
def _without_cloud_storage() -> Iterator[None]:
    """Prevents TFDS from looking for prepared data sets in Google's storage.

    Without a network, each such look-up takes 10 s.
    """
    before, gcs_utils._is_gcs_disabled = gcs_utils._is_gcs_disabled, True
    try:
        yield
    finally:
        gcs_utils._is_gcs_disabled = before
