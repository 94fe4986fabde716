"""Tests of python -m models.describe."""

import json
import subprocess
import sys

import pytest

from models import describe, presets
from models import genotype as genotypes


def described(capsys, *arguments):
    describe.main(list(arguments))
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["mdenas_cifar10", "mdenas_cpu"])
def test_a_preset_is_described_as_it_was_published(name, capsys):
    preset = presets.PRESETS[name]
    found = json.loads(described(capsys, name, "--json"))
    assert (found["params"], found["macs"]) == (preset.params, preset.macs)
    if preset.params_with_auxiliary:
        assert found["params_with_auxiliary"] == preset.params_with_auxiliary
    assert genotypes.from_dict(found["genotype"]) == preset.genotype
    assert found["network"] == preset.network


def test_flags_change_the_network(capsys, tmp_path):
    path = tmp_path / "genotype.json"
    genotypes.save(presets.PRESETS["darts_v2"].genotype, path)
    found = json.loads(
        described(capsys, str(path), "--channels=4", "--cells=3", "--classes=7", "--image_size=16", "--json")
    )
    assert [found[key] for key in ("network", "channels", "cells", "classes", "image_size")] == ["cifar", 4, 3, 7, 16]
    assert found["params"] == found["params_with_auxiliary"]  # the images are too small for an auxiliary head
    wider = json.loads(described(capsys, str(path), "--channels=8", "--cells=3", "--json"))
    assert wider["params"] > found["params"] and wider["params_with_auxiliary"] > wider["params"]


def test_text_shows_the_cells_and_every_layer(capsys):
    lines = described(capsys, "mdenas_cifar10", "--cells=3", "--channels=4").splitlines()
    assert lines[1].startswith("normal: sep_conv_5x5(1) sep_conv_3x3(0) |")
    assert lines[2].startswith("reduce: max_pool_3x3(0)")
    cells = [line.split()[:3] for line in lines if line.startswith("cell_")]
    assert cells == [
        ["cell_0", "(normal)", "32x32x16"],
        ["cell_1", "(reduction)", "16x16x32"],
        ["cell_2", "(reduction)", "8x8x64"],
    ]
    layer_rows = [line.split() for line in lines if line.startswith(("stem", "cell_", "head"))]
    total = next(line for line in lines if line.startswith("multiply-adds"))
    assert sum(int(row[-1].replace(",", "")) for row in layer_rows) == int(total.split()[-1].replace(",", ""))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "'nothing' is neither a file nor a preset"),
        ([], "arguments are required: ARCH"),
        (["mdenas_cifar10", "--network=resnet"], "invalid choice: 'resnet'"),
        (["mdenas_cifar10", "--cells=many"], "invalid int value: 'many'"),
        (["mdenas_cifar10", "--cells=2"], "cells: found 2; expected 3 or more"),
        (["mdenas_cifar10", "--classes=1"], "classes: found 1; expected 2 or more"),
        (["mdenas_cifar10", "--image_size=3"], "needs at least 4x4"),
        (["mdenas_cifar10", "--network=mobile"], "found a CellGenotype; expected a MobileGenotype"),
        (["mdenas_gpu", "--network=cifar"], "found a MobileGenotype; expected a CellGenotype"),
        (["mdenas_gpu", "--channels=8"], "--channels: the mobile network has none"),
    ],
)
def test_nonsense_ends_in_one_line_and_a_status(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        describe.main(arguments)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert message in printed.err and printed.err.count("\n") == 1 and not printed.out


def test_a_malformed_file_is_named(tmp_path, capsys):
    path = tmp_path / "mine.json"
    path.write_text('{"space": "cell"}')
    with pytest.raises(SystemExit):
        describe.main([str(path)])
    assert "mine.json: genotype: missing 'normal'" in capsys.readouterr().err


def test_help_does_without_keras():
    code = (
        "import sys; from models import describe\n"
        "try: describe.main(['--help'])\n"
        "except SystemExit: assert 'keras' not in sys.modules"
    )
    helped = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "ARCH" in helped.stdout and "mdenas_cifar10" in helped.stdout
