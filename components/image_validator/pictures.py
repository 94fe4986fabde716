"""Finds images that show the same picture. Two pictures are the same if the digests of their pixels are equal.

The digests of all images have to be compared with each other. This comparison is divided into parts of nearly equal
size, by the digests: only the pictures of one part are in a worker's memory at a time. One picture needs the same
memory however many images show it. Between workers, pictures travel as compressed bytes, about 40 for each, because
Beam's in-memory runner keeps all of them.
"""

import collections
import pickle
import zlib
from collections.abc import Iterable, Iterator

from components.image_validator.findings import Findings, Place, Sample
from models.data.examples import SPLITS

# Digest -> (number of the split, label) -> the images that show this picture; their texts are their ids.
_Pictures = dict[bytes, dict[tuple[int, int], Sample]]

_PART = 16_384  # images whose digests are compared at a time


def parts(count: int) -> int:
    """Returns the number of parts into which the comparison of `count` images is divided."""
    return max(1, -(-count // _PART))


def divide(images: Iterable[tuple[bytes, int, Place, str]], count: int) -> Iterator[tuple[int, bytes]]:
    """Divides images into the parts of the comparison.

    Args:
        images: Digest, label, place and id of each image.
        count: Number of parts.

    Yields:
        A part's number and its pictures, for `compare`.
    """
    divided: dict[int, _Pictures] = collections.defaultdict(dict)
    for digest, label, place, image_id in images:
        part = int.from_bytes(digest[:8], "big") % count
        _add(divided[part], digest, (place[0], label), Sample.of([(place, image_id)]))
    for part, found in divided.items():
        yield part, zlib.compress(pickle.dumps(found, pickle.HIGHEST_PROTOCOL), 1)


def compare(found: Iterable[bytes]) -> Findings:
    """Returns what the pictures of one part say: which are shown in several splits, and what could be learned of them.

    Args:
        found: All pictures of the part, in any order.
    """
    pictures: _Pictures = {}
    for batch in found:
        for digest, groups in pickle.loads(zlib.decompress(batch)).items():
            for group, sample in groups.items():
                _add(pictures, digest, group, sample)
    findings = Findings()
    for groups in pictures.values():
        _count_labels(groups, findings)
        for one, other in (("train", "test"), ("val", "test"), ("train", "val")):
            _find_repeated(groups, one, other, findings)
    return findings


def _add(pictures, digest, group, sample):
    groups = pictures.setdefault(digest, {})
    groups[group] = Sample.sum((groups[group], sample)) if group in groups else sample


def _count_labels(groups, findings):
    labels = collections.Counter()
    for (split, label), sample in groups.items():
        if SPLITS[split] != "test":
            labels[label] += sample.count
    if labels:
        findings.pictures += 1
        findings.reachable += max(labels.values())
        findings.different.update(labels.keys())


def _find_repeated(groups, one, other, findings):
    """Adds the images of the split `other` whose picture is also in the split `one`."""
    originals = [(sample.first[0], label) for (split, label), sample in groups.items() if SPLITS[split] == one]
    if not originals:
        return
    (_, original), original_label = min(originals)
    for (split, label), sample in groups.items():
        if SPLITS[split] == other:
            told = sample._replace(first=tuple((place, f"{copy} equals {original}") for place, copy in sample.first))
            findings.add(("same picture", one, other), told)
            if label != original_label:
                findings.add(("same picture, another label", one, other), told)
