"""A prepared TFDS data set: selects splits and features, and reads the images."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds

from components.tfds_example_gen.texts import Texts
from models.data.dataset_info import DataError

_VALIDATION = ("validation", "valid", "val")
_IN_ORDER = tfds.ReadConfig(interleave_cycle_length=1)


@dataclasses.dataclass(frozen=True)
class TfdsSet:
    """A prepared data set.

    Attributes:
        builder: The TFDS builder of the data set.
        image: Name of the feature with the image.
        label: Name of the feature with the class.
        splits: train, val and test, if they exist -> the data set's split.
        unlabelled: Splits that are not used because their images have no labels.
    """

    builder: tfds.core.DatasetBuilder
    image: str
    label: str
    splits: Mapping[str, str]
    unlabelled: Sequence[str]

    @property
    def version(self) -> str:
        """The prepared version."""
        return str(self.builder.version)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels."""
        return tuple(self.builder.info.features[self.label].names)

    @property
    def origins(self) -> Mapping[str, str]:
        """train, val and test, if they exist -> a text that says where their images come from."""
        without = f", because {' and '.join(self.unlabelled)} has no labels" if self.unlabelled else ""
        return {split: name + (without if split == "test" else "") for split, name in self.splits.items()}

    @property
    def reader(self) -> "TfdsSet":
        """What a Beam worker needs in order to read the images."""
        return self

    def items(self, split: str) -> tuple[Texts, np.ndarray]:
        """Returns the ids and the labels of the images of a split.

        An id is NAME/SPLIT/INDEX. The index does not depend on the number of files of the data set.

        Raises:
            DataError: Labels lie outside the classes.
        """
        name = self.splits[split]
        labels = _labels(self.builder, name, self.label)
        strange = np.unique(labels[(labels < 0) | (labels >= len(self.class_names))])
        if strange.size:
            raise DataError(
                f"The TFDS data set {self.builder.info.full_name} has labels in its split {name} that lie outside the "
                f"{len(self.class_names)} classes: {', '.join(map(str, strange[:10]))}. Each image needs a class."
            )
        digits = len(str(len(labels) - 1))
        ids = Texts(f"{self.builder.name}/{name}/{index:0{digits}}" for index in range(len(labels)))
        return ids, labels.astype(np.int32)

    def read(self, split: str, start: int, ids: Sequence[str]) -> Iterator[Callable[[], bytes]]:
        """Yields for each id a function that returns the image's file. The ids are consecutive from index `start`."""
        part = tfds.core.ReadInstruction(self.splits[split], from_=start, to=start + len(ids), unit="abs")
        decoders = tfds.decode.PartialDecoding({self.image: True}, decoders={self.image: tfds.decode.SkipDecoding()})
        images = self.builder.as_dataset(split=part, decoders=decoders, read_config=_IN_ORDER)
        for image in images.prefetch(2).as_numpy_iterator():
            yield functools.partial(bytes, image[self.image])


def choose(
    builder: tfds.core.DatasetBuilder, test_split: str = "", image_feature: str = "", label_feature: str = ""
) -> TfdsSet:
    """Selects the splits and features of a prepared data set.

    Args:
        builder: The TFDS builder of the data set.
        test_split: The split with the test images; "" for test, or validation if test has no labels or does not exist.
        image_feature: The feature with the image. "": the feature `image`; else the Image feature in the data set's
            supervised_keys; else the only Image feature.
        label_feature: The feature with the class. "": the feature `label`; else the ClassLabel feature in the data
            set's supervised_keys; else the only ClassLabel feature.

    Raises:
        DataError: A split or a feature does not exist, or several features are possible.
    """
    image, label = features(builder, image_feature, label_feature)
    there = check_splits(builder, test_split)
    unlabelled = [
        name
        for name in there
        if name in ("test", test_split, *_VALIDATION) and np.all(_labels(builder, name, label) == -1)
    ]
    if test_split in unlabelled:
        raise DataError(
            f"config.data.test_split={test_split}: no image of this split of {builder.info.full_name} has a label."
        )
    validation = [name for name in _VALIDATION if name in there and name not in (test_split, *unlabelled)][:1]
    test = [test_split] if test_split else ["test"] if "test" in there and "test" not in unlabelled else []
    if not test:
        test, validation = validation, []
    found = {"train": ["train"], "val": validation, "test": test}
    splits = {split: names[0] for split, names in found.items() if names}
    return TfdsSet(builder, image, label, splits, unlabelled)


