"""Predicts the cost of a network of any size on this machine from a few measured networks.

The seconds of a step are a sum of four parts: a fixed part, a part in proportion to the cells (the overhead of their
operations), a part in proportion to the activations (pools, batch norm and depthwise convolutions read and write them)
and a part in proportion to the products of the pointwise convolutions. A least-squares fit without negative factors
(scipy.optimize.nnls) finds the four factors. Two or three networks do not determine four factors. So the fit prefers
factors in the proportions that were measured once (`_PROPORTIONS`); the speed of the machine comes from the
measurements.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import optimize

# Measured on one core of a server (docs/budget.md): the seconds per unit of each part; and, per cell, the seconds of
# building a network and tracing its training (_START), and of tracing an inference program (_PROGRAM).
_PROPORTIONS = {
    "step": (1e-3, 1.6e-2, 1.3e-7, 1.2e-9),
    "inference": (6.6e-3, 1.3e-3, 2.0e-8, 4.0e-10),
    "score": (7.3e-2, 6.3e-2, 1.1e-7, 4.3e-9),
}
_START, _PROGRAM = 1.25, 0.14
# Weight of the proportions beside a measurement, whose weight is 1.
_TRUST = 0.1
# Building and tracing stem, head and optimizer take as long as this number of cells.
_FIXED_CELLS = 2
# Seconds of the Evaluator, of Pusher and ReportGen together, and of a training's export, without their work with the
# network. They hold for a machine that builds and traces a training in _WEIGHT seconds per trainable tensor.
_EVALUATION, _REPORT, _EXPORT, _WEIGHT = 8.0, 7.0, 2.0, 0.045
# Seconds that the oracle and KerasTuner take in each epoch of a search by scores, on the same machine.
_TRIAL = 0.05
# Inference programs that the export, the Evaluator and ReportGen trace or load.
_EXPORT_PROGRAMS, _EVALUATION_PROGRAMS, _REPORT_PROGRAMS = 4, 2, 1
# Images that ReportGen classifies at most (components/report_gen/pictures.py).
_REPORT_IMAGES = 20_000


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of a network: `config.train.cells` and `config.train.channels`.

    A search space without these settings has only one size of networks, so both values have no effect there.
    """

    cells: int
    channels: int

    def __str__(self) -> str:
        return f"{self.cells} cells and {self.channels} channels"


@dataclasses.dataclass(frozen=True)
class NetworkTimes:
    """The seconds that were measured for one network.

    Attributes:
        cells, channels: The size of the network.
        weights: The number of trainable tensors.
        batch: Images of a step.
        start: Seconds of building the network and tracing its training, including the first step.
        step: Seconds of a training step.
        inference_start: Seconds of tracing the inference.
        inference: Seconds of the inference of a batch.
    """

    cells: int
    channels: int
    weights: int
    batch: int
    start: float
    step: float
    inference_start: float
    inference: float


@dataclasses.dataclass(frozen=True)
class SearchTimes:
    """The seconds that were measured for a search at one size of the final network.

    Attributes:
        cells, channels: The size.
        start: Seconds of building the supernet.
        epoch: Seconds of an epoch.
    """

    cells: int
    channels: int
    start: float
    epoch: float


