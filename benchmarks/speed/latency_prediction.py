"""Predicted against measured latency of architectures.

    python -m models.measure_latency --space=nasbench201 --cells=1 --channels=16 --out=table.json
    python -m benchmarks.speed.latency_prediction --table=table.json --architectures=30 --json=measured.json

Run both on the same device. The architectures are random ones that the table's fit did not use, or those of
`--genotypes`. They are measured in rounds, one after the other, so that other work on the machine hits all of them
alike; the median of the rounds counts. A killed run continues with the same command, which may ask for more rounds.
"""

import argparse
import json
import os

import numpy as np
from scipy import stats

from models.architectures.genotype import load_genotype
from models.costs import runtimes, table_measurement
from models.costs.latency_table import LatencyTable
from models.runtime.files import write_atomically
from models.search_spaces.registry import create_space
from models.settings import Settings


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", required=True, help="the table, measured on this device")
    parser.add_argument("--architectures", type=int, default=30, help="the number of random ones (30)")
    parser.add_argument("--genotypes", nargs="+", metavar="FILE", help="files of genotypes instead of random ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="of the random ones; not that of the table (1)")
    parser.add_argument("--json", help="a file of what is measured, from which a killed run continues")
    options = parser.parse_args()
    table = LatencyTable.load(options.table, "--table")
    runtimes.set_threads(table.threads)
    networks = table.networks
    settings = Settings.parse({"space": networks.space, "train": {**networks.options, "auxiliary_weight": 0.0}})
    space = create_space(settings.space)
    timed = table_measurement.stopwatch(table.backend, table.threads, table.batch)
    if options.genotypes:
        paths = [space.path(load_genotype(file)) for file in options.genotypes]
    else:
        paths = _random(space, table, options.architectures, options.seed)
    measured = _known(options.json, paths) or [[] for _ in paths]
    loads = [os.getloadavg()[0]]
    for number in range(options.rounds):
        for path, found in zip(paths, measured, strict=True):
            if len(found) > number:
                continue
            network = table_measurement.network_of(space, settings.train, networks.image_shape, networks.classes, path)
            found.append(timed([network], networks.image_shape))
            loads.append(os.getloadavg()[0])
            if options.json:
                write_atomically(options.json, json.dumps({"paths": paths, "ms": measured}))
    names = options.genotypes or [f"random {number}" for number in range(len(paths))]
    predicted = [table.predict(space, path) for path in paths]
    _print(names, np.array(predicted), np.array([np.median(found) for found in measured]))
    print(f"load of the machine: {min(loads):.1f} to {max(loads):.1f}, {os.cpu_count()} cores")


def _random(space, table, count, seed):
    fitted = [network.path for network in table.fitted]
    drawn = table_measurement.random_paths(space, count + len(fitted), seed)
    return [path for path in drawn if table.used(space, path) not in fitted][:count]


def _known(file_name, paths):
    if not file_name or not os.path.exists(file_name):
        return None
    with open(file_name, encoding="utf-8") as file:
        known = json.load(file)
    if known["paths"] != paths:
        raise SystemExit(f"--json: {file_name} is of other architectures. Remove it or name another file.")
    return known["ms"]


def _print(names, predicted, measured):
    errors = predicted / measured - 1
    print("| architecture | measured ms | predicted ms | error |\n|---|---|---|---|")
    for number in np.argsort(measured):
        print(f"| {names[number]} | {measured[number]:.3f} | {predicted[number]:.3f} | {errors[number]:+.1%} |")
    size = np.abs(errors)
    print(
        f"{len(measured)} architectures: Spearman {stats.spearmanr(predicted, measured).statistic:.3f}, error: median "
        f"{np.median(size):.1%}, largest {size.max():.1%}"
    )


if __name__ == "__main__":
    main()
