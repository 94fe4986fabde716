"""models/costs/latency_table.py and table_measurement.py, with a stopwatch that counts instead of the real time."""

import functools
import json
import re

import numpy as np
import pytest

from models import measure_latency
from models.costs import runtimes, table_measurement
from models.costs.latency_table import LatencyTable, Whole, unfit
from models.costs.sites import computed
from models.search.shape import Shape
from models.settings import Train
from tests.support.latency_tables import CALL, FIXED, counted, measured
from tests.support.spaces import make_space

BACKBONE = {"stem": 4, "stem_stride": 2, "blocks": [[4, 1], [6, 2], [6, 1]], "head": 8}
NASBENCH201 = ({"name": "nasbench201"}, {"network": "nasbench201", "cells": 1, "channels": 2})
RUNS = {
    "cell": ({"name": "cell", "operations": ["conv_3x3", "skip_connect", "none"]}, {"cells": 3, "channels": 2}),
    "mobile": ({"name": "mobile", "backbone": BACKBONE}, {"network": "mobile"}),
    "nasbench201": NASBENCH201,
}
IMAGE, CLASSES = (8, 8, 1), 2


def described(run):
    space, train = run
    return make_space(space), Train.parse({**train, "auxiliary_weight": 0.0})


@pytest.mark.parametrize("name", RUNS)
def test_the_sum_over_operations_predicts_networks_that_were_not_measured(name, tmp_path):
    space, train = described(RUNS[name])
    table = measured(tmp_path / "table.json", space, train, IMAGE, CLASSES, networks=8)
    known = [whole.path for whole in table.whole]
    others = [path for path in table_measurement.random_paths(space, 8, seed=5) if table.used(space, path) not in known]
    assert len(others) >= 4
    for path in others:
        network = table_measurement.network_of(space, train, IMAGE, CLASSES, path)
        assert table.predict(space, path) == pytest.approx(counted([network], IMAGE), rel=0.05)
    assert max(map(abs, table.errors())) < 0.5


@pytest.mark.parametrize("operations", [["conv_3x3", "skip_connect"], ["conv_3x3", "skip_connect", "none"]])
def test_the_networks_of_a_fit_have_as_many_edges_as_derived_ones(operations):
    space = make_space({"name": "cell", "operations": operations})
    paths = table_measurement.random_paths(space, 30, seed=0)
    shape = Shape.of(space)
    assert shape.valid(np.array([shape.row(path) for path in paths])).all()
    assert len({tuple(path.items()) for path in paths}) == 30
    for choice in space.choices:  # every edge is drawn, with every operation
        assert {"conv_3x3", "skip_connect"} <= {path[choice.name] for path in paths}


def test_operations_are_measured_alone_and_without_the_empty_call(tmp_path):
    space, train = described(NASBENCH201)
    table = measured(tmp_path / "table.json", space, train, IMAGE, CLASSES)
    macs = 8 * 8 * 9 * 2 * 2
    assert table.operations["nor_conv_3x3, 8x8x2 to 2 channels"].ms == pytest.approx(1e-3 * macs)
    assert table.operations["skip_connect, 8x8x2 to 2 channels"].ms == 0
    assert len(table.operations) == 4 * 3 and len(table.whole) == 6


def test_short_operations_are_measured_in_copies(tmp_path):
    space, train = described(NASBENCH201)
    counts = []

    def timed(layers, shape):
        counts.append(len(layers))
        return 1e-3 * counted(layers, shape)

    table = measured(tmp_path / "table.json", space, train, IMAGE, CLASSES, timed)
    assert set(counts) == {1, 8}
    macs = 8 * 8 * 9 * 2 * 2
    assert table.operations["nor_conv_3x3, 8x8x2 to 2 channels"].ms == pytest.approx(1e-6 * macs)


def test_the_cost_is_additive_and_has_a_part_for_every_operation(tmp_path):
    space, train = described(RUNS["mobile"])
    table = measured(tmp_path / "table.json", space, train, IMAGE, CLASSES)
    cost = table.cost()
    assert (cost.name, cost.unit) == ("latency_ms", "ms") and cost.fixed >= 0
    for choice in space.choices:
        assert set(cost.parts[choice.name]) == set(choice.operations) - {"skip"}
    path = {choice.name: choice.operations[0] for choice in space.choices}
    assert cost.of(path) == pytest.approx(table.predict(space, path))
    assert cost.of(path) > CALL + FIXED


