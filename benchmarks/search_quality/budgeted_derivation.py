"""Twenty budgets from one finished search: seconds, violations, and how good the derived architectures are.

    python -m benchmarks.search_quality.budgeted_derivation --table=nasbench201_cifar10.csv

Each space is searched once with each rule. In NAS-Bench-201's space the scores are the accuracies of the table, in the
two large spaces synthetic ones with interactions. Then the document of the search is read, and the best architecture is
derived for 20 budgets between the cheapest and the best unconstrained architecture; every second budget limits
parameters and multiply-adds together. The columns:

| column | meaning |
|---|---|
| seconds | from the document to the last of the 20 genotypes; the costs of the space are computed before |
| over | derived architectures over their budget; every fourth one is built, and its network is counted |
| beaten | budgets for which one of --random random architectures that fit is better by the rule's model |
| least lead | the least distance to the best random one, in deviations of the scores of random architectures |
| optimal | budgets with the optimum of all architectures, in NAS-Bench-201's space |

Random architectures that fit take a random part of their operations from the cheapest architecture.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable

import numpy as np
from absl import app, flags

from benchmarks.search_quality import tables
from models.costs.networks import network_costs
from models.networks import profiling
from models.oracle.multinomial import Multinomial
from models.search.budgeted import Selector
from models.search.program import Limit, solve
from models.search.ranking import ranking, within
from models.search.shape import Shape
from models.search_spaces.base import SearchSpace
from models.search_spaces.registry import create_space, network_options
from models.settings import Settings

_TABLE = flags.DEFINE_string(
    "table", None, "CSV file of NAS-Bench-201's accuracies; without it that space is left out."
)
_EPOCHS = flags.DEFINE_integer("epochs", 150, "Evaluations of each search.")
_RANDOM = flags.DEFINE_integer("random", 10_000, "Random architectures for each budget.")
_BUDGETS = 20
_RULES = ("paper", "main_effects", "interactions")
_SETTINGS = {
    "cell": {"network": "cifar", "cells": 8, "channels": 16, "auxiliary_weight": 0.0},
    "mobile": {"network": "mobile"},
    "nasbench201": {"network": "nasbench201", "cells": 5, "channels": 16},
}
_IMAGE = {"cell": (32, 32, 3), "mobile": (224, 224, 3), "nasbench201": (32, 32, 3)}

_Score = Callable[[dict[str, str]], float]


def synthetic(space: SearchSpace, seed: int) -> _Score:
    """Returns random scores of architectures: effects of operations, and of pairs of operations on adjacent choices."""
    generator = np.random.default_rng(seed)
    names = [choice.name for choice in space.choices]
    single = {(c.name, operation): generator.normal() for c in space.choices for operation in c.operations}
    paired = {}

    def score(path: dict[str, str]) -> float:
        total = sum(single.get(edge, 0.0) for edge in path.items())
        for first, second in itertools.pairwise(names):
            key = (first, path[first], path[second])
            if key not in paired:
                paired[key] = 0.7 * np.random.default_rng([seed, *map(ord, "".join(key))]).normal()
            total += paired[key]
        return float(total + 0.3 * generator.normal())

    return score


def published(space: SearchSpace, path: str) -> _Score:
    """Returns the validation accuracies of a table of NAS-Bench-201."""
    found = tables.load(path, "edge_*", "cifar10_val", ["cifar10_test"]).objective
    names = [choice.name for choice in space.choices]
    return lambda architecture: found[tuple(architecture[name] for name in names)]


def search(space: SearchSpace, rule: str, score: _Score, epochs: int) -> dict:
    """Returns the document of a search."""
    generator = np.random.default_rng(0)
    multinomial = Multinomial([(choice.name, choice.operations) for choice in space.choices], rule)
    for number in range(epochs):
        path = space.repair(multinomial.sample(number), generator)
        multinomial.observe(path, score(path))
    return multinomial.document()


def random_fitting(shape: Shape, budget: list[Limit], count: int, generator: np.random.Generator) -> np.ndarray:
    """Returns random architectures within a budget: mixtures of random ones with the cheapest one."""
    cheapest = solve(shape, -budget[0].table, budget)
    assert cheapest is not None
    groups = shape.nodes or tuple((number,) for number in range(len(shape.choices)))
    found = [cheapest[np.newaxis]]
    while sum(map(len, found)) < count:
        rows = shape.random(count, generator)
        share = generator.random(count)
        for group in groups:
            taken = generator.random(count) < share
            rows[np.ix_(taken, group)] = cheapest[list(group)]
        rows = rows[shape.valid(rows)]
        found.append(rows[within(rows, budget)])
    return np.concatenate(found)[:count]


def measure(space_name: str, rule: str, score: _Score | None = None) -> dict[str, object]:
    """Returns the row of a space and a rule."""
    settings = Settings.parse({"space": {"name": space_name}, "train": _SETTINGS[space_name]})
    space, image_shape = create_space(settings.space), _IMAGE[space_name]
    document = search(space, rule, score or synthetic(space, 0), _EPOCHS.value)
    costs = {cost.name: cost for cost in network_costs(space, settings.train, image_shape, 10)}

    began = time.monotonic()
    selector = Selector(space, Multinomial.from_document(document), tuple(costs.values()))
    ends = selector.front(2)
    budgets = [
        {
            name: ends[0].costs[name] + share * max(ends[-1].costs[name] - ends[0].costs[name], 0)
            for name in (("macs", "params") if number % 2 else ("macs",))
        }
        for number, share in enumerate(np.linspace(0.02, 1, _BUDGETS))
    ]
    derived = [selector.best(budget) for budget in budgets]
    seconds = time.monotonic() - began

    shape = Shape.of(space)
    ranked = ranking(shape, Multinomial.from_document(document), 0)
    generator = np.random.default_rng(1)
    deviation = float(ranked.scores(shape.random(2000, generator)).std()) or 1.0
    everything = shape.everything() if space_name == "nasbench201" else None
    over, leads, optimal = 0, [], 0
    for number, (budget, candidate) in enumerate(zip(budgets, derived, strict=True)):
        counted = candidate.costs
        if number % 4 == 0:
            network = space.network(candidate.genotype, image_shape, 10, **network_options(space, settings.train))
            counted = dataclasses.asdict(profiling.profile(network))
        over += any(counted[name] > limit for name, limit in budget.items())
        limits = [Limit(costs[name], limit, shape.table(costs[name].parts)) for name, limit in budget.items()]
        own = ranked.scores(shape.row(space.path(candidate.genotype))[np.newaxis])[0]
        random = ranked.scores(random_fitting(shape, limits, _RANDOM.value, generator))
        leads.append((own - random.max()) / deviation)
        if everything is not None:
            best = ranked.scores(everything[within(everything, limits)]).max()
            optimal += own >= best - 1e-6 * deviation
    return {
        "space": space_name,
        "rule": rule,
        "seconds": f"{seconds:.1f}",
        "over": over,
        "beaten": sum(lead < -1e-6 for lead in leads),
        "least lead": f"{max(min(leads), 0.0):.3f}" if min(leads) > -1e-6 else f"{min(leads):.3f}",
        "optimal": f"{optimal} of {_BUDGETS}" if everything is not None else "",
    }


def main(_: list[str]) -> None:
    """Prints the table."""
    heads = ("space", "rule", "seconds", "over", "beaten", "least lead", "optimal")
    print("|", " | ".join(heads), "|", flush=True)
    print("|" + "---|" * len(heads), flush=True)
    for name in _SETTINGS if _TABLE.value else ("cell", "mobile"):
        score = None
        if name == "nasbench201":
            score = published(create_space(Settings.parse({"space": {"name": name}}).space), _TABLE.value)
        for rule in _RULES:
            row = measure(name, rule, score)
            print("|", " | ".join(str(row[head]) for head in heads), "|", flush=True)


if __name__ == "__main__":
    app.run(main)
