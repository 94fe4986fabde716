"""Tests of models/search_spaces: choices, derivation, paths. What the supernets compute is in supernet_test.py."""

import sys
import textwrap

import numpy as np
import pytest

from models.architectures.cell import CELL_OPERATIONS, CellGenotype
from models.architectures.checks import GenotypeError
from models.architectures.mobile import MobileGenotype
from models.architectures.presets import PRESETS
from models.runtime.section import leaves
from models.search_spaces.registry import network_options, scored_options, supernet_options, unused
from models.settings import Search, Settings, Train
from tests.support.spaces import make_space

BACKBONE = {"stem": 8, "stem_stride": 1, "blocks": [[8, 1], [16, 2], [16, 1]], "head": 32}


def cell_space(**options):
    return make_space({"name": "cell", **options})


def mobile_space(**options):
    return make_space({"name": "mobile", "backbone": BACKBONE, **options})


def uniform(space):
    return {choice.name: [1 / len(choice.operations)] * len(choice.operations) for choice in space.choices}


def test_cell_space_has_the_papers_28_edges_of_8_operations():
    choices = cell_space().choices
    assert [choice.name for choice in choices[:5]] == [f"normal_{edge}" for edge in ("2_0", "2_1", "3_0", "3_1", "3_2")]
    assert choices[14].name == "reduce_2_0" and choices[-1].name == "reduce_5_4"
    assert len(choices) == 28
    assert {choice.operations for choice in choices} == {CELL_OPERATIONS} and len(CELL_OPERATIONS) == 8


def test_mobile_space_offers_skip_only_where_there_is_a_shortcut():
    first, second, third = mobile_space().choices
    assert first.operations == third.operations
    assert first.operations == ("k3_e1", "k3_e3", "k3_e6", "k5_e1", "k5_e3", "k5_e6", "k7_e1", "k7_e3", "k7_e6", "skip")
    assert second.operations == first.operations[:-1]


def test_operations_restrict_every_choice():
    assert cell_space(operations=["skip_connect", "none"]).choices[3].operations == ("skip_connect", "none")
    assert [c.operations for c in mobile_space(operations=["k9_e2", "skip"]).choices] == [
        ("k9_e2", "skip"),
        ("k9_e2",),
        ("k9_e2", "skip"),
    ]


def test_a_set_of_operations_stands_for_its_operations():
    assert cell_space(operations=["paper"]).choices == cell_space().choices
    fast = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "conv_1x1", "conv_3x3", "group_conv_3x3", "none")
    assert cell_space(operations=["fast"]).choices[0].operations == fast
    mixed = cell_space(operations=["sep_conv_5x5", "fast", "conv_3x3"]).choices[27].operations
    assert mixed == ("sep_conv_5x5", *fast)
    assert cell_space(operations=["paper", "fast"]).choices[0].operations == (*CELL_OPERATIONS, *fast[3:6])


def test_empty_options_are_as_if_not_given():
    assert cell_space(operations=()).choices == cell_space().choices


def test_derivation_takes_the_best_operation_and_the_two_best_edges_without_none():
    space = cell_space()
    probabilities = uniform(space)
    column = {name: i for i, name in enumerate(CELL_OPERATIONS)}

    def favour(edge, **weights):
        probabilities[edge] = [0.0] * len(CELL_OPERATIONS)
        for name, weight in weights.items():
            probabilities[edge][column[name]] = weight

    favour("normal_5_0", none=0.9, sep_conv_5x5=0.1)  # none is left out, and 0.1 is less than uniform
    favour("normal_5_2", dil_conv_3x3=0.6, none=0.4)
    favour("normal_5_3", avg_pool_3x3=0.3, skip_connect=0.29, sep_conv_3x3=0.28)
    favour("normal_5_4", max_pool_3x3=0.2)
    genotype = space.derive(probabilities)
    assert genotype.normal[3] == (("dil_conv_3x3", 2), ("avg_pool_3x3", 3))
    # Of equals the first operation and the first sources win.
    assert genotype.reduce[3] == (("max_pool_3x3", 0), ("max_pool_3x3", 1))
    assert genotype.normal_concat == genotype.reduce_concat == (2, 3, 4, 5)


def test_mobile_derivation_takes_the_best_operation_of_each_block():
    space = mobile_space(operations=["k3_e3", "k5_e6", "skip"])
    probabilities = {"block_0": [0.2, 0.3, 0.5], "block_1": [0.4, 0.6], "block_2": [0.4, 0.4, 0.2]}
    assert space.derive(probabilities).blocks == (None, (5, 6), (3, 3))


