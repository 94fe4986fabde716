"""Tests of python -m models.describe."""

import json
import subprocess
import sys
import tempfile

import pytest

from models import describe
from models.architectures import presets
from models.architectures.genotype import genotype_from_dict
from models.costs import latency, runtimes


def described(capsys, *arguments):
    describe.main(list(arguments))
    return capsys.readouterr().out


# Parameters without and with the auxiliary head and multiply-adds, as measured on the released networks.
PUBLISHED = {
    "mdenas_cifar10": (3_786_742, 4_263_168, 599_110_272),
    "mdenas_imagenet": (5_329_024, None, 595_513_536),
    "mdenas_gpu": (5_745_984, None, 765_096_256),
    "mdenas_cpu": (4_069_992, None, 515_539_216),
    "darts_v2": (3_351_502, None, 528_359_040),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_counts_to_the_last_digit_what_was_published(name, capsys):
    found = json.loads(described(capsys, name, "--json"))
    params, params_with_auxiliary, macs = PUBLISHED[name]
    assert (found["params"], found["macs"]) == (params, macs)
    assert params_with_auxiliary in (None, found["params_with_auxiliary"])
    preset = presets.PRESETS[name]
    assert (preset.params, preset.params_with_auxiliary, preset.macs) == PUBLISHED[name]
    assert genotype_from_dict(found["genotype"]) == preset.genotype
    assert found["network"] == preset.network


def test_a_network_for_grey_images_has_a_smaller_stem(capsys):
    grey, colours = (
        json.loads(described(capsys, "darts_v2", "--channels=16", f"--image_channels={channels}", "--json"))["params"]
        for channels in (1, 3)
    )
    # The stem: 3x3 convolutions to three times the channels.
    assert colours - grey == 2 * 9 * 3 * 16


def test_every_preset_has_published_counts():
    assert presets.PRESETS.keys() == PUBLISHED.keys()


def test_flags_change_the_network(capsys, tmp_path):
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps(presets.PRESETS["darts_v2"].genotype.to_dict()))
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


def test_an_architecture_of_nas_bench_201_is_described_as_in_the_benchmark(capsys, tmp_path):
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps({"space": "nasbench201", "operations": ["nor_conv_3x3"] * 6}))
    found = json.loads(described(capsys, str(path), "--json"))
    assert (found["network"], found["channels"], found["cells"], found["params"]) == ("nasbench201", 16, 5, 1_531_546)
    lines = described(capsys, str(path), "--cells=1", "--channels=4", "--image_size=8").splitlines()
    assert lines[1].startswith("|nor_conv_3x3~0|+|")
    assert [line.split()[:2] for line in lines if line.startswith(("residual", "stage"))] == [
        ["stage_0_cell_0", "8x8x4"],
        ["residual_block_1", "4x4x8"],
        ["stage_1_cell_0", "4x4x8"],
        ["residual_block_2", "2x2x16"],
        ["stage_2_cell_0", "2x2x16"],
    ]


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
        (["mdenas_gpu", "--network=nasbench201"], "found a MobileGenotype; expected a NasBench201Genotype"),
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


def test_latency_is_measured_in_each_runtime(capsys, monkeypatch):
    monkeypatch.setattr(runtimes, "set_threads", lambda threads: None)
    monkeypatch.setattr(latency, "measure", lambda call, seconds: (call(), latency.Latency(2.0, 1.0, 3.0, 20))[1])
    genotype = {"space": "nasbench201", "operations": ["nor_conv_1x1", "none", "none", "skip_connect", "none", "none"]}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(genotype, file)
        file.flush()
        flags = (file.name, "--cells=1", "--channels=2", "--image_size=8", "--classes=3", "--latency", "--threads=2")
        lines = described(capsys, *flags).splitlines()
        rows = json.loads(described(capsys, *flags, "--json"))["latency"]
    assert lines[-1] == "untrained network, this device, 2 threads; of a batch"
    names = ("saved_model", "saved_model", "litert", "litert_int8")
    for line, row, name, batch in zip(lines[-5:-1], rows, names, (1, 8, 1, 1), strict=True):
        assert line.split() == [name, str(batch), "2.000", "1.000", "-", "3.000", line.split()[-1]]
        assert row["name"] == name and row["batch"] == batch and row["bytes"] > 1000
    assert rows[3]["bytes"] < rows[0]["bytes"]


@pytest.mark.parametrize("flags", ["--threads=2", "--latency --threads=0"])
def test_threads_are_refused_if_nothing_uses_them(flags, capsys):
    with pytest.raises(SystemExit):
        described(capsys, "darts_v2", *flags.split())
    assert "--threads: found " in capsys.readouterr().err
