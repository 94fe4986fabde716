import dataclasses
import json

import numpy as np
import pytest

from models.oracle.multinomial import Multinomial
from models.oracle.rules import registry
from models.oracle.rules.base import Rule, check_floor, option
from models.oracle.rules.elite import Elite

CELL = [("edge_0", "abc"), ("edge_1", "ab")]


@dataclasses.dataclass
class Greedy(Rule):
    """A custom rule: most of the probability for the best operation."""

    floor: float = option(0.1, "Share of the uniform distribution.")

    def __post_init__(self):
        check_floor(self)

    def update(self, record):
        best = np.nan_to_num(record.mean, nan=-np.inf).argmax(axis=1)
        return (1 - self.floor) * record.one_hot(best) + self.floor * record.uniform()


@dataclasses.dataclass
class LargerSteps(Elite):
    eta: float = 0.2


class Undecorated(Elite):
    pass


def test_custom_rule_is_found_by_its_dotted_path():
    multinomial = Multinomial(CELL, rule=f"{__name__}.Greedy", rule_options={"floor": np.float64(0.25)}, seed=1)
    multinomial.observe({"edge_0": "b", "edge_1": "a"}, 0.5)
    np.testing.assert_allclose(multinomial.probabilities[0], [0.25 / 3, 0.75 + 0.25 / 3, 0.25 / 3])
    rule = json.loads(json.dumps(multinomial.document()))["rule"]
    assert rule["name"] == f"{__name__}.Greedy"
    again = Multinomial(CELL, rule=rule["name"], rule_options=rule["options"], seed=rule["seed"])
    again.observe({"edge_0": "b", "edge_1": "a"}, 0.5)
    assert again.document() == multinomial.document()


def test_custom_rule_may_derive_from_a_built_in_one():
    rule = registry.create_rule(f"{__name__}.LargerSteps", {"elites": 3})
    assert rule.options() == {"eta": 0.2, "elites": 3, "floor": 0.1}
    assert rule.name == f"{__name__}.LargerSteps"
    assert registry.create_rule("elite").name == "elite"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package.rules.Greedy", "no module 'no_such_package.rules'"),
        ("models.oracle.no_such_module.Greedy", "no module 'models.oracle.no_such_module'"),
        (".Greedy", "expected a dotted path"),
        ("rules.Greedy()", "expected a dotted path"),
        (
            f"{__name__}.Gredy",
            "a subclass of models.oracle.rules.base.Rule; 'Gredy' of .* is not one.*did you mean 'Greedy'",
        ),
        (f"{__name__}.CELL", "expected a subclass of .*; 'CELL' of .* is not one"),
        ("models.oracle.rules.base.Rule", "expected a subclass"),
        (f"{__name__}.Undecorated", "expected a dataclass. Add @dataclasses.dataclass to 'Undecorated'"),
        ("elit", "did you mean 'elite'.*dotted path"),
        (None, "found None; expected one of paper"),
    ],
)
def test_rule_that_does_not_exist_is_refused_by_name(name, message):
    with pytest.raises(ValueError, match=message):
        registry.create_rule(name)


def test_options_of_a_custom_rule_are_checked_like_those_of_a_built_in_one():
    with pytest.raises(ValueError, match=r"Greedy': found 'flor'; expected one of floor \(did you mean 'floor'\?\)"):
        registry.create_rule(f"{__name__}.Greedy", {"flor": 0.1})
    with pytest.raises(
        ValueError, match=r"floor of the rule .*Greedy': found 1.5; expected a number from 0 to below 1"
    ):
        registry.create_rule(f"{__name__}.Greedy", {"floor": 1.5})


def test_error_within_the_module_of_a_custom_rule_is_shown_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "broken_rule.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        registry.create_rule("broken_rule.Greedy")


@pytest.mark.parametrize("rule", registry.RULES.values())
def test_every_option_says_what_it_means(rule):
    for field in dataclasses.fields(rule):
        meaning = field.metadata["meaning"]
        assert meaning[0].isupper() and meaning.endswith("."), field.name
        assert field.default is not dataclasses.MISSING