@pytest.mark.parametrize("space", [cell_space(), mobile_space()], ids=["cell", "mobile"])
def test_path_and_genotype_are_inverses(space):
    generator = np.random.default_rng(0)
    for _ in range(50):
        path = {choice.name: str(generator.choice(choice.operations)) for choice in space.choices}
        assert space.path(space.genotype(path)) == path


def test_the_path_of_a_derived_genotype_has_none_on_the_edges_left_out():
    path = cell_space().path(PRESETS["mdenas_cifar10"].genotype)
    assert sum(name != "none" for name in path.values()) == 16
    assert path["normal_5_3"] == "dil_conv_5x5" and path["normal_5_0"] == "none"


def test_none_need_not_be_offered_for_a_genotype_to_have_a_path():
    path = cell_space(operations=CELL_OPERATIONS[:-1]).path(PRESETS["mdenas_cifar10"].genotype)
    assert path["normal_5_0"] == "none"


@pytest.mark.parametrize(
    ("space", "genotype", "message"),
    [
        (cell_space(), PRESETS["mdenas_gpu"].genotype, "found a MobileGenotype; expected a CellGenotype"),
        (mobile_space(), PRESETS["darts_v2"].genotype, "found a CellGenotype; expected a MobileGenotype"),
        (mobile_space(), PRESETS["mdenas_gpu"].genotype, "backbone: found .* this space has"),
        (cell_space(operations=["skip_connect"]), PRESETS["darts_v2"].genotype, "normal, node 2: sep_conv_3x3 is not"),
        (mobile_space(), MobileGenotype(BACKBONE, [(3, 1), (9, 1), (3, 1)]), "block_1: k9_e1 is not in this space"),
        (
            cell_space(),
            CellGenotype(PRESETS["darts_v2"].genotype.normal, (5,), PRESETS["darts_v2"].genotype.reduce, (2, 3, 4, 5)),
            r"normal_concat: found \[5\]",
        ),
    ],
)
def test_a_genotype_that_is_not_in_the_space_has_no_path(space, genotype, message):
    with pytest.raises(GenotypeError, match=message):
        space.path(genotype)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": None}, r"config\.space\.name: found None; expected a text"),
        ({"name": "nasbench"}, r"config\.space\.name: found 'nasbench'; expected 'cell', 'mobile', 'nasbench201' or"),
        ({"name": "no.such.module"}, r"config\.space\.name: found 'no\.such\.module'"),
        ({"name": ".cell"}, r"config\.space\.name: found '\.cell'; expected 'cell', 'mobile', 'nasbench201' or"),
        ({"name": "registry"}, r"found 'registry'; .* models\.search_spaces\.registry has no function `create`"),
        ({"name": "json.decoder"}, r"found 'json\.decoder'; .* json\.decoder has no function `create`"),
        ({"name": "cell", "nodes": 5}, r"config\.space\.nodes: there is no such setting; expected name, operations"),
        ({"name": "cell", "operations": ["conv_9x9"]}, r"unknown operation 'conv_9x9'"),
        ({"name": "cell", "operations": ["no.such.thing"]}, r"unknown operation 'no\.such\.thing' \(No module"),
        ({"name": "cell", "operations": ["quick"]}, r"unknown operation 'quick'; .* a set \(paper, fast\)"),
        ({"name": "cell", "operations": ["fast", "fast"]}, r"fast, fast: one repeats"),
        ({"name": "mobile", "operations": ["fast"]}, r"unknown operation 'fast'"),
        ({"name": "cell", "operations": ["none"]}, r"at least one operation besides none"),
        ({"name": "cell", "operations": ["none", "none"]}, r"none, none: one repeats"),
        ({"name": "mobile", "operations": ["skip"]}, r"at least one besides skip"),
        ({"name": "mobile", "operations": ["k4_e1"]}, r"unknown operation 'k4_e1'"),
        ({"name": "mobile", "operations": ["k3_e0"]}, r"unknown operation 'k3_e0'"),
        ({"name": "mobile", "operations": ["k3_e1", "k3_e1"]}, r"one repeats"),
        ({"name": "mobile", "backbone": "resnet50"}, r"backbone: found 'resnet50'; expected one of"),
        ({"name": "mobile", "backbone": {**BACKBONE, "blocks": [[8]]}}, r"backbone\.blocks\[0\]: found \[8\]"),
    ],
)
def test_a_config_that_cannot_be_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        make_space(config)