@dataclasses.dataclass(frozen=True)
class Figures:
    """The measured times, and the data that they were measured with.

    Attributes:
        images: The number of training images.
        test_images: The number of test images.
        pixels: Pixels of an image.
        side: The smaller side of an image in pixels.
        stages: Whether `cells` is the number of cells of each of three stages, not of the whole network.
        load: Seconds of reading and decoding the training images once.
        networks: Times of networks with random architectures. Empty if there was no time to measure one; `searches`
            then suffice.
        searches: Times of the search. Empty without a search. There is only one entry if the cost of the search does
            not depend on the size of the final network.
        sized: Whether the cost of the search depends on the size of the final network.
        score_images: Images of an epoch of a search by scores.
        reference: The number of scores that are computed before the first epoch of a search.
        pretrained: Seconds of the baseline on the features of a pretrained network; 0 without it.
    """

    images: int
    test_images: int
    pixels: int
    side: int
    stages: bool
    load: float
    networks: tuple[NetworkTimes, ...]
    searches: tuple[SearchTimes, ...] = ()
    sized: bool = True
    score_images: int = 32
    reference: int = 0
    pretrained: float = 0.0

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Figures":
        """Returns the figures of a JSON document."""
        networks = tuple(NetworkTimes(**network) for network in document["networks"])
        searches = tuple(SearchTimes(**search) for search in document["searches"])
        return cls(**{**document, "networks": networks, "searches": searches})


