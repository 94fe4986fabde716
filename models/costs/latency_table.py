"""The latency of the networks of a space on a device, predicted from a table of measured operations.

The table has the milliseconds of every operation at every shape that it can have, each measured alone, and those of a
few whole networks. The latency of a network is predicted as a sum: a fixed part, and for each kind of operation a
factor times the milliseconds of its operations. Fixed part and factors are fitted to the whole networks. They stand for
what is not measured operation by operation: stem and head, concatenations, caches, and what a runtime merges.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import tensorflow as tf
from scipy import optimize

from models.architectures.choices import Path
from models.costs.additive import AdditiveCost
from models.costs.runtimes import TENSORFLOW
from models.costs.sites import built, computed
from models.runtime.files import write_atomically
from models.runtime.messages import some
from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import network_options
from models.settings import Train

LEAST_NETWORKS = 4
"""The smallest number of whole networks for a fit."""

# How strongly the fit prefers equal factors: a factor that is 1 away from the common one weighs as much as a relative
# error of 0.1 of one network.
_EQUAL = 0.1
# Settings of networks that change the training alone.
_OF_TRAINING = ("auxiliary", "drop_path", "dropout")

_Milliseconds = Annotated[float, pydantic.Field(ge=0)]


class _Document(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Device(_Document):
    """Where a table was measured."""

    processor: str
    cores: int
    gpus: tuple[str, ...]
    tensorflow: str


class Networks(_Document):
    """The networks that a table is for: the space, the settings of `config.train`, the images, the classes."""

    space: dict[str, Any]
    options: dict[str, Any]
    image_shape: tuple[int, int, int]
    classes: int

    @classmethod
    def of(cls, space: SearchSpace, train: Train, image_shape: tuple[int, int, int], classes: int) -> Networks:
        """Returns the description of a space's final networks.

        Args:
            space: One of `models.costs.sites.SPACES`.
            train: `config.train`.
            image_shape: (height, width, channels) of an image.
            classes: Number of classes.
        """
        known: dict[str, Any] = {
            "name": space.name,
            "operations": sorted({name for choice in space.choices for name in choice.operations}),
        }
        if hasattr(space, "backbone"):
            known["backbone"] = space.backbone.to_dict()
        options = {name: value for name, value in network_options(space, train).items() if name not in _OF_TRAINING}
        # By way of JSON, so that it equals what is read from a file.
        return cls.model_validate_json(
            json.dumps({"space": known, "options": options, "image_shape": image_shape, "classes": classes})
        )

    def differences(self, wanted: Networks) -> list[str]:
        """Returns a text for each difference from other networks: the setting, what this has, what the other has.

        Args:
            wanted: The other networks.
        """
        pairs = [(f"config.space.{name}", self.space.get(name), wanted.space.get(name)) for name in wanted.space]
        pairs += [(f"config.train.{name}", self.options.get(name), value) for name, value in wanted.options.items()]
        pairs += [
            ("image shape", "x".join(map(str, self.image_shape)), "x".join(map(str, wanted.image_shape))),
            ("classes", self.classes, wanted.classes),
        ]
        return [f"{name} {found!r} instead of {expected!r}" for name, found, expected in pairs if found != expected]


class Operation(_Document):
    """A measured operation: its name and stride, and the milliseconds that it takes by itself."""

    kind: str
    ms: _Milliseconds


class Whole(_Document):
    """A measured network: the operation of each choice, and the milliseconds of a batch."""

    path: dict[str, str]
    ms: Annotated[float, pydantic.Field(gt=0)]


class LatencyTable(_Document):
    """A table, as its file has it.

    Attributes:
        device: Where it was measured.
        backend: The runtime: `tensorflow`, or `litert` with float32 numbers.
        threads: The threads of the runtime.
        batch: The images of a batch.
        networks: The networks that it is for.
        wanted: How many whole networks are measured.
        rounds: How often each of them is measured.
        places: Choice name -> operation -> the keys in `operations` of everywhere that it is built.
        operations: Operation and shape in words -> what was measured.
        whole: The measured whole networks, round after round, in each round in the same order.
    """

    device: Device
    backend: Literal["tensorflow", "litert"]
    threads: Annotated[int, pydantic.Field(ge=1)]
    batch: Annotated[int, pydantic.Field(ge=1)]
    networks: Networks
    wanted: Annotated[int, pydantic.Field(ge=LEAST_NETWORKS)]
    rounds: Annotated[int, pydantic.Field(ge=1)] = 1
    places: dict[str, dict[str, tuple[str, ...]]]
    operations: dict[str, Operation] = {}
    whole: tuple[Whole, ...] = ()

    @classmethod
    def parse(cls, text: str, origin: str) -> LatencyTable:
        """Returns the table of a file's content.

        Args:
            text: The content.
            origin: The setting or flag that named the file, for messages.

        Raises:
            ValueError: It is no table.
        """
        try:
            return cls.model_validate_json(text)
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the file"
            raise ValueError(
                f"{origin}: this is no latency table ({where}: {problem['msg']}). Write one by "
                "`python -m models.measure_latency`."
            ) from None

    @classmethod
    def load(cls, path: str, origin: str) -> LatencyTable:
        """Returns the finished table of a file.

        Args:
            path: The file; any path or URI that tf.io.gfile knows.
            origin: The setting or flag that named the file, for messages.

        Raises:
            ValueError: There is no such file, it is no table, or its measurement is not finished.
        """
        try:
            with tf.io.gfile.GFile(path, "r") as file:
                text = file.read()
        except (OSError, tf.errors.OpError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{origin}: found {path!r}, which cannot be read ({type(error).__name__}). Write a table by "
                "`python -m models.measure_latency`."
            ) from None
        table = cls.parse(text, origin)
        if table.missing or table.missing_networks:
            raise ValueError(
                f"{origin}: found {path!r}, whose measurement is not finished. Give the same command with the same "
                "--out again; it continues."
            )
        return table

    def save(self, path: str) -> None:
        """Writes the table, in place of an earlier file."""
        write_atomically(path, self.model_dump_json(indent=1) + "\n")

    @property
    def missing(self) -> list[str]:
        """The keys of the operations that are not measured yet."""
        keys = (key for found in self.places.values() for places in found.values() for key in places)
        return [key for key in dict.fromkeys(keys) if key not in self.operations]

    @property
    def missing_networks(self) -> range:
        """The measurements of whole networks that are left: positions in `whole`."""
        return range(len(self.whole), self.wanted * self.rounds)

    @property
    def fitted(self) -> list[Whole]:
        """The whole networks to which the prediction is fitted, each with the median of its measurements."""
        found: dict[tuple[tuple[str, str], ...], list[float]] = {}
        for network in self.whole:
            found.setdefault(tuple(network.path.items()), []).append(network.ms)
        return [Whole(path=dict(path), ms=float(np.median(measured))) for path, measured in found.items()]

    def cost(self) -> AdditiveCost:
        """Returns the predicted latency as a cost.

        In NAS-Bench-201's space operations that are cut off from the output count here, though they are not computed.
        """
        return self._fitted(self.fitted)

    def predict(self, space: SearchSpace, path: Path) -> float:
        """Returns the predicted milliseconds of a batch, of what the network computes.

        Args:
            space: The space of the table.
            path: The operation of each choice.
        """
        return _sum(self.cost(), self.used(space, path))

    def used(self, space: SearchSpace, path: Path) -> dict[str, str]:
        """Returns the operations of a path that the runtime computes: LiteRT's converter computes constants once."""
        return computed(space, path, constants=self.backend == TENSORFLOW)

    def errors(self) -> list[float]:
        """Returns the relative error of each whole network, predicted by a fit to the others."""
        fitted = self.fitted
        return [
            _sum(self._fitted([*fitted[:number], *fitted[number + 1 :]]), network.path) / network.ms - 1
            for number, network in enumerate(fitted)
        ]

    def _fitted(self, whole: Sequence[Whole]) -> AdditiveCost:
        """Returns the latency as a cost whose fixed part and factors are fitted to networks."""
        kinds = sorted({operation.kind for operation in self.operations.values()})
        sums = np.array([[self._sums(network.path).get(kind, 0.0) for kind in kinds] for network in whole])
        measured = np.array([network.ms for network in whole])
        # The unknowns: the fixed part, a common factor, and the factor of each kind. The further rows ask the factors
        # to equal the common one. Relative errors count.
        rows = np.column_stack([np.ones_like(measured), np.zeros_like(measured), sums]) / measured[:, np.newaxis]
        equal = _EQUAL * np.column_stack([np.zeros(len(kinds)), -np.ones(len(kinds)), np.eye(len(kinds))])
        wanted = np.concatenate([np.ones_like(measured), np.zeros(len(kinds))])
        (fixed, _, *factors), _ = optimize.nnls(np.concatenate([rows, equal]), wanted)
        factor = dict(zip(kinds, map(float, factors), strict=True))
        parts = {
            choice: {
                operation: sum(factor[kind] * ms for kind, ms in self._by_kind(places).items())
                for operation, places in found.items()
            }
            for choice, found in self.places.items()
        }
        return AdditiveCost("latency_ms", "ms", float(fixed), parts)

    def _sums(self, path: Path) -> Mapping[str, float]:
        """Returns the milliseconds of each kind of operation that a network computes."""
        keys = [key for choice, name in path.items() for key in self.places.get(choice, {}).get(name, ())]
        return self._by_kind(keys)

    def _by_kind(self, keys: Sequence[str]) -> Mapping[str, float]:
        found: dict[str, float] = defaultdict(float)
        for key in keys:
            found[self.operations[key].kind] += self.operations[key].ms
        return found


