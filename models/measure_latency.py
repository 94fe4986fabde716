"""Measures the latency of the networks of a search space on this device, and writes a table of it.

    python -m models.measure_latency --space=cell --cells=6 --channels=16 --image_size=32 --classes=10 --out=table.json

`config.derive.latency_table` takes the file, also on another machine. A killed measurement continues if the same
command is given again. docs/latency.md has the details.
"""

import argparse
import os
import sys

from models.runtime.section import ConfigError
from models.settings import Settings

_KINDS = ("cifar", "imagenet", "mobile", "nasbench201")


def main(arguments: list[str] | None = None) -> None:
    """Measures what the command line asks for; ends the process with status 2 and one line if it asks for nonsense."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        _measure(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(2)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def _parser():
    parser = _Parser(prog="python -m models.measure_latency", description="Measures a latency table on this device.")
    parser.add_argument("--space", required=True, choices=("cell", "mobile", "nasbench201"), help="the search space")
    parser.add_argument("--out", required=True, metavar="FILE", help="the file of the table (JSON)")
    parser.add_argument("--operations", metavar="A,B", help="config.space.operations (default: those of the space)")
    parser.add_argument("--backbone", metavar="NAME", help="config.space.backbone of the mobile space (mdenas_gpu)")
    parser.add_argument("--network", choices=_KINDS, help="config.train.network (default: cifar, or the space)")
    parser.add_argument("--backend", choices=("tensorflow", "litert"), default="litert", help="the runtime (litert)")
    for name, default, text in (
        ("cells", None, "config.train.cells"),
        ("channels", None, "config.train.channels"),
        ("image_size", 32, "side of the square images in pixels (32)"),
        ("image_channels", 3, "1 for grey images, 3 for colours (3)"),
        ("classes", 10, "number of classes (10)"),
        ("threads", 1, "threads of the runtime (1)"),
        ("batch", 1, "images of a batch (1)"),
        ("networks", 10, "whole networks that are measured for the fit (10)"),
        ("seed", 0, "decides which networks (0)"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=text)
    return parser


def _measure(options) -> None:
    for name, least in (("image_size", 1), ("image_channels", 1), ("classes", 2), ("threads", 1), ("batch", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name}: found {getattr(options, name)}; expected {least} or more")
    folder = os.path.dirname(options.out) or "."
    if not os.path.isdir(folder):
        raise ValueError(f"--out: found {options.out!r}; there is no folder {folder!r}")
    settings = _settings(options)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its greetings are not what was asked for
    from models.costs import runtimes, table_measurement
    from models.costs.latency_table import LEAST_NETWORKS
    from models.search_spaces.registry import create_space

    if options.networks < LEAST_NETWORKS:
        raise ValueError(f"--networks: found {options.networks}; expected {LEAST_NETWORKS} or more")
    runtimes.set_threads(options.threads)
    space = create_space(settings.space)
    table = table_measurement.measure(
        options.out,
        space,
        settings.train,
        (options.image_size, options.image_size, options.image_channels),
        options.classes,
        **{name: getattr(options, name) for name in ("backend", "threads", "batch", "networks", "seed")},
        say=lambda line: print(line, flush=True),
    )
    errors = sorted(map(abs, table.errors()))
    print(
        f"{options.out}: {len(table.operations)} operations and {table.wanted} networks. Each network predicted "
        f"from the others: median error {errors[len(errors) // 2]:.1%}, largest {errors[-1]:.1%}."
    )


def _settings(options) -> Settings:
    space = {"name": options.space}
    if options.operations:
        space["operations"] = options.operations.split(",")
    if options.backbone:
        if options.space != "mobile":
            raise ValueError(f"--backbone: found {options.backbone!r}; the {options.space} space has none")
        space["backbone"] = options.backbone
    train = {"network": options.network or ("cifar" if options.space == "cell" else options.space)}
    for name in ("cells", "channels"):
        value = getattr(options, name)
        if value is not None:
            if options.space == "mobile":
                raise ValueError(f"--{name}: found {value}; the mobile space has none, its backbone fixes it")
            train[name] = value
    try:
        # The auxiliary head is for the training alone, and small images have none.
        return Settings.parse({"space": space, "train": {**train, "auxiliary_weight": 0.0}})
    except ConfigError as error:
        raise ValueError(str(error).replace("\n", "; ")) from None


if __name__ == "__main__":
    main()
