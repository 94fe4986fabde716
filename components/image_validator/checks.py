"""Checks of labelled images: problems, which end the run, and warnings. A check reports all its findings."""

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.data.dataset_info import DatasetInfo
from models.data.examples import SPLITS
from models.runtime.messages import some

# Images with 16 bits per channel are too dark if their greatest value is below this one: they use 12 bits or fewer.
_TOO_DARK = 4096


# The best classifier must close this share of the gap between the accuracy of always guessing the largest class and 1.
_LEARNABLE = 0.1
# Least share of different pictures in a class, and number of images from which a class is checked for this share.
_DIFFERENT, _MANY = 0.1, 10


@dataclasses.dataclass(frozen=True)
class Image:
    """The facts about an image that the checks use."""

    id: str
    label: int
    digest: bytes  # hash of the pixels that training gets
    plain: bool  # whether all pixels have the same colour
    size: str
    channels: int


Images = Mapping[str, Sequence[Image]]  # split -> images


def problems(images: Images, info: DatasetInfo, settings: Mapping[str, Any]) -> Iterator[str]:
    """Yields the reasons why the images cannot be used for training, one sentence each.

    Args:
        images: Split -> its images.
        info: Facts about the data set.
        settings: ImageValidator's parameters.
    """
    yield from label_problems(images, info.class_names)
    yield from shape_problems(images, settings["image_size"], settings["channels"])
    yield from size_problems(images, settings)
    yield from depth_problems(info)
    yield from learning_problems(images)


def warnings(images: Images, info: DatasetInfo, max_imbalance: float) -> Iterator[str]:
    """Yields findings that a person should check before trusting the result, one sentence each."""
    yield from duplicates(images)
    yield from sameness(images, info.class_names)
    yield from count_warnings(images, info.class_names, max_imbalance)


def label_problems(images, class_names):
    everything = list(itertools.chain(*images.values()))
    unknown = [image for image in everything if not 0 <= image.label < len(class_names)]
    if unknown:
        yield (
            f"{len(unknown)} labels lie outside the {len(class_names)} classes (0 to {len(class_names) - 1}): "
            f"{some(f'{image.id} has {image.label}' for image in unknown)}."
        )
    for split in ("train", "val"):
        found = {image.label for image in images[split]}
        missing = [name for label, name in enumerate(class_names) if label not in found]
        if len(found) < 2:
            yield f"{split} has {len(found)} classes; 2 or more are needed."
        elif missing:
            yield f"{split} has no image of {len(missing)} classes: {some(missing)}. Add images or remove the class."


def shape_problems(images, image_size, channels):
    everything = list(itertools.chain(*images.values()))
    for what, attribute, setting, example in (
        ("size", "size", image_size, "config.data.image_size to the size in pixels to which all images are resized"),
        ("channels", "channels", channels, "config.data.channels to 1 (grey) or 3 (colours), to convert them all"),
    ):
        counts = collections.Counter(getattr(image, attribute) for image in everything)
        if len(counts) > 1 and not setting:
            (usual, number), *_ = counts.most_common()
            others = [image for image in everything if getattr(image, attribute) != usual]
            yield (
                f"The images differ in {what}: {number} have {usual}, {len(others)} do not: "
                f"{some(f'{image.id} has {getattr(image, attribute)}' for image in others)}. Set {example}."
            )


def size_problems(images, settings):
    side = settings["smallest_side"]
    small = [image for image in itertools.chain(*images.values()) if min(map(int, image.size.split("x"))) < side]
    if small and not settings["image_size"]:
        yield (
            f"{len(small)} images have a side of less than {side} pixels, but {settings['needed_by']} needs {side}: "
            f"{some(f'{image.id} has {image.size}' for image in small)}. Set config.data.image_size to {side} or more."
        )


def depth_problems(info):
    if 0 < info.brightest < _TOO_DARK:
        yield (
            f"The images with 16 bits per channel only use values up to {info.brightest} of 65535, so they would be "
            "nearly black. Save them with 8 bits, or scale them to the whole range."
        )


def learning_problems(images):
    """Yields a problem if even the best function of the pixels could not distinguish the classes."""
    labels = collections.defaultdict(collections.Counter)
    for image in (*images["train"], *images["val"]):
        labels[image.digest][image.label] += 1
    count = sum(map(collections.Counter.total, labels.values()))
    majority = max(sum(labels.values(), collections.Counter()).values(), default=0)
    reachable = sum(max(counts.values()) for counts in labels.values())
    if reachable - majority < _LEARNABLE * (count - majority):
        yield (
            f"The {count} images for training show only {len(labels)} different pictures, so nothing can be learned: "
            f"the best classifier of these pictures is right for {reachable} images, and always guessing the largest "
            f"class is right for {majority}. Check the files: are they transparent (config.data.background), of 16 "
            "bits, coloured (config.data.channels), much larger than config.data.image_size?"
        )


def sameness(images, class_names):
    by_class = collections.defaultdict(list)
    for image in (*images["train"], *images["val"]):
        by_class[image.label].append(image)
    plain, few = [], []
    for label, name in enumerate(class_names):
        found = by_class[label]
        different = len({image.digest for image in found})
        if len(found) > 1 and all(image.plain for image in found):
            plain.append(f"{name} ({len(found)} images)")
        elif len(found) >= _MANY and different < _DIFFERENT * len(found):
            few.append(f"{name} ({len(found)} images, {different} different)")
    if plain:
        yield f"In {len(plain)} classes each image has a single colour: {some(plain)}."
    if few:
        yield f"In {len(few)} classes most images repeat the same pictures: {some(few)}."


def duplicates(images):
    first = {split: {} for split in SPLITS}
    for split, there in first.items():
        for image in images[split]:
            there.setdefault(image.digest, image)
    for one, other in (("train", "test"), ("val", "test"), ("train", "val")):
        twice = [(first[one][image.digest], image) for image in images[other] if image.digest in first[one]]
        if twice:
            yield (
                f"{len(twice)} images of {other} are also in {one}, so the accuracy on {other} is too high: "
                f"{some(f'{b.id} equals {a.id}' for a, b in twice)}."
            )
        contradicting = [(a, b) for a, b in twice if a.label != b.label]
        if contradicting:
            yield (
                f"{len(contradicting)} images of {other} that are also in {one} have another label in {one}: "
                f"{some(f'{b.id} equals {a.id}' for a, b in contradicting)}."
            )


def count_warnings(images, class_names, max_imbalance):
    tested = {image.label for image in images["test"]}
    missing = [name for label, name in enumerate(class_names) if label not in tested]
    if missing:
        yield f"test has no image of {len(missing)} classes: {some(missing)}. Their accuracy will be unknown."
    counts = collections.Counter(image.label for split in ("train", "val") for image in images[split])
    known = {name: counts[label] for label, name in enumerate(class_names) if counts[label]}
    if known and max(known.values()) > max_imbalance * min(known.values()):
        most, least = max(known, key=known.get), min(known, key=known.get)
        yield (
            f"The classes are very unequal: {known[most]} training images of {most}, {known[least]} of {least}. "
            "The accuracy will say little about the small classes; look at the metrics per class."
        )
