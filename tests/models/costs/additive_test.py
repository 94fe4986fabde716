"""models/costs/additive.py: sums of costs and their document."""

import json

import pytest

from models.costs.additive import AdditiveCost

COST = AdditiveCost("latency_ms", "ms", 0.1, {"a": {"x": 0.1, "y": 0.7}, "b": {"x": 0.2}})


def test_a_cost_is_the_fixed_part_and_a_part_for_each_choice():
    assert COST.of({"a": "x", "b": "x"}) == pytest.approx(0.4)
    assert COST.of({"a": "y", "b": "none"}) == pytest.approx(0.8)  # an operation that is missing adds nothing
    whole = AdditiveCost("macs", "", 2**52, {"a": {"x": 1}}).of({"a": "x"})
    assert isinstance(whole, int) and whole == 2**52 + 1


def test_equal_parts_on_other_choices_cost_the_same_to_the_last_bit():
    parts = {name: {"x": value} for name, value in zip("abc", (0.1, 0.2, 0.3), strict=True)}
    turned = dict(reversed(parts.items()))
    path = dict.fromkeys("abc", "x")
    assert AdditiveCost("file_mb", "MB", 0.7, parts).of(path) == AdditiveCost("file_mb", "MB", 0.7, turned).of(path)


def test_the_document_is_json_and_reads_back():
    assert AdditiveCost.from_document(json.loads(json.dumps(COST.document()))) == COST
    with pytest.raises(KeyError, match="parts"):
        AdditiveCost.from_document({"name": "macs", "unit": "", "fixed": 1})


@pytest.mark.parametrize(("fixed", "part"), [(-1.0, 0.0), (0.0, -0.5), (float("nan"), 0.0), (0.0, float("inf"))])
def test_a_number_that_is_no_cost_is_refused(fixed, part):
    with pytest.raises(ValueError, match="expected finite numbers of 0 or more"):
        AdditiveCost("macs", "", fixed, {"a": {"x": part}})
