"""Tests of models/architectures/presets.py. What the presets count is tested in profiling_test.py."""

import json

import pytest

from models.architectures import presets
from models.architectures.checks import GenotypeError
from models.architectures.mobile import BACKBONES


def test_a_name_resolves_to_the_published_architecture_and_its_source():
    genotype, source = presets.resolve_architecture("mdenas_imagenet")
    assert genotype == presets.PRESETS["mdenas_cifar10"].genotype
    assert source.startswith("preset mdenas_imagenet: ") and "1905.07529" in source


def test_a_file_resolves_to_its_genotype(tmp_path):
    path = tmp_path / "found.json"
    path.write_text(json.dumps(presets.PRESETS["mdenas_cpu"].genotype.to_dict()))
    assert presets.resolve_architecture(str(path)) == (presets.PRESETS["mdenas_cpu"].genotype, f"file {path}")


def test_neither_name_nor_file_is_refused_with_all_names():
    with pytest.raises(GenotypeError, match=r"'mdenas' is neither a file nor a preset; .*mdenas_cifar10, .*darts_v2"):
        presets.resolve_architecture("mdenas")


def test_released_mobile_networks_are_those_of_the_table():
    """(in, out, kernel, stride, expansion) of the blocks, as published."""

    def rows(name):
        genotype = presets.PRESETS[name].genotype
        channels = genotype.backbone.stem
        for (filters, stride), (kernel, expansion) in zip(genotype.backbone.blocks, genotype.blocks, strict=True):
            yield channels, filters, kernel, stride, expansion
            channels = filters

    gpu, cpu = list(rows("mdenas_gpu")), list(rows("mdenas_cpu"))
    assert gpu[:3] == [(40, 24, 7, 1, 6), (24, 32, 5, 2, 6), (32, 56, 7, 2, 3)]
    assert gpu[-2:] == [(256, 256, 3, 1, 3), (256, 432, 5, 1, 6)]
    assert cpu[:3] == [(40, 24, 5, 1, 3), (24, 32, 7, 2, 1), (32, 32, 3, 1, 6)]
    assert cpu[-2:] == [(216, 216, 3, 1, 3), (216, 360, 3, 1, 3)]
    assert (len(gpu), len(cpu)) == (14, 20)
    assert (BACKBONES["mdenas_gpu"].head, BACKBONES["mdenas_cpu"].head) == (1728, 1432)
    for name in ("gpu", "cpu"):  # how latency entered the search is in no released source
        assert f"reported for {name.upper()} latency" in presets.PRESETS[f"mdenas_{name}"].source
