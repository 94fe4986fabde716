"""Tests of models/architectures/genotype.py."""

import json
import subprocess
import sys

import pytest

from models.architectures import cell
from models.architectures.cell import CellGenotype
from models.architectures.checks import GenotypeError
from models.architectures.genotype import genotype_from_dict, load_genotype
from models.architectures.mobile import Backbone, MobileGenotype
from models.architectures.presets import PRESETS

CELL = PRESETS["mdenas_cifar10"].genotype.to_dict()
MOBILE = PRESETS["mdenas_gpu"].genotype.to_dict()
CHAIN = {"stem": 8, "stem_stride": 1, "blocks": [[8, 1], [16, 2]], "head": 32}


def changed(data, *keys, value):
    """A deep copy of JSON data with the entry at `keys` replaced."""
    data = json.loads(json.dumps(data))
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return data


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name, tmp_path):
    genotype = PRESETS[name].genotype
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps(genotype.to_dict()))
    assert load_genotype(path) == genotype
    assert json.loads(path.read_text()) == genotype.to_dict()
    assert [file.name for file in tmp_path.iterdir()] == ["genotype.json"]


def test_own_backbone_round_trips_and_a_published_one_is_named():
    genotype = MobileGenotype(CHAIN, [None, (5, 3)])
    assert genotype.to_dict() == {"space": "mobile", "backbone": CHAIN, "blocks": [None, [5, 3]]}
    assert genotype_from_dict(json.loads(json.dumps(genotype.to_dict()))) == genotype
    assert MOBILE["backbone"] == "mdenas_gpu"


def test_lists_and_tuples_make_equal_hashable_genotypes():
    read = genotype_from_dict(json.loads(json.dumps(CELL)))
    assert read == PRESETS["mdenas_cifar10"].genotype
    assert len({read, PRESETS["mdenas_cifar10"].genotype}) == 1


def test_text_is_one_line_that_names_every_edge():
    text = PRESETS["mdenas_cifar10"].genotype.text()
    assert "\n" not in text
    assert text.startswith("normal: sep_conv_5x5(1) sep_conv_3x3(0) | skip_connect(0) sep_conv_5x5(1) | ")
    assert text.endswith("| dil_conv_3x3(3) sep_conv_5x5(0) -> 2,3,4,5")
    assert MobileGenotype(CHAIN, [None, (5, 3)]).text() == "custom: skip k5_e3"


def test_a_sampled_path_with_none_on_every_edge_of_a_node_is_valid():
    node = [["none", source] for source in range(3)]
    assert genotype_from_dict(changed(CELL, "normal", 1, value=node)).normal[1] == tuple(map(tuple, node))


