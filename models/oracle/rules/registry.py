"""Update rules: how the distribution over architectures moves after an evaluation.

A rule receives every evaluation once, in the order of arrival, and returns the new probabilities. A rule may keep
values that it derives from the evaluations. These values are never saved: `Multinomial` restores a rule by repeating
all evaluations. Formulas: docs/oracle_mathematics.md;
measurements: docs/oracle_measurements.md. NumPy only.

`RULES` maps the names of the rules to their classes, `create_rule` makes one from a name and options.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np

from .base import Rule
from .elite import Elite
from .interactions import Interactions
from .main_effects import MainEffects
from .paper import Pairwise, Paper
from .reinforce import Reinforce


def create_rule(name: str, options: Mapping[str, Any] | None = None) -> Rule:
    """Makes the rule of a name, with options in place of its defaults.

    Args:
        name: A name of `RULES`, or the dotted path of a custom rule: a dataclass that extends `Rule`.
        options: Names and values; NumPy's numbers become Python's.

    Raises:
        ValueError: There is no such rule, it has no such option, or the option's value is not allowed.
    """
    rule = RULES[name] if name in RULES else _custom(name)
    values = {key: value.item() if isinstance(value, np.generic) else value for key, value in (options or {}).items()}
    allowed = [field.name for field in dataclasses.fields(cast(Any, rule)) if field.init]
    for option in values:
        if option not in allowed:
            raise ValueError(
                f"rule_options of the rule {name!r}: found {option!r}, "
                f"allowed are {', '.join(allowed)}{_hint(option, allowed)}"
            )
    return rule(**values)


def _custom(name: str) -> type[Rule]:
    module, _, attribute = str(name).rpartition(".")
    if not module:
        raise ValueError(
            f"oracle rule: found {name!r}, allowed are {', '.join(RULES)}, or the dotted path of a custom rule"
            f"{_hint(name, RULES)}"
        )
    try:
        rule = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"oracle rule: {name!r} cannot be imported: {error}") from error
    if not (isinstance(rule, type) and issubclass(rule, Rule) and dataclasses.is_dataclass(rule)):
        raise ValueError(f"oracle rule: {name!r} is not a dataclass that extends {Rule.__module__}.Rule")
    return rule


def _hint(found: str, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(found), list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


RULES: dict[str, type[Rule]] = {
    rule.name: rule for rule in (Paper, Pairwise, Elite, MainEffects, Interactions, Reinforce)
}
