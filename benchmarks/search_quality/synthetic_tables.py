"""Makes tables on which main effects are not enough, for benchmarks/search_quality/tabular_search.py.

    python -m benchmarks.search_quality.synthetic_tables --kind=pairwise --seed=1 --out=/tmp/pairwise.csv

Kinds, all with more or less the share of the variance that a sum of main effects explains:
    pairwise   8 choices of 3 operations: a random value per operation and, of twice the variance, per pair (0.3)
    wide       6 choices of 5 operations, the same (0.5)
    epistasis  8 choices of 3 operations: an NK landscape, each choice's value depends on two others (0.25)
    cell       6 edges of 5 operations between 4 nodes, as in cell spaces: diminishing returns, broken paths, random
               pairs (0.6)

Columns: choice_0, choice_1, ... (op_0, op_1, ...), then seed_0, seed_1, seed_2: the value, scaled to mean 90 and
standard deviation 1.5 like accuracies of networks, plus three independent training noises of standard deviation 0.15.
Search on seed_0, report seed_1,seed_2.
"""

import csv
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from absl import app, flags

_SEED_NOISE = 0.15


def pairwise(generator: np.random.Generator, choices: int = 8, operations: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Main effects of standard deviation 0.5 each, and random values of all pairs."""
    grid = _grid(choices, operations)
    value = np.zeros(len(grid))
    for i in range(choices):
        value += 0.5 * generator.normal(size=operations)[grid[:, i]]
    for i, j in itertools.combinations(range(choices), 2):
        table = generator.normal(size=(operations, operations))
        value += np.sqrt(2 / (choices - 1)) * table[grid[:, i], grid[:, j]]
    return grid, value


def epistasis(generator: np.random.Generator, choices: int = 8, operations: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Kauffman's NK landscape with K = 2: every choice's value is a random table over itself and two others."""
    grid = _grid(choices, operations)
    value = np.zeros(len(grid))
    for i in range(choices):
        others = generator.choice([j for j in range(choices) if j != i], 2, replace=False)
        table = generator.normal(size=(operations,) * 3)
        value += table[grid[:, i], grid[:, others[0]], grid[:, others[1]]]
    return grid, value


def cell(generator: np.random.Generator, operations: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """A cell of 4 nodes with an edge between every two: op_0 is none, op_1 a skip connection, the others compute."""
    edges = list(itertools.combinations(range(4), 2))
    grid = _grid(len(edges), operations)
    power = np.concatenate([[0.0, 0.15], np.sort(generator.uniform(0.3, 1.0, operations - 2))])
    weight = generator.uniform(0.5, 1.5, len(edges))
    signal, depth, connected = (np.zeros((len(grid), 4)) for _ in range(3))
    signal[:, 0] = connected[:, 0] = 1
    for edge, (source, node) in sorted(enumerate(edges), key=lambda item: item[1][1]):
        on = (grid[:, edge] > 0) & (connected[:, source] > 0)
        connected[:, node] = np.where(on, 1, connected[:, node])
        signal[:, node] += on * weight[edge] * (power[grid[:, edge]] + 0.35 * signal[:, source])
        deeper = depth[:, source] + (grid[:, edge] > 1)
        depth[:, node] = np.where(on, np.maximum(depth[:, node], deeper), depth[:, node])
    value = np.log1p(signal[:, 3]) + 0.25 * np.minimum(depth[:, 3], 2)
    for i, j in itertools.combinations(range(len(edges)), 2):
        value += 0.12 * generator.normal(size=(operations, operations))[grid[:, i], grid[:, j]]
    whole = connected[:, 3] > 0
    return grid, np.where(whole, value, value[whole].min() - 1.5)


KINDS: dict[str, Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]] = {
    "pairwise": pairwise,
    "wide": lambda generator: pairwise(generator, choices=6, operations=5),
    "epistasis": epistasis,
    "cell": cell,
}


def write(kind: str, seed: int, path: str) -> None:
    """Writes the table of a kind and a seed."""
    generator = np.random.default_rng(seed)
    grid, value = KINDS[kind](generator)
    value = 90 + 1.5 * (value - value.mean()) / value.std()
    seeds = value[:, np.newaxis] + generator.normal(0, _SEED_NOISE, (len(value), 3))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f"choice_{i}" for i in range(grid.shape[1])] + ["seed_0", "seed_1", "seed_2"])
        for operations, metrics in zip(grid, seeds, strict=True):
            writer.writerow([f"op_{operation}" for operation in operations] + [f"{metric:.4f}" for metric in metrics])


def _grid(choices: int, operations: int) -> np.ndarray:
    return np.array(list(itertools.product(range(operations), repeat=choices)))


if __name__ == "__main__":
    _KIND = flags.DEFINE_enum("kind", "pairwise", list(KINDS), "The kind of table.")
    _SEED = flags.DEFINE_integer("seed", 0, "The table's seed.")
    _OUT = flags.DEFINE_string("out", None, "The CSV file to write.", required=True)

    def main(_: Sequence[str]) -> None:
        write(_KIND.value, _SEED.value, _OUT.value)

    app.run(main)
