"""What is known about any number of images, in little memory: numbers, and the first few images of each kind."""

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from models.runtime.messages import some

Place = tuple[int, int, int]  # of an image: number of its split, number of its file in this split, number in this file

_NAMED = 5  # images named in a message


class Sample(NamedTuple):
    """Images of one kind: how many there are, and the first few. The order of the places decides which are the first.

    Attributes:
        count: Number of images.
        first: Place and text of the first images, sorted.
    """

    count: int = 0
    first: tuple[tuple[Place, str], ...] = ()

    @classmethod
    def of(cls, images: Sequence[tuple[Place, str]]) -> "Sample":
        """Returns the sample of some images, given by their places and texts, sorted."""
        return cls(len(images), tuple(images[:_NAMED]))

    @classmethod
    def sum(cls, parts: Iterable["Sample"]) -> "Sample":
        """Returns the sample of the images of all parts."""
        count, first = 0, ()
        for part in parts:
            count, first = count + part.count, tuple(sorted((*first, *part.first))[:_NAMED])
        return cls(count, first)

    def __str__(self) -> str:
        return some([text for _, text in self.first], _NAMED, self.count)


@dataclasses.dataclass
class Findings:
    """The facts about images that the checks need. Sums do not depend on the order of the parts.

    Attributes:
        labels: (split, label) -> number of images.
        plain: Label -> number of images for training (train and val) whose pixels all have the same colour.
        pictures: Number of different pictures among the images for training.
        reachable: Number of images for training that the best function of the pixels classifies correctly.
        different: Label -> number of different pictures among the images for training.
        usual: "size" and "channels" -> the most frequent values with their numbers of images, most frequent first.
        samples: Kind of finding -> the images of this kind.
    """

    labels: collections.Counter[tuple[str, int]] = dataclasses.field(default_factory=collections.Counter)
    plain: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    pictures: int = 0
    reachable: int = 0
    different: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    usual: dict[str, list[tuple[str | int, int]]] = dataclasses.field(default_factory=dict)
    samples: dict[tuple[str, ...], Sample] = dataclasses.field(default_factory=dict)

    @classmethod
    def sum(cls, parts: Iterable["Findings"]) -> "Findings":
        """Returns the findings in the images of all parts."""
        total = cls()
        for part in parts:
            for name in ("labels", "plain", "different"):
                getattr(total, name).update(getattr(part, name))
            total.pictures += part.pictures
            total.reachable += part.reachable
            total.usual.update(part.usual)
            for kind, sample in part.samples.items():
                total.add(kind, sample)
        return total

    def add(self, kind: tuple[str, ...], sample: Sample) -> None:
        """Adds images of a kind."""
        self.samples[kind] = Sample.sum((self.sample(*kind), sample))

    def sample(self, *kind: str) -> Sample:
        """Returns the images of a kind; an empty sample if there are none."""
        return self.samples.get(kind, Sample())

    def count(self, *splits: str) -> collections.Counter[int]:
        """Returns label -> number of images in some of the splits."""
        counts = collections.Counter()
        for (split, label), number in self.labels.items():
            if split in splits:
                counts[label] += number
        return counts
