"""models/memory.py: what a step needs of memory, and what there is."""

import resource

import pytest
import tensorflow as tf

from models import memory, memory_probe
from models.memory import Limit, Need
from models.networks import layers, operations
from models.search_spaces import cell
from models.search_spaces.registry import create_space
from models.settings import Search, Settings, Space, Train
from pipeline.configs import digits, digits_mobile, image_folder
from tests.support.configs import DIGITS, trained
from tests.support.spaces import make_space

GB = 10**9


def test_a_line_goes_through_its_points_and_is_never_falling():
    need = memory.line((10, 2 * GB), (30, 4 * GB))
    assert need == Need(1 * GB, 0.1 * GB)
    assert need.at(10) == 2 * GB and need.at(100) == 11 * GB
    assert memory.line((10, 2 * GB), (30, 1 * GB)) == Need(2 * GB, 0.0)


@pytest.mark.parametrize("there,largest", [(4.5, 32), (2.05, 8), (1.75, 7), (1.2, 2), (1.1, 1), (0.5, -5)])
def test_the_largest_batch_fits_and_is_a_multiple_of_eight(there, largest):
    assert Need(1 * GB, 0.1 * GB).largest(there * GB) == largest


def test_any_batch_fits_where_none_costs_anything():
    assert Need(1 * GB, 0.0).largest(2 * GB) >= 10**6


def _tree(path, files):
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


_STATUS = "Name:\tpython\nVmRSS:\t  1000000 kB\n"
_MEMINFO = "MemTotal:       16000000 kB\nMemAvailable:    9000000 kB\nHugePages_Total:       0\n"
_V1, _V2 = "4:cpu:/x\n3:memory:/a/b\n0::/\n", "0::/a/b\n"


@pytest.mark.parametrize(
    "cgroup,files,bytes_,what",
    [
        (_V2, {}, 10_000_000 * 1024, "free on this machine"),
        (
            _V2,
            {"a/memory.max": "max\n", "a/memory.current": "5\n", "a/memory.stat": "anon 5\n"},
            10_000_000 * 1024,
            "free on this machine",
        ),
        (
            _V2,
            {
                "a/b/memory.max": "8000000000\n",
                "a/b/memory.current": "3000000000\n",
                "a/b/memory.stat": "anon 1\nactive_file 300000000\ninactive_file 700000000\n",
            },
            6 * GB + 1_000_000 * 1024,
            "free in this container (cgroup)",
        ),
        (  # the limit of a group further up holds too
            _V2,
            {"a/memory.max": "4000000000\n", "a/memory.current": "2000000000\n", "a/memory.stat": "anon 1\n"},
            2 * GB + 1_000_000 * 1024,
            "free in this container (cgroup)",
        ),
        (  # in a container the mount is the group itself
            _V2,
            {"memory.max": "4000000000\n", "memory.current": "2000000000\n", "memory.stat": "anon 1\n"},
            2 * GB + 1_000_000 * 1024,
            "free in this container (cgroup)",
        ),
        (  # what is held may be charged elsewhere
            _V2,
            {"memory.max": "4000000000\n", "memory.current": "100000000\n", "memory.stat": "anon 1\n"},
            4 * GB,
            "free in this container (cgroup)",
        ),
        (
            _V1,
            {
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.usage_in_bytes": "7\n",
                "memory/memory.stat": "cache 7\n",
                "memory/a/b/memory.limit_in_bytes": "2000000000\n",
                "memory/a/b/memory.usage_in_bytes": "1800000000\n",
                "memory/a/b/memory.stat": "cache 9\ntotal_active_file 0\ntotal_inactive_file 500000000\n",
            },
            700_000_000 + 1_000_000 * 1024,
            "free in this container (cgroup)",
        ),
    ],
    ids=["none", "without a limit", "version 2", "further up", "mount of a container", "held elsewhere", "version 1"],
)
def test_the_tightest_limit_is_found(tmp_path, cgroup, files, bytes_, what):
    _tree(tmp_path / "proc", {"self/status": _STATUS, "meminfo": _MEMINFO, "self/cgroup": cgroup})
    _tree(tmp_path / "cgroup", files)
    assert memory.limit(str(tmp_path / "proc"), str(tmp_path / "cgroup")) == Limit(bytes_, what)


