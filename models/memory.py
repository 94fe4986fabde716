"""What a step needs of memory beside what there is: limits, lines and the batch that fits. Without TensorFlow.

`models/memory_probe.py` measures the points that a line goes through, `pipeline/memory_plan.py` decides by it.
"""

import dataclasses
import math
import os
import resource

from models.search_spaces.base import SearchSpace
from models.settings import Search, Train

RESERVE = 0.1  # of what there is, left for what no estimate sees
IMAGENET_STEM = 8  # an image's side, in sides of what the first cell gets (models/networks/cell_network.py)
_UNLIMITED = 2**60  # a limit beyond it is none; cgroup v1 writes one near 2**63
_ROUND = 8  # a batch that is lowered is a multiple of it, where it is larger


@dataclasses.dataclass(frozen=True)
class Need:
    """Peak memory of a process by its batch: a line.

    Attributes:
        fixed: Bytes whatever the batch: libraries, weights, programs, data.
        per_image: Bytes for each image of a batch.
    """

    fixed: float
    per_image: float

    def at(self, batch: int) -> float:
        """Returns the bytes that a batch of so many images needs."""
        return self.fixed + self.per_image * batch

    def largest(self, there: float) -> int:
        """Returns the most images whose batch needs no more than `there` bytes, a multiple of 8 from there on.

        Less than 2 means that none fits: batch norm needs a batch.
        """
        most = math.floor((there - self.fixed) / self.per_image) if self.per_image > 0 else 2**31
        return most - most % _ROUND if most >= _ROUND else most


def line(small: tuple[int, float], large: tuple[int, float]) -> Need:
    """Returns the need that goes through two points (batch, peak in bytes) of different batches.

    A larger batch that needed no more gives a flat line.
    """
    (batch, peak), (larger, higher) = small, large
    per_image = max(higher - peak, 0.0) / (larger - batch)
    return Need(peak - per_image * batch, per_image)


def most(space: SearchSpace, settings: Search | Train, image_shape: tuple[int, int, int]) -> Need | None:
    """Returns what a network of a space certainly does not exceed, by its widest layers; nothing is measured.

    Measured needs were below a third of it, so that it only serves to see that memory is ample.

    Args:
        space: Where to search.
        settings: `config.search` or `config.train`.
        image_shape: Height, width, channels.

    Returns:
        The bound; None for spaces and operations that are not this package's.
    """
    if space.name == "cell" and not any("." in name for name in space.operations):
        # Each reduction halves what a node holds, so no cell holds more than the first. ImageNet's stem reduces before
        # the first cell; the stem's few layers hold less than the many of the cells.
        layers = settings.cells * len(space.choices) // 2
        width = settings.channels
        side_factor = IMAGENET_STEM if isinstance(settings, Train) and settings.network == "imagenet" else 1
    elif space.name == "nasbench201":
        # From stage to stage the sides halve and the channels double, so no cell holds more than the first.
        layers = 3 * settings.cells * len(space.choices)
        width = settings.channels
        side_factor = 1
    elif space.name == "mobile":
        from models.architectures.mobile import parse

        expansions = [parsed[1] for choice in space.choices for parsed in map(parse, choice.operations) if parsed]
        layers = len(space.choices)
        width = max(expansions) * max(channels for channels, _ in space.backbone.blocks)
        side_factor = space.backbone.stem_stride
    else:
        return None
    height, width_of_image = (math.ceil(side / side_factor) for side in image_shape[:2])
    floats = 24 * layers * width * height * width_of_image  # 24 tensors a layer, forward and backward
    return Need(fixed=1.2 * 2**30 + layers * 16 * 2**20, per_image=4.0 * floats)


def decoded_bytes(count: int, image_shape: tuple[int, int, int], cache_mb: int) -> int:
    """Returns what a split's images take in memory: the data set keeps them, and TensorFlow a copy, if they fit.

    Args:
        count: Images of the split.
        image_shape: Height, width, channels to which they are brought.
        cache_mb: `config.data.cache_mb`.
    """
    size = count * math.prod(image_shape)
    return 2 * size if size <= cache_mb * 2**20 else 0


@dataclasses.dataclass(frozen=True)
class Limit:
    """What this process may come to.

    Attributes:
        bytes: The most that it can hold, what it holds already included.
        what: Who says so.
    """

    bytes: float
    what: str


def limit(proc: str = "/proc", cgroups: str = "/sys/fs/cgroup") -> Limit | None:
    """Returns the tightest of the machine's free memory, the container's limit and the shell's; None if none is known.

    Args:
        proc: Where the kernel tells of memory and processes.
        cgroups: Where control groups are mounted, of version 2 or 1.
    """
    try:
        held = _fields(os.path.join(proc, "self/status"))["VmRSS"]
        machine = _fields(os.path.join(proc, "meminfo"))["MemAvailable"]
    except (OSError, KeyError):
        return None
    found = [Limit(machine + held, "free on this machine")]
    # Of what this process holds, libraries may count for another group: never more than the limit.
    found += [Limit(min(free + held, most), "free in this container (cgroup)") for free, most in _groups(proc, cgroups)]
    for name in ("RLIMIT_AS", "RLIMIT_DATA"):
        allowed, _ = resource.getrlimit(getattr(resource, name))
        if allowed != resource.RLIM_INFINITY:
            found.append(Limit(float(allowed), "allowed by ulimit"))
    return min(found, key=lambda one: one.bytes)


def _fields(path):
    """Returns the figures of a file of lines `name: 1 kB`, in bytes."""
    with open(path) as file:
        parts = [line.split() for line in file if line.rstrip().endswith("kB")]
    return {name.rstrip(":"): float(number) * 1024 for name, number, _ in parts}


def _groups(proc, cgroups):
    """Yields what is left, and the limit, of each limited control group of this process; the file cache gives way."""
    with open(os.path.join(proc, "self/cgroup")) as file:
        groups = [line.rstrip("\n").split(":", 2)[1:] for line in file]
    for controllers, path in groups:
        if controllers == "":
            mount, names, cache = cgroups, ("memory.max", "memory.current"), ""
        elif "memory" in controllers.split(","):
            mount, names = os.path.join(cgroups, "memory"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
            cache = "total_"
        else:
            continue
        # In a container the mount may show its own group alone, whatever the path says: so up to the mount itself.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):
            folder = os.path.join(mount, *parts[:depth])
            try:
                most, used = (_number(os.path.join(folder, name)) for name in names)
                with open(os.path.join(folder, "memory.stat")) as file:
                    stat = dict(line.split() for line in file)
            except OSError:
                continue
            if most < _UNLIMITED:
                cached = sum(float(stat.get(f"{cache}{kind}_file", 0)) for kind in ("active", "inactive"))
                yield most - used + cached, most


def _number(path):
    with open(path) as file:
        text = file.read().strip()
    return math.inf if text == "max" else float(text)