def test_the_fit_uses_a_common_factor_for_operations_that_no_measured_network_has(tmp_path):
    space, train = described(NASBENCH201)
    table = measured(tmp_path / "table.json", space, train, IMAGE, CLASSES)
    keys = {name: f"{name}, 8x8x2 to 2 channels" for name in ("nor_conv_1x1", "nor_conv_3x3")}
    ms = table.operations[keys["nor_conv_1x1"]].ms
    # In these networks, operations take twice their time.
    whole = [
        Whole(path={f"edge_{node}_0": "nor_conv_1x1" for node in range(1, count)}, ms=3.0 + 2 * 3 * (count - 1) * ms)
        for count in (1, 2, 3, 4)
    ]
    parts = table.model_copy(update={"whole": tuple(whole)}).cost().parts["edge_1_0"]
    assert parts["nor_conv_3x3"] == pytest.approx(2 * 3 * table.operations[keys["nor_conv_3x3"]].ms, rel=0.1)


def test_a_disturbance_of_one_round_does_not_change_the_prediction(tmp_path):
    space, train = described(NASBENCH201)
    calm = measured(tmp_path / "calm.json", space, train, IMAGE, CLASSES, rounds=3)
    networks = 0

    def timed(layers, shape):
        nonlocal networks
        networks += hasattr(layers[0], "genotype")
        return counted(layers, shape) * (5 if 3 <= networks <= 8 else 1)

    disturbed = measured(tmp_path / "disturbed.json", space, train, IMAGE, CLASSES, timed, rounds=3)
    assert disturbed.whole != calm.whole
    assert disturbed.fitted == calm.fitted and disturbed.cost() == calm.cost()


def test_a_killed_measurement_keeps_what_it_has_and_ends_with_the_same_table(tmp_path):
    space, train = described(NASBENCH201)
    whole = measured(tmp_path / "whole.json", space, train, IMAGE, CLASSES, rounds=2)
    calls = []

    def killed_at(stop, layers, shape):
        calls.append(len(layers))
        if len(calls) == stop:
            raise KeyboardInterrupt
        return counted(layers, shape)

    path = tmp_path / "resumed.json"
    for stop in (9, 12, 8):
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            measured(path, space, train, IMAGE, CLASSES, functools.partial(killed_at, stop), rounds=2)
        with pytest.raises(ValueError, match=r"config\.x: found '.*', whose measurement is not finished\."):
            LatencyTable.load(str(path), "config.x")
    calls.clear()
    assert measured(path, space, train, IMAGE, CLASSES, functools.partial(killed_at, 0), rounds=2) == whole
    assert 0 < len(calls) < 25
    assert path.read_text() == (tmp_path / "whole.json").read_text()
    assert LatencyTable.load(str(path), "config.x") == whole
    calls.clear()
    assert (
        measured(path, space, train, IMAGE, CLASSES, functools.partial(killed_at, 1), rounds=2) == whole and not calls
    )


def test_a_table_of_one_round_is_continued(tmp_path):
    space, train = described(NASBENCH201)
    path = tmp_path / "table.json"
    earlier = measured(path, space, train, IMAGE, CLASSES)
    path.write_text(earlier.model_dump_json(exclude={"rounds"}))
    assert LatencyTable.load(str(path), "x") == earlier
    table = measured(path, space, train, IMAGE, CLASSES, rounds=3)
    assert table.whole == 3 * earlier.whole and table.fitted == earlier.fitted
    assert table == LatencyTable.load(str(path), "x")