def test_a_limit_of_the_shell_counts(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (123, 456) if which == resource.RLIMIT_DATA else (-1, -1))
    assert memory.limit() == Limit(123.0, "allowed by ulimit")


def test_where_the_kernel_does_not_tell_nothing_is_known(tmp_path):
    assert memory.limit(str(tmp_path)) is None


@pytest.mark.parametrize("config", [digits, digits_mobile], ids=["cell", "mobile"])
@pytest.mark.parametrize("stage", ["search", "train"])
def test_the_demos_are_seen_to_fit_without_a_measurement(config, stage):
    config = trained(config, **DIGITS)
    space = make_space(config.space.to_dict())
    need = memory.most(space, getattr(Settings.parse(config), stage), (8, 8, 1))
    assert need.at(config[stage].batch_size) < 2.5 * GB


def test_nas_bench_201_is_bounded_by_its_three_stages():
    space = make_space({"name": "nasbench201"})
    one, five = (memory.most(space, Search(cells=cells, channels=16), (32, 32, 3)) for cells in (1, 5))
    assert five.per_image == 5 * one.per_image
    # All tensors of a forward program alone, with a convolution on every edge.
    supernet = space.supernet((32, 32, 3), 10, channels=16, cells=1)
    path = {choice.name: "nor_conv_3x3" for choice in space.choices}
    forward = memory_probe.forward_bytes(lambda images: supernet(images, path=path, training=True), (32, 32, 3))
    assert one.per_image > 1.5 * forward


def test_the_bound_is_far_above_what_was_measured():
    settings = Settings.parse(image_folder.get_config())
    space = create_space(settings.space)
    # docs/performance.md, 32 pixels: bytes an image.
    assert memory.most(space, settings.search, (32, 32, 3)).per_image > 3 * 34e6
    assert memory.most(space, settings.train, (32, 32, 3)).per_image > 3 * 66e6


def test_the_cells_of_imagenets_network_see_an_eighth_of_the_side():
    space = create_space(Space())
    large, small = (
        memory.most(space, Train(network=network), (side, side, 3))
        for network, side in (("imagenet", 224), ("cifar", 28))
    )
    assert large == small


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_no_operation_is_wider_inside_than_the_bound_counts_on(name, strides):
    channels, side = 8, 16
    operation = operations.resolve(name)(channels, strides, layers.BatchNorm)
    images = tf.TensorSpec((4, side, side, channels))
    program = tf.function(lambda inputs: operation(inputs, training=True), autograph=False)
    steps = program.get_concrete_function(images).graph.get_operations()
    outputs = [output for step in steps for output in step.outputs if output.dtype == tf.float32]
    widest = max(output.shape.num_elements() or 0 for output in outputs)
    assert widest <= 2 * images.shape.num_elements()  # padding included


@pytest.mark.parametrize(
    "space",
    [
        {"name": "tests.support.tiny_space"},
        {"name": "cell", "operations": ["skip_connect", "models.networks.operations.SepConv"]},
    ],
)
def test_nothing_is_bounded_with_operations_of_ones_own(space, monkeypatch):
    monkeypatch.setattr(cell, "require_operation", lambda name: None)
    assert memory.most(make_space(space), Search(), (8, 8, 3)) is None


def test_decoded_images_count_twice_where_they_are_kept():
    assert memory.decoded_bytes(1000, (32, 32, 3), cache_mb=4) == 2 * 1000 * 32 * 32 * 3
    assert memory.decoded_bytes(2000, (32, 32, 3), cache_mb=4) == 0
