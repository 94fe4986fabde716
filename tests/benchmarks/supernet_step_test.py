import numpy as np
import pytest

from benchmarks.speed import architectures, step_worker, supernet_rows

OPTIONS = {"image_shape": [8, 8, 3], "channels": 4, "cells": 3}


def _parameters(variables):
    return sum(int(np.prod(variable.shape)) for variable in variables)


@pytest.fixture(scope="module")
def path():
    (path,) = architectures.sample_paths(1, seed=1)
    # Edges of which one operation of each kind is left; the rest is empty, as building layers takes time.
    keep = {"normal_2_0": "sep_conv_5x5", "normal_3_1": "skip_connect", "normal_4_0": "dil_conv_3x3"}
    keep |= {"normal_5_1": "avg_pool_3x3", "reduce_2_0": "skip_connect", "reduce_3_1": "sep_conv_3x3"}
    keep |= {"reduce_4_0": "max_pool_3x3", "reduce_5_1": "dil_conv_5x5"}
    return {choice: keep.get(choice, "none") for choice in path}


def test_the_architecture_alone_and_of_keras_layers_have_the_weights_of_the_path(path):
    static = supernet_rows.SingleArchitecture(OPTIONS, path)
    expected = _parameters(static.path_variables(path))
    assert expected == _parameters(static.trainable_variables)
    assert expected == _parameters(supernet_rows.keras_network(OPTIONS, path).trainable_variables)
    images = np.ones((2, 8, 8, 3), "float32")
    assert static(images, path).shape == (2, supernet_rows.CLASSES)


def test_a_worker_leaves_the_first_step_out_and_tells_what_it_cost(monkeypatch, capsys):
    class Row:
        def __init__(self):
            self.seen = set()

        def train(self, architecture, steps):
            first = 0.5 if architecture in self.seen else 4.0
            self.seen.add(architecture)
            return [first, *[0.25] * (steps - 1)]

    monkeypatch.setattr(step_worker.sys, "stdin", iter(["round\n", "end\n"]))
    step_worker.serve(Row(), architectures=2, steps=3)
    prepared, measured, ended = capsys.readouterr().out.splitlines()
    assert prepared == 'row: {"new_architecture_s": [3.75, 3.75]}'
    assert measured == 'row: {"ms": [250.0, 250.0], "repeat_s": [0.25, 0.25]}'
    assert ended.startswith('row: {"rss_mb": ')


def test_sampled_architectures_depend_on_the_seed_alone():
    assert architectures.sample_paths(2, seed=3) == architectures.sample_paths(2, seed=3)
    assert architectures.sample_paths(2, seed=3) != architectures.sample_paths(2, seed=4)