@pytest.mark.parametrize("space", [cell_space(), mobile_space()], ids=["cell", "mobile"])
def test_probabilities_must_fit_the_choices(space):
    probabilities = uniform(space)
    name = space.choices[1].name
    probabilities[name] = probabilities[name][:-1]
    with pytest.raises(ValueError, match=f"probabilities of {name}: .*one for each of"):
        space.derive(probabilities)
    del probabilities[name]
    with pytest.raises(ValueError, match=f"probabilities of {name}: found None"):
        space.derive(probabilities)


@pytest.mark.parametrize("space", [cell_space(), mobile_space()], ids=["cell", "mobile"])
def test_a_path_must_name_every_choice_and_no_other(space):
    path = {choice.name: choice.operations[0] for choice in space.choices}
    with pytest.raises(ValueError, match=r"path: missing \[\], unknown \['else'\]"):
        space.genotype({**path, "else": "skip_connect"})
    del path[space.choices[0].name]
    with pytest.raises(ValueError, match=f"path: missing \\['{space.choices[0].name}'\\], unknown"):
        space.genotype(path)


def random_paths(space, count, none=None):
    """Random paths; a share of the operations is `none`, or all operations are as likely."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        path = {choice.name: str(generator.choice(choice.operations)) for choice in space.choices}
        if none is not None:
            path = {name: "none" if generator.random() < none else operation for name, operation in path.items()}
        yield path


def edges(path, node):
    """The operations of a node's edges that are not `none`, by edge; the node is as `normal_3`."""
    return {name: op for name, op in path.items() if name.rpartition("_")[0] == node and op != "none"}


NODES = [f"{kind}_{number}" for kind in ("normal", "reduce") for number in range(2, 6)]


@pytest.mark.parametrize("none", [0.0, 0.3, 0.8, 1.0])
def test_a_repaired_path_of_the_cell_space_is_one_that_derivation_could_give(none):
    space, generator = cell_space(), np.random.default_rng(1)
    for path in random_paths(space, 30, none):
        before = dict(path)
        repaired = space.repair(path, generator)
        assert path == before
        assert list(repaired) == [choice.name for choice in space.choices]
        for node in NODES:
            had, has = edges(path, node), edges(repaired, node)
            assert len(has) == 2
            if len(had) >= 2:
                assert has.items() <= had.items()
            else:
                assert had.items() <= has.items()
        derived = space.derive(
            {choice.name: [float(op == repaired[choice.name]) for op in choice.operations] for choice in space.choices}
        )
        assert space.path(derived) == repaired
        assert space.repair(repaired, generator) == repaired


def test_edges_and_operations_of_a_repaired_path_are_drawn_evenly():
    space, generator = cell_space(), np.random.default_rng(2)
    full = {choice.name: "skip_connect" for choice in space.choices}
    none = dict.fromkeys(full, "none")
    kept = [space.repair(full, generator) for _ in range(400)]
    for source in range(5):
        share = np.mean([path[f"normal_5_{source}"] != "none" for path in kept])
        assert 0.3 < share < 0.5  # two of five edges
    drawn = [name for _ in range(50) for name in space.repair(none, generator).values() if name != "none"]
    assert len(drawn) == 50 * 16
    for operation in set(CELL_OPERATIONS) - {"none"}:
        assert 0.6 < drawn.count(operation) / len(drawn) * (len(CELL_OPERATIONS) - 1) < 1.4


def test_repair_is_a_function_of_path_and_generator():
    space = cell_space()
    (path,) = random_paths(space, 1)
    first = space.repair(path, np.random.default_rng(3))
    np.random.seed(5)
    np.random.random()
    assert space.repair(path, np.random.default_rng(3)) == first
    assert any(space.repair(path, np.random.default_rng(seed)) != first for seed in range(4, 8))


@pytest.mark.parametrize(
    "space",
    [mobile_space(), make_space({"name": "nasbench201"}), cell_space(operations=CELL_OPERATIONS[:-1])],
    ids=["mobile", "nasbench201", "cell without none"],
)
def test_a_path_that_needs_no_repair_stays_as_it_is(space):
    generator = np.random.default_rng(0)
    state = generator.bit_generator.state
    for path in random_paths(space, 20):
        repaired = space.repair(path, generator)
        assert repaired == path and repaired is not path
    assert generator.bit_generator.state == state


TEACHER = ["train.teacher_temperature", "train.teacher_weight"]


def test_settings_of_the_other_objective_are_without_use():
    trained, scored = (unused(Settings.parse({"search": {"objective": name}})) for name in ("val_accuracy", "spectrum"))
    assert "search.score_images" in trained and "search.score_images" not in scored
    only_trained = {key for key, _, known in leaves(Settings()) if known.objective == "val_accuracy"}
    assert {"search.batch_size", "search.cells", "search.norm_images"} < only_trained
    assert {key for key in scored if key.startswith("search.")} == only_trained and not only_trained & set(trained)
    assert scored["search.cells"] == "the objective 'spectrum' (config.search.objective) has no use for it"
    assert [key for key in scored if key.startswith("train.")] == TEACHER  # there is none, with either objective


