import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.search_quality import multi_objective
from models.architectures.nasbench201 import NasBench201Genotype
from models.networks.nasbench201_network import nasbench201_network
from models.networks.profiling import profile
from tests.support import paths

TABLE = paths.DATA / "tiny_table.csv"
ARGUMENTS = [f"--table={TABLE}", "--choices=layer_*", "--objective=accuracy", "--cost=second", "--seeds=2"]


def tiny():
    # The second column stands for a cost: the front has several architectures.
    return multi_objective.load(str(TABLE), "layer_*", "accuracy", "second")


@pytest.mark.parametrize("method", ["random", "interactions", "interactions:known", "elite"])
def test_search_is_repeatable_and_its_hypervolume_grows_to_that_of_the_front(method):
    table = tiny()
    points, _ = multi_objective.search(table, method, 18, seed=1)
    again, _ = multi_objective.search(table, method, 18, seed=1)
    assert (points == again).all() and len(points) == 18
    shares = [multi_objective.relative(table, points[:number]) for number in range(1, 19)]
    assert (np.diff(shares) >= 0).all() and shares[-1] <= 1 + 1e-12
    # Random search evaluates all 18 architectures.
    assert method != "random" or shares[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("operation", ["none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3"])
def test_multiply_adds_are_those_of_the_network(operation):
    operations = ("nor_conv_1x1", operation, "none", "nor_conv_3x3", operation, "skip_connect")
    expected = multi_objective.NASBENCH201_REST + sum(multi_objective.NASBENCH201[name] for name in operations)
    network = nasbench201_network(NasBench201Genotype(operations), (32, 32, 3), 10)
    assert profile(network).macs == expected


@pytest.mark.skipif(importlib.util.find_spec("optuna") is not None, reason="Optuna is installed")
def test_missing_packages_are_told_in_one_line():
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.search_quality.multi_objective", *ARGUMENTS, "--methods=random,nsga2"],
        cwd=paths.PROJECT,
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0 and "optuna not installed. Run with a Python that has" in run.stderr + run.stdout


def test_whole_program():
    program = [sys.executable, "-m", "benchmarks.search_quality.multi_objective", *ARGUMENTS]
    run = subprocess.run(
        [*program, "--evaluations=5,10", "--methods=random,elite:known", "--processes=1"],
        cwd=paths.PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "10 evaluations" in run.stdout and "elite:known" in run.stdout
