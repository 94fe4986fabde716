"""Where images come from: a TFDS builder or a folder. Opens it, says what is wrong with it, and reads it with Beam."""

import collections
import contextlib
import dataclasses
import hashlib
import io
import os
from collections.abc import Mapping
from unittest import mock

import apache_beam as beam
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core import naming
from tensorflow_datasets.core.utils import gcs_utils

from components.tfds_example_gen import digits
from models.dataset_info import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

# Data sets of this project: made on the spot from what is installed, whether or not a download is allowed.
_EMBEDDED = {"digits": digits.Digits}


@dataclasses.dataclass(frozen=True)
class Source:
    """Names a source of images; the attributes are the settings `config.data.*` of the same names.

    Attributes:
        name: A TFDS data set, as `tfds.builder` takes it ("cifar10", "cmaterdb/bangla"); empty with an image folder.
        version: Its version; empty for the newest.
        data_dir: TFDS's directory; empty for TFDS's default.
        download: Whether TFDS may download and prepare it.
        image_folder: A directory with `train/<class>/*` and `test/<class>/*`; it replaces the data set of that name.
    """

    name: str = ""
    version: str = ""
    data_dir: str = ""
    download: bool = False
    image_folder: str = ""

    def check(self) -> None:
        """Finds what can be found without reading an image.

        Raises:
            DataError: The source cannot be used; the message says why and what to do.
        """
        if self.image_folder:
            _check_folder(self.image_folder)
        elif not self.name:
            raise DataError("No data: give config.data.image_folder=DIR or config.data.name, a TFDS data set.")
        else:
            builder = self.builder()
            if builder.is_prepared():
                _check_builder(builder)
            elif self.name not in _EMBEDDED and not self.download:
                raise DataError(
                    f"The TFDS data set {self.name!r} {builder.version} is not prepared in {builder.data_dir}. Set "
                    "config.data.download=True to have it downloaded, or config.data.data_dir to where it is."
                )

    def fingerprint(self) -> str:
        """Returns a text that changes when the data do, to keep a cache from answering for other data.

        Of a folder and of a prepared data set it holds a hash of all files' paths, sizes and times of change; of a data
        set that may be downloaded, the checksums TFDS has on record; of an embedded one, its version.
        """
        if self.image_folder:
            files = [
                os.path.join(split, path)
                for split in ("train", "test")
                for paths in list_images(os.path.join(self.image_folder, split)).values()
                for path in paths
            ]
            return f"{self.image_folder} {_hash_listing(self.image_folder, files)}"
        builder = self.builder()
        name = builder.info.full_name
        if self.name in _EMBEDDED:
            return name
        if self.download:
            checksums = sorted((url, info.checksum) for url, info in builder.url_infos.items())
            return f"{name} {hashlib.sha256(repr(checksums).encode()).hexdigest()}"
        return f"{name} {_hash_listing(builder.data_dir, tf.io.gfile.listdir(builder.data_dir))}"

    def builder(self, scratch_dir: str = "") -> tfds.core.DatasetBuilder:
        """Returns the TFDS builder, prepared or not.

        Args:
            scratch_dir: Where an embedded data set is prepared if `data_dir` does not say.

        Raises:
            DataError: TFDS has no such data set or version.
        """
        if self.image_folder:
            return tfds.folder_dataset.ImageFolder(self.image_folder)
        arguments = {"data_dir": self.data_dir or None}
        if self.version:
            arguments["version"] = self.version
        if self.name in _EMBEDDED and not self.data_dir:
            arguments["data_dir"] = scratch_dir or None
        # TFDS would look into its bucket for facts about what is not prepared, for 10 s where there is no network.
        with mock.patch.object(gcs_utils, "_is_gcs_disabled", True):
            try:
                return tfds.builder(self.name, **arguments)
            except tfds.core.registered.DatasetNotFoundError:
                raise DataError(
                    f"config.data.name is {self.name!r}: TFDS {tfds.__version__} knows no such data set, and none is "
                    f"prepared in {self.data_dir or 'its default data_dir'}. Names are listed at "
                    "https://www.tensorflow.org/datasets/catalog."
                ) from None
            except (AssertionError, ValueError) as error:  # a version or a builder config it does not have
                raise DataError(
                    f"config.data.name={self.name!r}, config.data.version={self.version!r}: {error}"
                ) from error

    def prepare(self, scratch_dir: str) -> tfds.core.DatasetBuilder:
        """Returns a builder that can be read, downloaded and prepared as far as that is allowed and needed.

        Args:
            scratch_dir: As in `builder`; every Beam worker must see it.

        Raises:
            DataError: The data are not there, cannot be downloaded or are not labelled images with two splits.
        """
        self.check()
        builder = self.builder(scratch_dir)
        if self.image_folder:
            _warn_of_others(self.image_folder)
        else:
            if not builder.is_prepared():
                try:
                    with contextlib.nullcontext() if self.download else _quiet():
                        builder.download_and_prepare()
                except Exception as error:  # whatever a data set's own code raises
                    raise DataError(
                        f"The TFDS data set {builder.info.full_name} could not be prepared in {builder.data_dir}: "
                        f"{error}"
                    ) from error
            _check_builder(builder)
        return builder


