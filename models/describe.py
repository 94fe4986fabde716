"""Prints an architecture, its parameters and its multiply-adds.

    python -m models.describe mdenas_cifar10
    python -m models.describe genotype.json --network=imagenet --json

ARCH is a preset's name or a genotype's JSON file. What is not given is as in the preset's publication, or, for a
genotype file, as in the paper's final training of that kind of network (NAS-Bench-201: as in the benchmark).
"""

import argparse
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
        network = _build(genotype, settings)
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(2)
    from models.networks import profiling

    profile = profiling.profile(network)
    if options.json:
        counts = {
            "params": profile.params,
            "params_with_auxiliary": profile.params_with_auxiliary,
            "macs": profile.macs,
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


def _build(genotype, settings):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its greetings are not what was asked for
    from models.architectures import limits
    from models.networks.registry import NETWORKS

    options = dict(settings)
    kind, side, classes = options.pop("network"), options.pop("image_size"), options.pop("classes")
    shape = (side, side, options.pop("image_channels"))
    if kind in limits.SMALLEST_WITH_AUXILIARY:
        options["auxiliary"] = side >= limits.SMALLEST_WITH_AUXILIARY[kind]
    return NETWORKS[kind](genotype, shape, classes, **options)


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
