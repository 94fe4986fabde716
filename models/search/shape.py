"""The architectures that a derivation can give, as rules about the operations of the choices.

Architectures are rows of integers here: the index of the operation of each choice.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from models.architectures import nasbench201
from models.architectures.cell import CONCAT, KINDS, NONE, choice_name
from models.architectures.choices import Choice, Path
from models.architectures.genotype import Genotype
from models.search.derivation import SKIP
from models.search_spaces.base import SearchSpace
from models.search_spaces.cell import EDGES_PER_NODE


@dataclasses.dataclass(frozen=True)
class Shape:
    """The rules that the derived architectures of a space keep to.

    Attributes:
        choices: The choices; `none` is among the operations of an edge that a genotype may lack.
        nodes: Groups of choices, by position. In each group, EDGES_PER_NODE operations are not `none`.
        routes: Groups of choices, by position. In one group or more, no operation is `none`. () for no such rule.
        max_skips: The largest number of skip connections; None for no limit.
    """

    choices: tuple[Choice, ...]
    nodes: tuple[tuple[int, ...], ...] = ()
    routes: tuple[tuple[int, ...], ...] = ()
    max_skips: int | None = None

    @classmethod
    def of(cls, space: SearchSpace, max_skips: int | None = None) -> Shape:
        """Returns the shape of a space's derived architectures.

        Args:
            space: The space.
            max_skips: The largest number of skip connections; None for no limit.
        """
        choices = space.choices
        if space.name == "cell":
            choices = tuple(Choice(c.name, tuple(dict.fromkeys((*c.operations, NONE)))) for c in choices)
            position = {choice.name: number for number, choice in enumerate(choices)}
            nodes = tuple(
                tuple(position[choice_name(kind, node, source)] for source in range(node))
                for kind in KINDS
                for node in CONCAT
            )
            return cls(choices, nodes, max_skips=max_skips)
        if space.name == "nasbench201" and NONE in choices[0].operations:
            return cls(choices, routes=nasbench201.ROUTES, max_skips=max_skips)
        return cls(choices, max_skips=max_skips)

    @property
    def sizes(self) -> np.ndarray:
        """int64 (choices,): the number of operations of each choice."""
        return np.array([len(choice.operations) for choice in self.choices])

    def positions(self, operation: str) -> np.ndarray:
        """Returns the index of an operation in each choice, int64 (choices,), -1 where it is not offered."""
        return np.array(
            [c.operations.index(operation) if operation in c.operations else -1 for c in self.choices], np.int64
        )

    def table(self, parts: Mapping[str, Mapping[str, float]]) -> np.ndarray:
        """Returns numbers for each choice and operation as an array, float64 (choices, operations), else 0."""
        table = np.zeros((len(self.choices), self.sizes.max()))
        for row, choice in enumerate(self.choices):
            for column, operation in enumerate(choice.operations):
                table[row, column] = parts.get(choice.name, {}).get(operation, 0)
        return table

    def row(self, path: Path) -> np.ndarray:
        """Returns the row of an architecture."""
        return np.array([choice.operations.index(path[choice.name]) for choice in self.choices])

    def path(self, row: np.ndarray) -> dict[str, str]:
        """Returns the architecture of a row."""
        return {choice.name: choice.operations[index] for choice, index in zip(self.choices, row, strict=True)}

    def valid(self, rows: np.ndarray) -> np.ndarray:
        """Returns which rows keep to the rules, bool (rows,)."""
        real = rows != self.positions(NONE)
        valid = np.ones(len(rows), bool)
        for node in self.nodes:
            valid &= real[:, node].sum(axis=1) == EDGES_PER_NODE
        if self.routes:
            valid &= np.any([real[:, route].all(axis=1) for route in self.routes], axis=0)
        if self.max_skips is not None:
            valid &= (rows == self.positions(SKIP)).sum(axis=1) <= self.max_skips
        return valid

    def count(self) -> int:
        """Returns the number of architectures, before the rules about routes and skip connections."""
        if not self.nodes:
            return math.prod(self.sizes.tolist())
        real = int(self.sizes[0]) - 1
        return math.prod(math.comb(len(node), EDGES_PER_NODE) * real**EDGES_PER_NODE for node in self.nodes)

    def everything(self) -> np.ndarray:
        """Returns the rows of all architectures of a small space, in a fixed order."""
        groups = [list(node) for node in self.nodes] or [[position] for position in range(len(self.choices))]
        offered = [self._combinations(group) for group in groups]
        numbers = np.unravel_index(np.arange(self.count()), [len(rows) for rows in offered])
        rows = np.empty((self.count(), len(self.choices)), np.int64)
        for group, combinations, number in zip(groups, offered, numbers, strict=True):
            rows[:, group] = combinations[number]
        return rows[self.valid(rows)]

    def random(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Returns random rows.

        Args:
            count: Their number.
            generator: Draws them.
        """
        found = np.zeros((0, len(self.choices)), np.int64)
        while len(found) < count:
            rows = generator.integers(self.sizes, size=(count, len(self.choices)))
            self._draw_edges(rows, generator)
            self._limit_skips(rows, generator)
            found = np.concatenate([found, rows[self.valid(rows)]])
        return found[:count]

    def moves(self, row: np.ndarray) -> np.ndarray:
        """Returns the rows that differ from a row by one operation, or by an edge that starts at another source."""
        none = self.positions(NONE)
        # A position, its new operation, and the position that becomes `none`: the same one if no edge moves.
        changes = []
        for position, size in enumerate(self.sizes):
            operations = [operation for operation in range(size) if operation != row[position]]
            node = next((node for node in self.nodes if position in node), ())
            lost = [position]
            if node and row[position] == none[position]:
                lost = [other for other in node if row[other] != none[other]]
            changes += [(position, operation, other) for other in lost for operation in operations]
        positions, operations, others = np.array(changes).T
        rows = np.repeat(row[np.newaxis], len(changes), axis=0)
        moved = np.arange(len(changes))
        rows[moved, others] = none[others]
        rows[moved, positions] = operations
        return rows[self.valid(rows)]

    def _combinations(self, group: list[int]) -> np.ndarray:
        """Returns all operations that the choices of a node, or a single choice, can have together."""
        sizes = self.sizes[group]
        rows = np.stack(np.unravel_index(np.arange(sizes.prod()), sizes), axis=1)
        if not self.nodes:
            return rows
        return rows[(rows != self.positions(NONE)[group]).sum(axis=1) == EDGES_PER_NODE]

    def _draw_edges(self, rows: np.ndarray, generator: np.random.Generator) -> None:
        """Sets EDGES_PER_NODE random edges of each node to random operations but `none`, in place."""
        none = self.positions(NONE)
        for node in self.nodes:
            order = generator.random((len(rows), len(node))).argsort(axis=1)
            for place, position in enumerate(node):
                drawn = generator.integers(self.sizes[position] - 1, size=len(rows))
                real = drawn + (drawn >= none[position])
                rows[:, position] = np.where(order[:, place] < EDGES_PER_NODE, real, none[position])

    def _limit_skips(self, rows: np.ndarray, generator: np.random.Generator) -> None:
        """Replaces random skip connections beyond the limit by random operations but `none`, in place."""
        if self.max_skips is None:
            return
        skip, none = self.positions(SKIP), self.positions(NONE)
        order = np.where(rows == skip, generator.random(rows.shape), 2.0).argsort(axis=1).argsort(axis=1)
        excess = (rows == skip) & (order >= self.max_skips)
        for position, choice in enumerate(self.choices):
            others = [i for i in range(len(choice.operations)) if i not in (skip[position], none[position])]
            if others:
                drawn = generator.choice(others, size=len(rows))
                rows[:, position] = np.where(excess[:, position], drawn, rows[:, position])


def genotype_of(space: SearchSpace, path: Path) -> Genotype:
    """Returns the genotype of an architecture that keeps to the rules of its space's shape."""
    return space.derive({c.name: [float(name == path[c.name]) for name in c.operations] for c in space.choices})