def test_a_file_of_another_measurement_is_not_overwritten(tmp_path):
    space, train = described(NASBENCH201)
    path = tmp_path / "table.json"
    measured(path, space, train, IMAGE, CLASSES)
    before = path.read_text()
    for options, found in (
        ({"threads": 2}, "threads 1 instead of 2"),
        ({"backend": "tensorflow"}, "backend 'litert' instead of 'tensorflow'"),
        ({"networks": 7}, "wanted 6 instead of 7"),
    ):
        with pytest.raises(ValueError, match=re.escape(f"found another table: {found}. Remove it")):
            measured(path, space, train, IMAGE, CLASSES, **options)
    with pytest.raises(ValueError, match="image shape '8x8x1' instead of '8x9x1'; classes 2 instead of 3"):
        measured(path, space, train, (8, 9, 1), 3)
    document = json.loads(before)
    document["device"]["processor"] = "abacus"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="processor 'abacus' instead of "):
        measured(path, space, train, IMAGE, CLASSES)


def test_a_table_of_other_networks_is_refused_by_name(tmp_path):
    space, train = described(NASBENCH201)
    table = measured(tmp_path / "table.json", space, train, IMAGE, CLASSES)
    assert unfit(table, "t.json", space, train, (IMAGE, CLASSES)) == unfit(table, "t.json", space, train, None) == ""
    wider = Train.parse({**NASBENCH201[1], "channels": 4})
    assert unfit(table, "t.json", space, wider, ((8, 8, 3), CLASSES)) == (
        "config.derive.latency_table: found 't.json', which is for other networks: config.train.channels 2 instead of "
        "4; image shape '8x8x1' instead of '8x8x3'. Measure a table for these settings (docs/latency.md)."
    )
    other = make_space({"name": "nasbench201", "operations": ["none", "skip_connect"]})
    assert "config.space.operations" in unfit(table, "t.json", other, train, None)
    cell, train = described(RUNS["cell"])
    assert "config.space.name 'nasbench201' instead of 'cell'" in unfit(table, "t.json", cell, train, None)


def test_a_table_of_several_images_at_once_is_refused(tmp_path):
    space, train = described(NASBENCH201)
    table = measured(tmp_path / "table.json", space, train, IMAGE, CLASSES, batch=8)
    assert unfit(table, "t.json", space, train, None) == (
        "config.derive.latency_table: found 't.json', which has the milliseconds of 8 images at once; expected those "
        "of one image. Measure a table with --batch=1 (docs/latency.md)."
    )


@pytest.mark.parametrize("name", RUNS)
def test_a_table_without_the_places_of_an_operation_is_refused(name, tmp_path):
    space, train = described(RUNS[name])
    path = tmp_path / "table.json"
    table = measured(path, space, train, IMAGE, CLASSES)
    first, last = space.choices[0].name, space.choices[-1].name
    operation = next(iter(table.places[last]))
    for places, names in (
        ({**table.places, last: {**table.places[last], operation: ()}}, [f"{operation} of {last}"]),
        ({**table.places, last: {k: v for k, v in table.places[last].items() if k != operation}}, [operation]),
        ({k: v for k, v in table.places.items() if k != first}, [f"{name} of {first}" for name in table.places[first]]),
    ):
        lacking = table.model_copy(update={"places": places})
        told = unfit(lacking, "t.json", space, train, (IMAGE, CLASSES))
        assert told.startswith("config.derive.latency_table: found 't.json', whose `places` lack ")
        assert all(name in told for name in names[:5])
        # The measurement of what is left would end with such a table.
        lacking.model_copy(update={"whole": table.whole[:2]}).save(str(path))
        with pytest.raises(ValueError, match=r"found another table: other places of .*\. Remove it") as refused:
            measured(path, space, train, IMAGE, CLASSES)
        assert all(name in str(refused.value) for name in names[:5])


def test_training_settings_do_not_matter(tmp_path):
    space, train = described(RUNS["cell"])
    table = measured(tmp_path / "table.json", space, train, IMAGE, CLASSES)
    other = Train.parse({**RUNS["cell"][1], "drop_path": 0.3, "epochs": 3})
    assert unfit(table, "t.json", space, other, (IMAGE, CLASSES)) == ""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "which cannot be read"),
        ("{", "this is no latency table (the file: "),
        ("[]", "this is no latency table"),
        ('{"backend": "abacus"}', "this is no latency table"),
        ("NEGATIVE", "this is no latency table (operations.nor_conv_1x1, 8x8x2 to 2 channels.ms: "),
        ("MORE", "this is no latency table (colour: "),
    ],
)
def test_what_is_no_table_is_refused(content, told, tmp_path):
    path = tmp_path / "table.json"
    if content in ("NEGATIVE", "MORE"):
        space, train = described(NASBENCH201)
        document = json.loads(measured(path, space, train, IMAGE, CLASSES).model_dump_json())
        if content == "MORE":
            document["colour"] = "red"
        else:
            document["operations"]["nor_conv_1x1, 8x8x2 to 2 channels"]["ms"] = -1
        content = json.dumps(document)
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=r"^config\.derive\.latency_table: .*") as error:
        LatencyTable.load(str(path), "config.derive.latency_table")
    assert told in str(error.value) and "python -m models.measure_latency" in str(error.value)


