"""Prints an architecture, its parameters and its multiply-adds, and its latency on this device.

    python -m models.describe mdenas_cifar10
    python -m models.describe genotype.json --network=imagenet --json
    python -m models.describe mdenas_cifar10 --latency --threads=1

ARCH is a preset's name or a genotype's JSON file. What is not given is as in the preset's publication, or, for a
genotype file, as in the paper's final training of that kind of network (NAS-Bench-201: as in the benchmark).
"""

import argparse
import dataclasses
import json
import os
import sys

from models.architectures import presets

KINDS = tuple(presets.NETWORK_DEFAULTS)


def main(arguments: list[str] | None = None) -> None:
    """Prints what the command line asks for; ends the process with status 2 and one line if it asks for nonsense."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        genotype, source = presets.resolve_architecture(options.arch)
        settings = _settings(options, genotype)
        if options.threads is not None and not options.latency:
            raise ValueError(f"--threads: found {options.threads}; expected --latency with it")
        if options.threads is not None and options.threads < 1:
            raise ValueError(f"--threads: found {options.threads}; expected 1 or more")
        threads = (options.threads or 1) if options.latency else 0
        network = _build(genotype, settings, threads)
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(2)
    from models.networks import profiling

    profile = profiling.profile(network)
    measured = _measured(network, settings, threads) if threads else []
    if options.json:
        counts = {
            "params": profile.params,
            "params_with_auxiliary": profile.params_with_auxiliary,
            "macs": profile.macs,
            **({"latency": [dataclasses.asdict(row) for row in measured]} if threads else {}),
        }
        print(json.dumps({**counts, **settings, "source": source, "genotype": genotype.to_dict()}))
        return
    print(source, *genotype.text().split("; "), sep="\n")
    print(*(f"{name}={value}" for name, value in settings.items()), end="\n\n")
    print(_table(network), end="\n\n")
    print(f"parameters                 {profile.params:>14,}")
    if profile.params_with_auxiliary != profile.params:
        print(f"with the auxiliary head    {profile.params_with_auxiliary:>14,}")
    print(f"multiply-adds              {profile.macs:>14,}")
    if threads:
        print("", *_latency_table(measured, threads), sep="\n")


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def _parser():
    parser = _Parser(
        prog="python -m models.describe",
        description="Prints an architecture, its parameters and its multiply-adds.",
        epilog=f"Presets: {', '.join(presets.PRESETS)}.",
    )
    parser.add_argument("arch", metavar="ARCH", help="a preset's name, or a genotype's JSON file")
    parser.add_argument("--network", choices=KINDS, help="kind of network (default: the preset's or the genotype's)")
    for name, text in (
        ("channels", "channels of a node of the first cell (cifar: 36, imagenet: 48, nasbench201: 16)"),
        ("cells", "number of cells (cifar: 20, imagenet: 14), nasbench201: of each stage (5)"),
        ("classes", "number of classes (cifar, nasbench201: 10, else 1000)"),
        ("image_size", "side of the square images in pixels (cifar, nasbench201: 32, else 224)"),
        ("image_channels", "1 for grey images, 3 for colours (3)"),
    ):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=text)
    parser.add_argument("--latency", action="store_true", help="export the untrained network and measure its latency")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the runtimes (1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _settings(options, genotype):
    preset = presets.PRESETS.get(options.arch)
    space = genotype.to_dict()["space"]
    kind = options.network or (preset.network if preset else "cifar" if space == "cell" else space)
    settings = {"network": kind, **presets.NETWORK_DEFAULTS[kind], "image_channels": 3}
    for name in ("channels", "cells", "classes", "image_size", "image_channels"):
        value = getattr(options, name)
        if value is not None:
            if name not in settings:
                raise ValueError(f"--{name}: the {kind} network has none; its genotype's backbone fixes it")
            settings[name] = value
    return settings


def _build(genotype, settings, threads):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its greetings are not what was asked for
    from models.architectures import limits
    from models.costs import runtimes
    from models.networks.registry import NETWORKS

    if threads:
        runtimes.set_threads(threads)
    options = dict(settings)
    kind, side, classes = options.pop("network"), options.pop("image_size"), options.pop("classes")
    shape = (side, side, options.pop("image_channels"))
    if kind in limits.SMALLEST_WITH_AUXILIARY:
        options["auxiliary"] = side >= limits.SMALLEST_WITH_AUXILIARY[kind]
    return NETWORKS[kind](genotype, shape, classes, **options)


def _measured(network, settings, threads):
    from models.exports import measurement

    side = settings["image_size"]
    return measurement.measure(network, (side, side, settings["image_channels"]), settings["classes"], threads)


def _latency_table(rows, threads):
    yield f"{'runtime':<14}{'batch':>6}{'median ms':>12}{'10-90 % of the calls':>24}{'file bytes':>14}"
    for row in rows:
        found = row.latency
        spread = f"{found.low:.3f} - {found.high:.3f}"
        yield f"{row.name:<14}{row.batch:>6}{found.median:>12.3f}{spread:>24}{row.bytes:>14,}"
    yield f"untrained network, this device, {threads} thread{'s' if threads > 1 else ''}; of a batch"


def _table(network):
    from models.networks import profiling

    lines = [f"{'layer':<22}{'output':<14}{'params':>12}{'macs':>16}"]
    for layer in network.layers:
        if not layer.weights:
            continue
        kind = {True: " (reduction)", False: " (normal)"}.get(getattr(layer, "reduction", None), "")
        shape = "x".join(map(str, profiling.output_shape(layer)[1:]))
        params, macs = profiling.parameters(layer), profiling.multiply_adds(layer)
        lines.append(f"{layer.name + kind:<22}{shape:<14}{params:>12,}{macs:>16,}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