class Costs:
    """Predicts seconds from measured figures.

    Args:
        figures: The figures that were measured with random architectures; also an attribute.
        derived: The times of the derived network, if it was measured. All predictions are then scaled by the ratio of
            these times to the predicted ones.
    """

    def __init__(self, figures: Figures, derived: NetworkTimes | None = None):
        self.figures = figures
        self._score = None
        if figures.searches and figures.sized:
            scores = [(Size(s.cells, s.channels), figures.score_images, s.epoch) for s in figures.searches]
            self._score, speed = self._fit("score", scores)
        if figures.networks:
            sizes = [Size(network.cells, network.channels) for network in figures.networks]
            networks = list(zip(sizes, figures.networks, strict=True))
            self._step, _ = self._fit("step", [(size, n.batch, n.step) for size, n in networks])
            self._inference, _ = self._fit("inference", [(size, n.batch, n.inference) for size, n in networks])
            self._start = self._per_cell([(n.cells, n.start) for n in figures.networks])
            self._program = self._per_cell([(n.cells, n.inference_start) for n in figures.networks])
            weights = sum(n.weights for n in figures.networks)
            self._slow = sum(n.start for n in figures.networks) / (_WEIGHT * weights)
        else:  # the scores say how fast the machine is
            self._slow = speed
            self._step, self._inference = (speed * np.array(_PROPORTIONS[kind]) for kind in ("step", "inference"))
            self._start, self._program = speed * _START, speed * _PROGRAM
        if derived:
            size = Size(derived.cells, derived.channels)
            parts = self._parts(size, derived.batch)
            self._step = self._step * derived.step / (parts @ self._step)
            self._inference = self._inference * derived.inference / (parts @ self._inference)
            self._start = derived.start / self._cells(derived.cells)
            self._program = derived.inference_start / self._cells(derived.cells)
            self._slow = derived.start / (_WEIGHT * derived.weights)

    def _fit(self, kind: str, measured: Sequence[tuple[Size, int, float]]) -> tuple[np.ndarray, float]:
        """Returns the factors of the four parts, and the slowness of this machine relative to the proportions.

        The unknowns are the four factors, in units of the proportions, and the slowness. Each row is an equation. The
        rows of the measurements are divided by the measured seconds, so the fit minimises relative errors.
        """
        proportions = np.array(_PROPORTIONS[kind])
        rows = [[*(self._parts(size, batch) * proportions / seconds), 0.0] for size, batch, seconds in measured]
        rows += [[*(_TRUST * np.eye(4)[part]), -_TRUST] for part in range(4)]
        found, _ = optimize.nnls(np.array(rows), np.array([1.0] * len(measured) + [0.0] * 4))
        return found[:4] * proportions, float(found[4])

    def _parts(self, size: Size, batch: int) -> np.ndarray:
        """Returns the quantities of the four parts of a step: 1, cells, and activations and products of a batch.

        Two reductions divide the cells into three groups. From group to group the channels double and the pixels are
        quartered.
        """
        groups = [len(part) for part in np.array_split(range(size.cells), 3)]
        if self.figures.stages:
            groups = [size.cells] * 3
        activations = products = 0.0
        for number, count in enumerate(groups):
            wide, pixels = size.channels * 2**number, self.figures.pixels / 4**number
            activations += count * wide * pixels
            products += count * wide**2 * pixels
        return np.array([1.0, sum(groups), batch * activations, batch * products])

    def _cells(self, cells: int) -> int:
        return _FIXED_CELLS + cells * (3 if self.figures.stages else 1)

    def _per_cell(self, measured: Sequence[tuple[int, float]]) -> float:
        return sum(seconds for _, seconds in measured) / sum(self._cells(cells) for cells, _ in measured)

    @property
    def load(self) -> float:
        """Seconds of reading and decoding the training images once."""
        return self.figures.load

    @property
    def pretrained(self) -> float:
        """Seconds of the baseline on the features of a pretrained network."""
        return self.figures.pretrained

    @property
    def searches(self) -> bool:
        """Whether the run has a search."""
        return bool(self.figures.searches)

    def steps(self, batch: int) -> int:
        """Returns the steps of a training epoch."""
        return math.ceil(self.figures.images / batch)

    def step(self, size: Size, batch: int) -> float:
        """Returns the seconds of a training step."""
        return float(self._parts(size, min(batch, self.figures.images)) @ self._step)

    def epoch(self, size: Size, batch: int) -> float:
        """Returns the seconds of a training epoch."""
        return self.steps(batch) * self.step(size, batch)

    def start(self, size: Size) -> float:
        """Returns the seconds of building a network and tracing its training, with the first step."""
        return self._start * self._cells(size.cells)

    def search_start(self, size: Size) -> float:
        """Returns the seconds of a search before its first epoch, if the run has a search."""
        measured = [(s.cells, s.start) for s in self.figures.searches]
        start = self._per_cell(measured) * self._cells(size.cells) if self.figures.sized else measured[0][1]
        return self.load + start + self.figures.reference * self._scoring(size)

    def search_epoch(self, size: Size) -> float:
        """Returns the seconds of a search epoch, if the run has a search."""
        if self._score is None:
            return self.figures.searches[0].epoch
        return self._scoring(size) + _TRIAL * self._slow

    def _scoring(self, size: Size) -> float:
        """Returns the seconds of a score; 0 in a search that trains."""
        return 0.0 if self._score is None else float(self._parts(size, self.figures.score_images) @ self._score)

    def search(self, size: Size, epochs: int) -> float:
        """Returns the seconds of a search; 0 without one."""
        return self.search_start(size) + epochs * self.search_epoch(size) if self.searches else 0.0

    def measuring(self, size: Size) -> float:
        """Returns the seconds that are needed to measure a size."""
        if self._score is None:
            return self.start(size)
        return self.start(size) + self.search_start(size) - self.figures.reference * self._scoring(size)

    def export(self, size: Size) -> float:
        """Returns the seconds of the export after a training."""
        return _EXPORT * self._slow + _EXPORT_PROGRAMS * self._programs(size)

    def evaluation(self, size: Size) -> float:
        """Returns the seconds of the Evaluator."""
        work = _EVALUATION_PROGRAMS * self._programs(size) + self._classify(size, self.figures.test_images)
        return _EVALUATION * self._slow + work

    def report(self, size: Size) -> float:
        """Returns the seconds of Pusher and ReportGen."""
        images = min(self.figures.test_images, _REPORT_IMAGES)
        return _REPORT * self._slow + _REPORT_PROGRAMS * self._programs(size) + self._classify(size, images)

    def _programs(self, size: Size) -> float:
        return self._program * self._cells(size.cells)

    def inference(self, size: Size, batch: int) -> float:
        """Returns the seconds of the inference of a batch."""
        return float(self._parts(size, batch) @ self._inference)

    def _classify(self, size: Size, images: int) -> float:
        batch = 64
        return images / batch * self.inference(size, batch)
