"""Lists the labelled images in a folder, with their classes and splits.

    DIR/<class>/*                     all images are training images, from which val and test are cut
    DIR/train/<class>/*               val/ and test/ may lie beside train/, with the same classes

Images of a class may lie at any depth below its folder. Hidden files and folders are always skipped.
"""

import collections
import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from components.tfds_example_gen.texts import Texts
from models.data.dataset_info import DataError
from models.runtime.messages import some

_NAMED = 10  # number of names in a message
READABLE = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif")
# Endings of images that TensorFlow cannot decode. A served model could not decode them either.
UNREADABLE = (
    *(".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg", ".tga"),
    *(".ppm", ".pgm", ".pnm", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
)
# The allowed names of a split's folder, in upper or lower case.
_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
# Folders that operating systems and network drives create. The last one contains small copies of the images.
_SYSTEM = ("__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found", "@eaDir")


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """The labelled images in a folder.

    Attributes:
        path: The folder.
        splits: train, val and test, if they exist -> the split's folder below `path`; "" is `path` itself. Without a
            folder for test, the folder for validation becomes test.
        paths: The same keys -> paths of the images relative to `path`. They are sorted by class, then by path.
        counts: The same keys -> class -> number of its images. Classes are sorted.
        passed_over: Names of the files and folders in `path` that are skipped.
        others: Ending -> number of files that are not images, in the folders of splits and classes. Images directly in
            a split's folder are counted separately, under a text in place of the ending.
    """

    path: str
    splits: Mapping[str, str]
    paths: Mapping[str, Texts]
    counts: Mapping[str, Mapping[str, int]]
    passed_over: Sequence[str]
    others: Mapping[str, int]

    version = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels."""
        return tuple(self.counts["train"])

    @property
    def origins(self) -> Mapping[str, str]:
        """train, val and test, if they exist -> a text that says where their images come from."""
        named = {split: f"{name}/" if name else "all folders" for split, name in self.splits.items()}
        if self.splits.get("test", "test").lower() not in _NAMES["test"]:
            named["test"] += ", because there is no test/"
        return named

    @property
    def reader(self) -> "Reader":
        """What a Beam worker needs in order to read the images; it contains no path of an image."""
        return Reader(self.path)

    def items(self, split: str) -> tuple[Texts, np.ndarray]:
        """Returns the ids, which are the paths, and the labels (int32) of the images of a split."""
        counts = list(self.counts[split].values())
        return self.paths[split], np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def fingerprint(self) -> str:
        """Returns a text that changes with the paths, sizes and times of change of the images."""
        return f"{self.path} {hash_listing(self.path, itertools.chain(*self.paths.values()))}"

    def refuse_unreadable(self, allowed_share: float) -> None:
        """Refuses a folder with too many images of formats that cannot be read; the endings decide.

        Args:
            allowed_share: Largest share of images whose format cannot be read.

        Raises:
            DataError: The share of such images is larger.
        """
        endings, named = collections.Counter(), []
        for path in itertools.chain(*self.paths.values()):
            if _ending(path) in UNREADABLE:
                endings[_ending(path)] += 1
                named += [path] if len(named) < _NAMED else []
        total = sum(map(len, self.paths.values()))
        if endings.total() > allowed_share * total:
            raise DataError(
                f"{self.path}: {endings.total()} of {total} images are of kinds that cannot be read "
                f"({_counted(endings)}: {some(named, _NAMED, endings.total())}). Convert them to PNG or JPEG, remove "
                f"them, or raise config.data.max_corrupt_share (now {allowed_share:g}) so that they are left out."
            )

    def warn_of_others(self) -> None:
        """Warns about the files and folders that are skipped. Hidden ones are skipped without a warning."""
        if self.passed_over:
            beside = "/, ".join(self.splits.values()) + "/" if any(self.splits.values()) else "the folders of classes"
            logging.warning("%s: skipped beside %s: %s.", self.path, beside, some(self.passed_over, _NAMED))
        if self.others:
            logging.warning(
                "%s: %d files are not used (%s); images end in %s.",
                self.path,
                sum(self.others.values()),
                _counted(self.others),
                ", ".join(READABLE),
            )


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads the images of a folder.

    Attributes:
        path: The folder.
    """

    path: str

    def read(self, split: str, start: int, ids: Sequence[str]) -> Iterator[Callable[[], bytes]]:
        """Yields for each of the ids a function that reads the file."""
        del split, start  # an id is the path of a file, so it is sufficient
        for path in ids:
            yield functools.partial(_read, os.path.join(self.path, path))


def scan(path: str) -> ImageFolder:
    """Lists the labelled images in a folder, without reading an image.

    Args:
        path: The folder, on this machine or in an object store that TensorFlow supports.

    Raises:
        DataError: The folder does not contain labelled images; the message gives its content and the expected content.
    """
    _refuse_other_bytes(path)
    if not tf.io.gfile.isdir(path):
        raise DataError(f"config.data.image_folder={path} is not a folder.")
    entries = _list(path)
    folders = [name for name, is_folder in entries if is_folder]
    splits = _splits(path, folders)
    paths, counts, others = {}, {}, collections.Counter()
    for split, name in splits.items():
        paths[split], counts[split] = Texts(), {}
        for entry, is_folder in _list(os.path.join(path, name)):
            if is_folder:
                found, none = _images(path, os.path.join(name, entry))
                paths[split].extend(found)
                counts[split][entry] = len(found)
                others.update(none)
            elif name:
                others[f"images directly in {name}/" if _is_image(entry) else _ending(entry)] += 1
    if any(splits.values()):
        passed_over = [name + "/" * is_folder for name, is_folder in entries if name not in splits.values()]
    else:
        passed_over = [name for name, is_folder in entries if not is_folder]
    found = ImageFolder(path, splits, paths, counts, passed_over, others)
    _check(found)
    return found


def hash_listing(directory: str, files: Iterable[str]) -> str:
    """Returns a hash of the names, sizes and times of change of files in a folder, and of the order of the names."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file} {_size_and_time(os.path.join(directory, file))}\n".encode())
    return digest.hexdigest()


def _splits(path, folders):
    """Returns split -> its folder; if the folders are classes, all of `path` is train."""
    named = {split: [name for name in folders if name.lower() in names] for split, names in _NAMES.items()}
    found = [name for names in named.values() for name in names]
    without = [name for name in found if not _has_classes(path, name)]
    if without == found and (len(folders) > len(found) or not found):
        return {"train": ""}  # the folders are classes; one of them may be called train
    if without:
        raise DataError(
            f"{os.path.join(path, without[0])} has no class folders, so the classes of its images are unknown. "
            f"Put the images into {os.path.join(without[0], '<class>', '')}, or rename {without[0]}/ so that it is "
            "skipped."
        )
    for names in named.values():
        if len(names) > 1:
            raise DataError(f"{path} has {'/ and '.join(names)}/, which mean the same: keep one of them.")
    splits = {split: names[0] for split, names in named.items() if names}
    if "train" not in splits:
        raise DataError(
            f"{path} has no folder train/; found: {some(folders, _NAMED)}; expected train/<class>/ beside "
            f"{'/ and '.join(splits.values())}/, or only folders of classes."
        )
    if "val" in splits and "test" not in splits:
        splits["test"] = splits.pop("val")
    return splits


def _has_classes(path, name):
    return any(is_folder for _, is_folder in _list(os.path.join(path, name)))


def _images(path, folder):
    """Returns the sorted paths of the images below a folder, relative to `path`, and the endings of other files."""
    images, others = [], collections.Counter()
    pending = [(folder, ())]
    while pending:
        folder, above = pending.pop()
        real = os.path.realpath(os.path.join(path, folder))
        if real in above:
            raise DataError(
                f"{os.path.join(path, folder)} is a link to {real}, which contains it, so the folder has no end. "
                "Remove the link."
            )
        for name, is_folder in _list(os.path.join(path, folder)):
            relative = os.path.join(folder, name)
            if is_folder:
                pending.append((relative, (*above, real)))
            elif _is_image(name):
                _refuse_other_bytes(relative)
                images.append(relative)
            else:
                others[_ending(name)] += 1
    return sorted(images), others


def _list(directory):
    """Returns the sorted (name, whether it is a folder) of a folder's entries, without hidden ones."""
    try:
        found = _list_store(directory) if "://" in directory else _list_local(directory)
    except OSError as error:
        raise DataError(f"{_readable(directory)} cannot be read: {error.strerror}.") from error
    return sorted(entry for entry in found if not entry[0].startswith(".") and entry[0] not in _SYSTEM)


def _list_local(directory):
    with os.scandir(directory) as entries:
        return [(entry.name, os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()) for entry in entries]


def _list_store(directory):
    for name in tf.io.gfile.listdir(directory):
        # A request to a store takes a while, and most stores mark a folder by a slash at the end of its name.
        is_folder = name.endswith("/") or (not _is_image(name) and tf.io.gfile.isdir(os.path.join(directory, name)))
        yield name.rstrip("/"), is_folder


def _check(folder):
    train, *others = folder.splits
    for other in others:
        _check_same_classes(folder, train, other)
    for split, name in folder.splits.items():
        where, classes = os.path.join(folder.path, name).rstrip("/"), folder.counts[split]
        if len(classes) < 2:
            within = [name for name in classes if _has_classes(where, name)]
            hint = f" Did you mean config.data.image_folder={os.path.join(where, *within)}?" if within else ""
            named = f" ({', '.join(classes)})" if classes else ""
            raise DataError(
                f"{where} has {len(classes)} class folders{named}; expected 2 or more, with the images inside "
                f"them, such as {os.path.join(where, 'cat', '1.jpg')} and {os.path.join(where, 'dog', '2.jpg')}.{hint}"
            )
        for name in classes:
            _refuse_other_bytes(os.path.join(where, name))
        empty = [name for name, count in classes.items() if not count]
        if empty:
            raise DataError(
                f"{where}/{empty[0]} contains no image ({', '.join(READABLE)}); {len(empty)} of {len(classes)} classes "
                "are empty. Add images or remove the class."
            )


def _check_same_classes(folder, one, other):
    classes = {folder.splits[split]: set(folder.counts[split]) for split in (one, other)}
    (one, these), (other, those) = classes.items()
    if these != those:
        only = [(one, these - those), (other, those - these)]
        only = [f"only in {name}/: {some(sorted(has), _NAMED)}" for name, has in only if has]
        raise DataError(
            f"The classes in {folder.path}/{one} and {folder.path}/{other} differ ({'; '.join(only)}). Each class "
            "needs a folder of the same name in both."
        )


def _refuse_other_bytes(path):
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{_readable(path)}: the name is not UTF-8, so it cannot be used in texts. Rename it."
        ) from None


def _readable(path):
    return os.fsencode(path).decode(errors="backslashreplace") if "://" not in path else path


def _read(path):
    with tf.io.gfile.GFile(path, "rb") if "://" in path else open(path, "rb") as file:
        return file.read()


def _is_image(name):
    return _ending(name) in READABLE + UNREADABLE


def _ending(name):
    return os.path.splitext(name)[1].lower()


def _counted(endings):
    """Returns the most frequent endings with their numbers; a text in place of an ending is kept as it is."""
    return ", ".join(
        f"{count} of {what}" if what.startswith(".") else f"{count} {what or 'without an ending'}"
        for what, count in endings.most_common(5)
    )


def _size_and_time(path):
    if "://" in path:
        stat = tf.io.gfile.stat(path)
        return stat.length, stat.mtime_nsec
    try:
        stat = os.stat(path)  # TensorFlow's stat only has whole seconds
    except OSError:  # for example a dangling link; the error is reported when the file is read
        return 0, 0
    return stat.st_size, stat.st_mtime_ns
