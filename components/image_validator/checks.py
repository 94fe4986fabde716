"""Checks of labelled images: problems, which end the run, and warnings. A check reports all its findings."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.image_validator.findings import Findings
from models.data.dataset_info import DatasetInfo
from models.runtime.messages import some

# Images with 16 bits per channel are too dark if their greatest value is below this one: they use 12 bits or fewer.
_TOO_DARK = 4096


# The best classifier must close this share of the gap between the accuracy of always guessing the largest class and 1.
_LEARNABLE = 0.1
# Least share of different pictures in a class, and number of images from which a class is checked for this share.
_DIFFERENT, _MANY = 0.1, 10


def problems(findings: Findings, info: DatasetInfo, settings: Mapping[str, Any]) -> Iterator[str]:
    """Yields the reasons why the images cannot be used for training, one sentence each.

    Args:
        findings: The facts about the images.
        info: Facts about the data set.
        settings: ImageValidator's parameters.
    """
    yield from label_problems(findings, info.class_names)
    yield from shape_problems(findings, settings["image_size"], settings["channels"])
    yield from size_problems(findings, settings)
    yield from depth_problems(info)
    yield from learning_problems(findings)


def warnings(findings: Findings, info: DatasetInfo, max_imbalance: float) -> Iterator[str]:
    """Yields findings that a person should check before trusting the result, one sentence each."""
    yield from duplicates(findings)
    yield from sameness(findings, info.class_names)
    yield from count_warnings(findings, info.class_names, max_imbalance)


def label_problems(findings: Findings, class_names: Sequence[str]) -> Iterator[str]:
    unknown = findings.sample("unknown label")
    if unknown.count:
        yield (
            f"{unknown.count} labels lie outside the {len(class_names)} classes (0 to {len(class_names) - 1}): "
            f"{unknown}."
        )
    for split in ("train", "val"):
        found = findings.count(split)
        missing = [name for label, name in enumerate(class_names) if label not in found]
        if len(found) < 2:
            yield f"{split} has {len(found)} classes; 2 or more are needed."
        elif missing:
            yield f"{split} has no image of {len(missing)} classes: {some(missing)}. Add images or remove the class."


def shape_problems(findings: Findings, image_size: int, channels: int) -> Iterator[str]:
    for what, setting, example in (
        ("size", image_size, "config.data.image_size to the size in pixels to which all images are resized"),
        ("channels", channels, "config.data.channels to 1 (grey) or 3 (colours), to convert them all"),
    ):
        others = findings.sample("other", what)
        if others.count and not setting:
            usual, number = findings.usual[what][0]
            yield (
                f"The images differ in {what}: {number} have {usual}, {others.count} do not: {others}. Set {example}."
            )


def size_problems(findings: Findings, settings: Mapping[str, Any]) -> Iterator[str]:
    side, small = settings["smallest_side"], findings.sample("small")
    if small.count and not settings["image_size"]:
        yield (
            f"{small.count} images have a side of less than {side} pixels, but {settings['needed_by']} needs {side}: "
            f"{small}. Set config.data.image_size to {side} or more."
        )


def depth_problems(info: DatasetInfo) -> Iterator[str]:
    if 0 < info.brightest < _TOO_DARK:
        yield (
            f"The images with 16 bits per channel only use values up to {info.brightest} of 65535, so they would be "
            "nearly black. Save them with 8 bits, or scale them to the whole range."
        )


def learning_problems(findings: Findings) -> Iterator[str]:
    """Yields a problem if even the best function of the pixels could not distinguish the classes."""
    labels = findings.count("train", "val")
    count, majority, reachable = labels.total(), max(labels.values(), default=0), findings.reachable
    if reachable - majority < _LEARNABLE * (count - majority):
        yield (
            f"The {count} images for training show only {findings.pictures} different pictures, so nothing can be "
            f"learned: the best classifier of these pictures is right for {reachable} images, and always guessing the "
            f"largest class is right for {majority}. Check the files: are they transparent (config.data.background), "
            "of 16 bits, coloured (config.data.channels), much larger than config.data.image_size?"
        )


def sameness(findings: Findings, class_names: Sequence[str]) -> Iterator[str]:
    counts = findings.count("train", "val")
    plain, few = [], []
    for label, name in enumerate(class_names):
        count, different = counts[label], findings.different[label]
        if count > 1 and findings.plain[label] == count:
            plain.append(f"{name} ({count} images)")
        elif count >= _MANY and different < _DIFFERENT * count:
            few.append(f"{name} ({count} images, {different} different)")
    if plain:
        yield f"In {len(plain)} classes each image has a single colour: {some(plain)}."
    if few:
        yield f"In {len(few)} classes most images repeat the same pictures: {some(few)}."


def duplicates(findings: Findings) -> Iterator[str]:
    for one, other in (("train", "test"), ("val", "test"), ("train", "val")):
        twice = findings.sample("same picture", one, other)
        if twice.count:
            yield f"{twice.count} images of {other} are also in {one}, so the accuracy on {other} is too high: {twice}."
        contradicting = findings.sample("same picture, another label", one, other)
        if contradicting.count:
            yield (
                f"{contradicting.count} images of {other} that are also in {one} have another label in {one}: "
                f"{contradicting}."
            )


def count_warnings(findings: Findings, class_names: Sequence[str], max_imbalance: float) -> Iterator[str]:
    tested = findings.count("test")
    missing = [name for label, name in enumerate(class_names) if label not in tested]
    if missing:
        yield f"test has no image of {len(missing)} classes: {some(missing)}. Their accuracy will be unknown."
    counts = findings.count("train", "val")
    known = {name: counts[label] for label, name in enumerate(class_names) if counts[label]}
    if known and max(known.values()) > max_imbalance * min(known.values()):
        most, least = max(known, key=known.get), min(known, key=known.get)
        yield (
            f"The classes are very unequal: {known[most]} training images of {most}, {known[least]} of {least}. "
            "The accuracy will say little about the small classes; look at the metrics per class."
        )