def features(builder: tfds.core.DatasetBuilder, image_feature: str = "", label_feature: str = "") -> tuple[str, str]:
    """Returns the names of the features with the image and with the class.

    Args:
        builder: The TFDS builder; the data set need not be prepared.
        image_feature: As in `choose`.
        label_feature: As in `choose`.

    Raises:
        DataError: There is no such feature, or several features are possible.
    """
    image = _feature(builder, tfds.features.Image, "image", image_feature)
    label = _feature(builder, tfds.features.ClassLabel, "label", label_feature)
    dtype = builder.info.features[image].np_dtype
    if dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"The feature {image} of the TFDS data set {builder.info.full_name} holds {np.dtype(dtype).name} images; "
            "images of uint8 and uint16 can be read."
        )
    if len(builder.info.features[label].names) < 2:
        raise DataError(f"The TFDS data set {builder.info.full_name} has only one class; 2 or more are needed.")
    return image, label


def check_splits(builder: tfds.core.DatasetBuilder, test_split: str = "") -> list[str]:
    """Returns the names of the splits that a prepared data set has.

    Raises:
        DataError: There is no split train, or the split with the test images does not exist.
    """
    there = list(builder.info.splits)
    if "train" not in there:
        raise DataError(
            f"The TFDS data set {builder.info.full_name} has the splits {', '.join(there)}; expected a split 'train'."
        )
    if test_split and (test_split == "train" or test_split not in there):
        others = [name for name in there if name != "train"]
        found = f"config.data.test_split: found {test_split}; "
        if others:
            raise DataError(
                f"{found}expected one of the splits {', '.join(others)} of the TFDS data set {builder.info.full_name}."
            )
        raise DataError(
            f"{found}the TFDS data set {builder.info.full_name} has only the split train. Set config.data.test_split "
            "to an empty text: test is then cut from train."
        )
    return there


def _feature(builder, kind, usual, wanted):
    found = builder.info.features
    # The names are sorted, because a prepared data set returns its features in another order each time it is loaded.
    names = sorted(name for name, feature in found.items() if isinstance(feature, kind))
    setting = f"config.data.{usual}_feature"
    if wanted:
        if wanted in names:
            return wanted
        what = f"a {type(found[wanted]).__name__}" if wanted in found else "not among its features"
        raise DataError(
            f"{setting}={wanted}: in the TFDS data set {builder.info.full_name} it is {what}. Features of the kind "
            f"{kind.__name__}: {', '.join(names) or 'none'}."
        )
    if not names:
        listed = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in sorted(found.items()))
        raise DataError(
            f"The TFDS data set {builder.info.full_name} has no {kind.__name__} feature; found {listed}. This project "
            "needs labelled images."
        )
    likely = [name for name in (usual, *(builder.info.supervised_keys or ())) if name in names]
    if not likely and len(names) > 1:
        raise DataError(
            f"The TFDS data set {builder.info.full_name} has {len(names)} {kind.__name__} features "
            f"({', '.join(names)}), and none is called {usual}: name one in {setting}."
        )
    return (likely or names)[0]


def _labels(builder, split, label):
    """Returns the labels of a split (count,), read without decoding an image."""
    decoders = tfds.decode.PartialDecoding({label: True})
    labels = builder.as_dataset(split=split, decoders=decoders, read_config=_IN_ORDER)
    parts = [part[label] for part in labels.batch(4096).as_numpy_iterator()]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
