"""The update rules by name. An update rule changes the distribution over architectures after an evaluation.

A rule receives every evaluation once, in the order of arrival, and returns the new probabilities. It may keep values
that it derives from the evaluations. These values are never saved: to restore a rule, the oracle passes all
evaluations to a new `Multinomial`. docs/oracle_mathematics.md has the equations, docs/oracle_measurements.md the
measurements. The rules need only NumPy.

`RULES` maps the names of the rules to their classes. `create_rule` creates a rule from a name or a dotted path, and
options.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any, cast

from ..values import plain
from .base import Rule
from .elite import Elite
from .expected_hypervolume import ExpectedHypervolume
from .interactions import Interactions
from .main_effects import MainEffects
from .paper import Pairwise, Paper
from .reinforce import Reinforce
from .scalarised import Scalarised


def create_rule(name: str, options: Mapping[str, Any] | None = None) -> Rule:
    """Returns a rule, with options in place of its defaults.

    Args:
        name: A key of `RULES`, or the dotted path "package.module.ClassName" of a custom subclass of `Rule`.
        options: Option name -> value. NumPy numbers become Python numbers.

    Raises:
        ValueError: The name or path does not lead to a rule, the rule has no such option, or the option's value is not
            allowed.
    """
    rule = _custom_rule(name) if "." in str(name) else RULES.get(name)
    if rule is None:
        raise ValueError(
            f"oracle rule: found {name!r}; expected one of {', '.join(RULES)}{_hint(name, RULES)} or the dotted path "
            "of a class, 'package.module.ClassName'"
        )
    options = {option: plain(value) for option, value in (options or {}).items()}
    allowed = [field.name for field in dataclasses.fields(cast(Any, rule)) if field.init]
    for option in options:
        if option not in allowed:
            raise ValueError(
                f"rule_options of the rule {name!r}: found {option!r}; "
                f"expected one of {', '.join(allowed)}{_hint(option, allowed)}"
            )
    return rule(**options)


def for_goals(rule: Rule) -> Rule:
    """Extends a rule to several objectives.

    Returns:
        A rule that searches for a Pareto front. It also reads the record's goals.
    """
    if type(rule) is Interactions:
        return ExpectedHypervolume(**rule.options())
    return Scalarised(rule)


def _custom_rule(path: str) -> type[Rule]:
    """Imports the class of a dotted path.

    Raises:
        ValueError: The module or the class does not exist, or the class is not a rule.
    """
    if not all(part.isidentifier() for part in path.split(".")):
        raise ValueError(f"oracle rule: found {path!r}; expected a dotted path, 'package.module.ClassName'")
    module_name, _, class_name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The module may exist, but fail because it imports a module that does not exist.
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"oracle rule: found {path!r}; expected the path of a class, but there is no module {module_name!r}"
        ) from error
    rule = getattr(module, class_name, None)
    if not isinstance(rule, type) or not issubclass(rule, Rule) or rule is Rule:
        rules = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, Rule)]
        raise ValueError(
            f"oracle rule: found {path!r}; expected a subclass of {Rule.__module__}.Rule; "
            f"{class_name!r} of {module_name!r} is not one{_hint(class_name, rules)}"
        )
    if "__dataclass_fields__" not in vars(rule):
        raise ValueError(
            f"oracle rule: found {path!r}; expected a dataclass. Add @dataclasses.dataclass to {class_name!r}"
        )
    return rule


def _hint(found: str, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(found), list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


RULES: dict[str, type[Rule]] = {
    rule.name: rule for rule in (Paper, Pairwise, Elite, MainEffects, Interactions, Reinforce)
}