@contextlib.contextmanager
def _quiet():
    """Hides TFDS's progress where nothing is downloaded: it takes a moment."""
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()


def list_images(directory: str) -> Mapping[str, list[str]]:
    """Returns the paths of images in each sub-directory, relative to `directory`, both in sorted order."""
    images = {}
    for name in sorted(tf.io.gfile.listdir(directory)):
        name = name.rstrip("/")
        if tf.io.gfile.isdir(os.path.join(directory, name)):
            files = tf.io.gfile.listdir(os.path.join(directory, name))
            images[name] = sorted(os.path.join(name, file) for file in files if file.lower().endswith(IMAGE_SUFFIXES))
    return images


def test_split(builder: tfds.core.DatasetBuilder) -> str:
    """Returns the name of the split that models are tested on: `test`, or `validation` where there is none."""
    return "test" if "test" in builder.info.splits else "validation"


def split_ids(builder: tfds.core.DatasetBuilder, split: str) -> list[str]:
    """Returns the ids that `read` will give the images of a split, without reading any."""
    if isinstance(builder, tfds.folder_dataset.ImageFolder):
        images = list_images(os.path.join(builder.data_dir, split))
        return [os.path.join(split, path) for paths in images.values() for path in paths]
    return [_id(builder, split, index) for index in range(builder.info.splits[split].num_examples)]


def read(builder: tfds.core.DatasetBuilder, split: str) -> beam.PTransform:
    """Returns a transform that reads a split.

    Its elements are tuples of id (str), label (int) and the encoded image (bytes, as they are in the source). Ids are
    stable: `NAME/SPLIT/INDEX` of a data set, the path relative to the folder of an image.
    """
    image, label = _features(builder)
    decoders = {image: tfds.decode.SkipDecoding()}
    if isinstance(builder, tfds.folder_dataset.ImageFolder):
        folder = str(builder.data_dir)  # an ImageFolder itself cannot be pickled

        def load_folder(split):
            dataset = tfds.folder_dataset.ImageFolder(folder).as_dataset(split=split, decoders=decoders)
            for example in dataset.as_numpy_iterator():
                path = os.path.relpath(example["image/filename"].decode(), folder)
                yield path, int(example[label]), example[image]

        return beam.Create([split]) | "ReadImageFolder" >> beam.FlatMap(load_folder)

    lengths = builder.info.splits[split].shard_lengths
    firsts = [sum(lengths[:shard]) for shard in range(len(lengths))]

    def named(example):
        example = tfds.as_numpy(example)
        # FILE__INDEX; counted over all files it does not depend on how the data set was cut into files.
        file, _, index = example["tfds_id"].decode().rpartition("__")
        shard = naming.FilenameInfo.from_str(os.path.basename(file)).shard_index
        return _id(builder, split, firsts[shard] + int(index)), int(example[label]), example[image]

    return tfds.beam.ReadFromTFDS(
        builder,
        split=split,
        decoders=tfds.decode.PartialDecoding({image: True, label: True}, decoders=decoders),
        read_config=tfds.ReadConfig(add_tfds_id=True),
    ) | "Name" >> beam.Map(named)


def class_names(builder: tfds.core.DatasetBuilder) -> tuple[str, ...]:
    """Returns the names of the classes in the order of the labels."""
    return tuple(builder.info.features[_features(builder)[1]].names)