def test_operations_of_ones_own_are_named_by_dotted_path():
    genotype = genotype_from_dict(changed(CELL, "normal", 0, 0, 0, value="my_package.ops.conv_1x1"))
    assert genotype.normal[0][0] == ("my_package.ops.conv_1x1", 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            changed(CELL, "normal", 2, 1, 0, value="sep_conv_9x9"),
            r"normal, node 4, edge 1: unknown operation 'sep_conv_9x9'; expected one of max_pool_3x3, .*none",
        ),
        (changed(CELL, "reduce", 0, 0, 0, value="a..b"), r"reduce, node 2, edge 0: unknown operation 'a\.\.b'"),
        (changed(CELL, "reduce", 1, value=[]), r"reduce, node 3: found \[\]; expected at least one edge"),
        (
            changed(CELL, "normal", 0, 0, 1, value=2),
            r"normal, node 2, edge 0: source 2 is not an earlier node; .*0 to 1",
        ),
        (changed(CELL, "normal", 0, 0, 1, value=-1), r"source -1 is not an earlier node"),
        (changed(CELL, "normal", 0, 0, 1, value=True), r"source True is not an earlier node"),
        (changed(CELL, "normal", 3, 0, 1, value=4), r"normal, node 5: sources \[4, 4\] repeat"),
        (changed(CELL, "normal", value=CELL["normal"][:3]), r"normal: found 3 nodes; expected 4"),
        (changed(CELL, "reduce", value=CELL["reduce"] * 2), r"reduce: found 8 nodes; expected 4"),
        (changed(CELL, "reduce", value=7), r"reduce: found 7; expected 4"),
        (changed(CELL, "normal", 0, 0, value="skip_connect"), r"node 2, edge 0: found 'skip_connect'; expected \["),
        (changed(CELL, "normal_concat", value=[2, 6]), r"normal_concat: found \[2, 6\]; .* 2 to 5"),
        (changed(CELL, "reduce_concat", value=[]), r"reduce_concat: found \[\]"),
        (changed(CELL, "reduce_concat", value=[3, 3]), r"reduce_concat: found \[3, 3\]"),
        (changed(CELL, "steps", value=4), r"genotype: unknown 'steps'; expected the fields normal,"),
        ({"space": "cell", "normal": []}, r"missing 'normal_concat', 'reduce', 'reduce_concat'"),
        (changed(CELL, "space", value="darts"), r"space: found 'darts'; expected one of 'cell', 'mobile',"),
        ([1], r"space: found \[1\]"),
        (changed(MOBILE, "blocks", value=MOBILE["blocks"][:-1]), r"blocks: found 13; expected the backbone's 14"),
        (changed(MOBILE, "blocks", 0, value=None), r"blocks\[0\]: found null; only a block with a shortcut"),
        (changed(MOBILE, "blocks", 1, value=[4, 3]), r"blocks\[1\], kernel: found 4; expected an odd number"),
        (changed(MOBILE, "blocks", 1, value=[3, 0]), r"blocks\[1\], expansion: found 0; expected"),
        (changed(MOBILE, "blocks", 1, value=[3]), r"blocks\[1\]: found \[3\]; expected \[kernel, expansion\]"),
        (changed(MOBILE, "backbone", value="resnet"), r"backbone: found 'resnet'; expected one of \['mdenas_cpu'"),
        (changed(MOBILE, "backbone", value={"stem": 8}), r"backbone: missing 'blocks', 'head'"),
        (
            {"space": "mobile", "backbone": {**CHAIN, "blocks": [[8, 3]]}, "blocks": [[3, 1]]},
            r"backbone\.blocks\[0\], stride: found 3; expected 1 or 2",
        ),
        (
            {"space": "mobile", "backbone": {**CHAIN, "stem": 0}, "blocks": [[3, 1]]},
            r"backbone\.stem: found 0; expected a whole number, 1 or more",
        ),
    ],
)
def test_malformed_data_is_refused_with_the_place_and_what_is_allowed(data, message):
    with pytest.raises(GenotypeError, match=message):
        genotype_from_dict(data)


@pytest.mark.parametrize("content", ["", "{", '{"space": "cell"}', "\x00"])
def test_a_broken_file_is_named_in_the_error(content, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(GenotypeError, match=r"broken\.json: (not a JSON file: |.*missing)"):
        load_genotype(path)


def test_the_constructor_checks_as_reading_does():
    with pytest.raises(GenotypeError, match="node 2"):
        CellGenotype(normal=((),) * 4, normal_concat=(2,), reduce=((),) * 4, reduce_concat=(2,))


def test_only_stride_1_and_equal_channels_make_a_shortcut():
    backbone = Backbone(stem=8, blocks=((8, 1), (8, 2), (16, 1), (16, 1)), head=32)
    assert [backbone.shortcut(i) for i in range(4)] == [True, False, False, True]


def test_reached_ignores_none_and_what_nothing_uses():
    nodes = (
        (("skip_connect", 0),),
        (("none", 1), ("skip_connect", 2)),
        (("none", 0),),
        (("skip_connect", 1),),
    )
    assert cell.reached(nodes, (3, 4)) == {0, 2, 3, 4}
    assert cell.reached(nodes, (2, 3, 4, 5)) == {0, 1, 2, 3, 4, 5}
    assert cell.reached(nodes, (4,)) == {4}


def test_genotypes_and_presets_need_the_standard_library_alone():
    code = (
        "import sys; from models.architectures import genotype, limits, presets;"
        "assert not {'keras', 'tensorflow', 'numpy', 'pydantic'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_spaces_do_without_keras():
    code = (
        "import sys; from models.architectures import genotype, presets;"
        "from models.search_spaces.registry import create_space; from models import settings;"
        "create_space(settings.Settings().space); create_space(settings.MobileSpace(name='mobile'));"
        "create_space(settings.Space(name='nasbench201'));"
        "assert not {'keras', 'tensorflow'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