def test_operations_that_are_cut_off_do_not_count():
    space = make_space({"name": "nasbench201"})
    names = [choice.name for choice in space.choices]
    # Node 2 gets nothing, and node 1 leads nowhere.
    path = dict(zip(names, ("skip_connect", "none", "none", "nor_conv_3x3", "none", "nor_conv_1x1"), strict=True))
    assert list(computed(space, path, constants=False)) == ["edge_3_0"]
    assert [name for name in computed(space, path, constants=True) if path[name] != "none"] == ["edge_3_0", "edge_3_2"]


@pytest.mark.parametrize("backend", runtimes.BACKENDS)
def test_each_runtime_computes_the_function(backend):
    call = runtimes.ready(lambda a, b: a - a + b - b + 2.0, [(1, 2), (1, 2)], backend, threads=1)
    np.testing.assert_array_equal(call(), [[2.0, 2.0]])
    space, train = described(NASBENCH201)
    path = {choice.name: "nor_conv_1x1" for choice in space.choices}
    network = table_measurement.network_of(space, train, IMAGE, CLASSES, path)
    call = runtimes.ready(network, [(3, *IMAGE)], backend, threads=1)
    values = np.random.default_rng(0).standard_normal((3, *IMAGE), np.float32)
    np.testing.assert_allclose(call(), network(values), rtol=1e-4, atol=1e-5)


def test_the_command_writes_a_table_and_tells_its_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runtimes, "set_threads", lambda threads: None)
    monkeypatch.setattr(table_measurement, "stopwatch", lambda *arguments: counted)
    out = str(tmp_path / "table.json")
    flags = ["--space=nasbench201", "--cells=1", "--channels=2", "--image_size=8", "--image_channels=1", "--classes=2"]
    measure_latency.main([*flags, "--networks=5", f"--out={out}"])
    printed = capsys.readouterr().out
    assert "1/27  skip_connect, 8x8x2 to 2 channels  0.000 ms  about " in printed
    assert "12 operations and 5 networks. Each network predicted from the others: median error " in printed
    space, train = described(NASBENCH201)
    table = LatencyTable.load(out, "x")
    assert unfit(table, out, space, train, (IMAGE, CLASSES)) == ""


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--space=tree", "invalid choice: 'tree'"),
        ("--space=cell --threads=0", "--threads: found 0; expected 1 or more"),
        ("--space=cell --classes=1", "--classes: found 1; expected 2 or more"),
        ("--space=cell --networks=3", "--networks: found 3; expected 4 or more"),
        ("--space=cell --network=mobile", "network: found 'mobile'; expected 'cifar' or 'imagenet'"),
        ("--space=cell --operations=conv_9x9", "unknown operation 'conv_9x9'"),
        ("--space=cell --backbone=mdenas_cpu", "--backbone: found 'mdenas_cpu'; the cell space has none"),
        ("--space=mobile --cells=3", "--cells: found 3; the mobile space has none"),
        ("--space=cell --cells=0", "config.train.cells: found 0; expected a whole number, 1 or more."),
        ("--space=cell --out=/no/such/folder/t.json", "there is no folder '/no/such/folder'"),
        ("--space=cell --image_size=2 --cells=3", "found 2"),
    ],
)
def test_nonsense_is_refused_in_a_line(flags, told, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runtimes, "set_threads", lambda threads: None)
    with pytest.raises(SystemExit) as stopped:
        measure_latency.main([f"--out={tmp_path / 'table.json'}", *flags.split()])
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert told in printed and printed.count("\n") == 1
    assert not list(tmp_path.iterdir())