def _id(builder, split, index):
    digits = len(str(builder.info.splits[split].num_examples - 1))
    return f"{builder.name}/{split}/{index:0{digits}}"


def _features(builder):
    """Returns the names of the image and of the label among a builder's features."""
    features, found = builder.info.features, []
    for kind in (tfds.features.Image, tfds.features.ClassLabel):
        names = [name for name, feature in features.items() if isinstance(feature, kind)]
        preferred = [name for name in builder.info.supervised_keys or () if name in names]
        if not names:
            raise DataError(
                f"The TFDS data set {builder.info.full_name} has no {kind.__name__} feature; found are "
                f"{', '.join(features)}. Needed are labelled images."
            )
        found.append((preferred or names)[0])
    return found


def _check_builder(builder):
    _features(builder)
    splits = builder.info.splits
    if "train" not in splits or not {"test", "validation"} & set(splits):
        raise DataError(
            f"The TFDS data set {builder.info.full_name} has the splits {', '.join(splits)}; needed are 'train' and "
            "'test' (or 'validation', which then serves as 'test')."
        )
    if len(class_names(builder)) < 2:
        raise DataError(f"The TFDS data set {builder.info.full_name} has one class only; needed are 2 or more.")


def _check_folder(folder):
    if not tf.io.gfile.isdir(folder):
        raise DataError(f"config.data.image_folder={folder} is not a directory.")
    splits = [name.rstrip("/") for name in tf.io.gfile.listdir(folder)]
    for split in ("train", "test"):
        if split not in splits or not tf.io.gfile.isdir(os.path.join(folder, split)):
            raise DataError(
                f"config.data.image_folder={folder} has no directory {split}/; found: "
                f"{', '.join(sorted(splits)[:10]) or 'nothing'}. Needed are train/<class>/ and "
                "test/<class>/ with images."
            )
    train, test = (list_images(os.path.join(folder, split)) for split in ("train", "test"))
    if set(train) != set(test):
        only = [f"only in {name}/: {', '.join(sorted(has)[:10])}" for name, has in _differences(train, test) if has]
        raise DataError(
            f"The classes in {folder}/train and {folder}/test differ ({'; '.join(only)}). Each class needs a directory "
            "of the same name in both."
        )
    if len(train) < 2:
        raise DataError(
            f"{folder}/train has {len(train)} class directories ({', '.join(train)}); needed are 2 or more, with the "
            "images inside them."
        )
    for split, classes in (("train", train), ("test", test)):
        empty = [name for name, images in classes.items() if not images]
        if empty:
            raise DataError(
                f"{folder}/{split}/{empty[0]} holds no image ({', '.join(IMAGE_SUFFIXES)}); {len(empty)} of "
                f"{len(classes)} classes are empty. Add images or remove the class from train/ and test/."
            )
    logging.info(
        "%s: %d classes, %d images to train on, %d to test.",
        folder,
        len(train),
        sum(map(len, train.values())),
        sum(map(len, test.values())),
    )


def _warn_of_others(folder):
    """Warns of files among the images that are none by their names, hidden ones aside: nobody else will miss them."""
    endings = collections.Counter()
    for split in ("train", "test"):
        for name, images in list_images(os.path.join(folder, split)).items():
            known = {os.path.basename(path) for path in images}
            files = tf.io.gfile.listdir(os.path.join(folder, split, name))
            others = [file for file in files if file not in known and not file.startswith(".")]
            endings.update(os.path.splitext(file)[1] or "no ending" for file in others)
    if endings:
        counts = ", ".join(f"{count} of {ending}" for ending, count in endings.most_common(5))
        logging.warning(
            "%s: %d files are not used (%s); images end in %s.",
            folder,
            sum(endings.values()),
            counts,
            ", ".join(IMAGE_SUFFIXES),
        )


def _differences(train, test):
    return ("train", set(train) - set(test)), ("test", set(test) - set(train))


def _hash_listing(directory, files):
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file} {_size_and_time(os.path.join(directory, file))}\n".encode())
    return digest.hexdigest()


def _size_and_time(path):
    if "://" in path:
        stat = tf.io.gfile.stat(path)
        return stat.length, stat.mtime_nsec
    stat = os.stat(path)  # TensorFlow knows whole seconds only
    return stat.st_size, stat.st_mtime_ns
