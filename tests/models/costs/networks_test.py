"""models/costs/networks.py: sums of costs against whole networks."""

import os

import numpy as np
import pytest

from models import export
from models.costs.networks import network_costs
from models.data.image_format import ImageFormat
from models.networks import profiling
from models.search.shape import Shape, genotype_of
from models.search_spaces.registry import network_options
from models.settings import Train
from tests.support.spaces import make_space

BACKBONE = {"stem": 4, "stem_stride": 2, "blocks": [[4, 1], [6, 2], [6, 1], [8, 2], [8, 1]], "head": 8}
PLAIN = {"auxiliary_weight": 0.0}
RUNS = {
    "cifar": ({"name": "cell"}, {"network": "cifar", "cells": 4, "channels": 4, **PLAIN}, (9, 14, 3), 3),
    "cifar, first cell before a reduction": (
        {"name": "cell"},
        {"network": "cifar", "cells": 3, "channels": 2, **PLAIN},
        (8, 8, 1),
        2,
    ),
    "with an auxiliary head": (
        {"name": "cell"},
        {"network": "cifar", "cells": 3, "channels": 2, "auxiliary_weight": 0.4},
        (32, 32, 3),
        2,
    ),
    "imagenet": ({"name": "cell"}, {"network": "imagenet", "cells": 4, "channels": 4, **PLAIN}, (33, 40, 3), 3),
    "operations without none": (
        {"name": "cell", "operations": ["sep_conv_3x3", "skip_connect", "group_conv_3x3"]},
        {"network": "cifar", "cells": 5, "channels": 4, **PLAIN},
        (8, 8, 3),
        3,
    ),
    "mobile": ({"name": "mobile", "backbone": BACKBONE}, {"network": "mobile"}, (17, 12, 1), 3),
    "nasbench201": (
        {"name": "nasbench201"},
        {"network": "nasbench201", "cells": 2, "channels": 4},
        (11, 16, 3),
        3,
    ),
}


@pytest.mark.parametrize("run", RUNS)
def test_the_sums_are_the_parameters_and_multiply_adds_of_networks(run):
    name, train, image_shape, classes = RUNS[run]
    space, train = make_space(name), Train.parse(train)
    params, macs, file_mb = network_costs(space, train, image_shape, classes)
    assert (params.name, macs.name, file_mb.name) == ("params", "macs", "file_mb")
    shape = Shape.of(space)
    for row in shape.random(2, np.random.default_rng(1)):
        path = shape.path(row)
        network = space.network(genotype_of(space, path), image_shape, classes, **network_options(space, train))
        profile = profiling.profile(network)
        assert (params.of(path), macs.of(path)) == (profile.params, profile.macs)


def test_every_operation_of_every_choice_has_a_cost():
    space = make_space({"name": "cell"})
    costs = network_costs(space, Train.parse({"cells": 3, "channels": 2, **PLAIN}), (8, 8, 3), 2)
    for cost in costs:
        assert {choice.name: set(choice.operations) - {"none"} for choice in space.choices} == {
            name: set(parts) for name, parts in cost.parts.items()
        }
    # A skip connection costs only where it halves the sides.
    parts = costs[0].parts
    assert parts["normal_2_0"]["skip_connect"] == parts["reduce_3_2"]["skip_connect"] == 0
    assert parts["reduce_3_1"]["skip_connect"] > 0


def test_the_file_size_is_near_that_of_an_exported_model(tmp_path):
    name, train, image_shape, classes = RUNS["nasbench201"]
    space, train = make_space(name), Train.parse({**train, "channels": 8})
    *_, file_mb = network_costs(space, train, image_shape, classes)
    path = {choice.name: "nor_conv_3x3" for choice in space.choices} | {"edge_3_0": "nor_conv_1x1"}
    export.export_model(
        space.network(genotype_of(space, path), image_shape, classes, **network_options(space, train)),
        str(tmp_path),
        image_format=ImageFormat(image_shape),
        class_names=["a", "b", "c"],
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    size = sum(os.path.getsize(os.path.join(base, name)) for base, _, names in os.walk(tmp_path) for name in names)
    assert file_mb.of(path) == pytest.approx(size / 1e6, rel=0.1)


def test_a_space_whose_costs_are_not_known_is_refused():
    with pytest.raises(ValueError, match=r"costs of the tests\.support\.tiny_space space are not known"):
        network_costs(make_space({"name": "tests.support.tiny_space"}), Train(), (8, 8, 1), 2)
