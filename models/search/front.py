"""A front: architectures from the cheapest to the best, as the deriver writes it and others read it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from models.search.budgeted import Candidate

COSTS = ("params", "macs", "latency_ms", "file_mb")


@dataclasses.dataclass(frozen=True)
class Point:
    """An architecture of a front.

    Attributes:
        genotype: The path of its file in the artifact's folder; None for the derived architecture.
        costs: Each name of COSTS -> cost; None if the cost is not known.
        predicted: Its score by what the search learned.
    """

    genotype: str | None
    costs: Mapping[str, float | None]
    predicted: float

    @classmethod
    def of(cls, candidate: Candidate, genotype: str | None = None) -> Point:
        """Returns the point of an architecture."""
        return cls(genotype, {name: candidate.costs.get(name) for name in COSTS}, candidate.predicted)

    def document(self) -> dict[str, Any]:
        """Returns the point as JSON values."""
        return {"genotype": self.genotype, **self.costs, "predicted": self.predicted}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Point:
        """Returns the point of a document from `document`."""
        return cls(document["genotype"], {name: document[name] for name in COSTS}, document["predicted"])


@dataclasses.dataclass(frozen=True)
class Front:
    """The architectures of a front, the cheapest first.

    Attributes:
        cost: The name of the cost over which they are spread.
        points: The architectures.
        chosen: The derived architecture, which is trained.
        published: The published architectures of the space, by name.
    """

    cost: str
    points: Sequence[Point]
    chosen: Point
    published: Mapping[str, Point] = dataclasses.field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Returns the front as JSON values."""
        return {
            "cost": self.cost,
            "points": [point.document() for point in self.points],
            "chosen": self.chosen.document(),
            "published": {name: point.document() for name, point in self.published.items()},
        }

    def within(self, folder: str) -> Front:
        """Returns the front with the whole paths of its genotypes, in a folder."""
        points = [
            dataclasses.replace(point, genotype=os.path.join(folder, str(point.genotype))) for point in self.points
        ]
        return dataclasses.replace(self, points=tuple(points))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Front:
        """Returns the front of a document from `document`.

        Raises:
            KeyError: The document lacks a key.
        """
        points = tuple(Point.from_document(point) for point in document["points"])
        published = {name: Point.from_document(point) for name, point in document["published"].items()}
        return cls(document["cost"], points, Point.from_document(document["chosen"]), published)