def test_a_scored_supernet_has_the_settings_of_the_training():
    train = Train(cells=7, channels=5)
    assert scored_options(cell_space(), train) == {"cells": 7, "channels": 5}
    assert scored_options(make_space({"name": "nasbench201"}), train) == {"cells": 7, "channels": 5}
    assert scored_options(mobile_space(), train) == {}


def test_a_space_takes_the_settings_that_its_networks_have_parameters_for():
    assert supernet_options(cell_space(), Search(cells=3, channels=4)) == {"cells": 3, "channels": 4}
    assert network_options(mobile_space(), Train(dropout=0.1)) == {"network": "cifar", "dropout": 0.1}
    cell = network_options(cell_space(), Train(dropout=0.1, auxiliary_weight=0.0))
    assert cell == {
        **{"network": "cifar", "channels": 36, "cells": 20},
        **{"auxiliary": False, "drop_path": 0.3, "dropout": 0.1},
    }


def test_a_parameter_that_is_no_setting_is_named():
    class Mistyped:
        name = "mistyped"

        def supernet(self, input_shape, classes, *, chanels=4):
            raise AssertionError

    message = r"The supernet of the mistyped space takes 'chanels'; expected settings of config\.search\."
    with pytest.raises(ValueError, match=message):
        supernet_options(Mistyped(), Search())


def test_settings_without_use_in_the_space_or_the_rule_are_found():
    found = unused(Settings.parse({"space": {"name": "mobile"}, "oracle": {"rule": "elite"}}))
    assert {"search.cells", "search.channels", "train.cells", "train.channels", "train.drop_path"} < set(found)
    assert "train.auxiliary_weight" in found and "train.dropout" not in found
    assert "oracle.paper.alpha" in found and "oracle.elite.eta" not in found and "oracle.custom" in found
    # The objective that is not chosen has a setting of its own.
    without_use = [key for key in unused(Settings()) if key.startswith(("search.", "train."))]
    assert without_use == ["search.score_images", *TEACHER]


def test_a_custom_space_brings_a_model_of_its_own_options(tmp_path, monkeypatch):
    (tmp_path / "own_typed.py").write_text(
        textwrap.dedent(
            """
            import pydantic

            class Options(pydantic.BaseModel, extra="forbid"):
                level: int = pydantic.Field(1, ge=1)

            class Space:
                name = "own"
                choices = ()

            def create(level):
                space = Space()
                space.level = level
                return space
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    # A dotted path, as that of a module at the top has no dot.
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_typed.py").rename(tmp_path / "own_package" / "typed.py")
    assert make_space({"name": "own_package.typed"}).level == 1
    assert make_space({"name": "own_package.typed", "level": 2}).level == 2
    for options, message in (
        ({"level": 0}, r"config\.space\.level: found 0; .*greater than or equal to 1\.$"),
        ({"levle": 2}, r"config\.space\.levle: found 2; Extra inputs are not permitted\.$"),
    ):
        with pytest.raises(ValueError, match=message):
            make_space({"name": "own_package.typed", **options})


def test_adding_a_space_is_adding_one_file(tmp_path, monkeypatch):
    package = tmp_path / "own_spaces"
    package.mkdir()
    (package / "switch.py").write_text(
        textwrap.dedent(
            """
            from models.architectures.choices import Choice

            class SwitchSpace:
                name = "switch"
                choices = (Choice("switch", ("on", "off")),)

                def derive(self, probabilities):
                    return max(zip(probabilities["switch"], ("on", "off")))[1]

            def create(level=1):
                space = SwitchSpace()
                space.level = level
                return space
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    space = make_space({"name": "own_spaces.switch", "level": 3})
    assert space.level == 3
    assert space.derive({"switch": [0.4, 0.6]}) == "off"
    with pytest.raises(ValueError, match=r"'own_spaces\.switch' has no option 'operations'; expected level"):
        make_space({"name": "own_spaces.switch", "operations": ["on"]})
    del sys.modules["own_spaces.switch"], sys.modules["own_spaces"]


def test_a_space_that_fails_to_import_says_what_it_misses(tmp_path, monkeypatch):
    (tmp_path / "own_broken").mkdir()
    (tmp_path / "own_broken" / "space.py").write_text("import a_package_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        make_space({"name": "own_broken.space"})