def _sum(cost: AdditiveCost, used: Path) -> float:
    return cost.fixed + sum(cost.parts[choice].get(operation, 0.0) for choice, operation in used.items())


def unfit(
    table: LatencyTable, path: str, space: SearchSpace, train: Train, images: tuple[tuple[int, int, int], int] | None
) -> str:
    """Returns why a table cannot tell the latency of a run's networks; "" if it can.

    Args:
        table: The table.
        path: Its file, for the message.
        space: The search space.
        train: `config.train`.
        images: The shape of an image and the number of classes; None if they are not known.
    """
    shape, classes = images or (table.networks.image_shape, table.networks.classes)
    found = table.networks.differences(Networks.of(space, train, shape, classes))
    if found:
        return (
            f"config.derive.latency_table: found {path!r}, which is for other networks: {'; '.join(found)}. Measure a "
            "table for these settings (docs/latency.md)."
        )
    if table.batch != 1:
        return (
            f"config.derive.latency_table: found {path!r}, which has the milliseconds of {table.batch} images at once; "
            "expected those of one image. Measure a table with --batch=1 (docs/latency.md)."
        )
    lacking = [
        f"{name} of {choice}"
        for choice, names in built(space).items()
        for name in names
        if not table.places.get(choice, {}).get(name)
    ]
    if lacking:
        return (
            f"config.derive.latency_table: found {path!r}, whose `places` lack {some(lacking)}. Measure a table for "
            "these settings (docs/latency.md)."
        )
    return ""
