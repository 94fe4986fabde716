"""Update rules: how the distribution over architectures moves after an evaluation.

A rule is told of every evaluation once, in the order of arrival, and answers with the new probabilities. It may
keep whatever it derives from the evaluations: it is never saved, since `Multinomial` restores a rule by telling it
everything again. Docs with formulas and measurements: docs/oracle.md. NumPy only.

`RULES` maps the names of the rules to their classes, `create` makes one from a name and options.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from .base import Rule
from .elite import Elite
from .interactions import Interactions
from .main_effects import MainEffects
from .paper import Pairwise, Paper
from .reinforce import Reinforce


def create_rule(name: str, options: Mapping[str, Any] | None = None) -> Rule:
    """Makes the rule of a name, with options in place of its defaults.

    Raises:
        ValueError: there is no such rule, it has no such option, or the option's value is not allowed.
    """
    if name not in RULES:
        raise ValueError(f"oracle rule: found {name!r}, allowed are {', '.join(RULES)}{_hint(name, RULES)}")
    options = dict(options or {})
    allowed = [field.name for field in dataclasses.fields(RULES[name]) if field.init]
    for option in options:
        if option not in allowed:
            raise ValueError(
                f"rule_options of the rule {name!r}: found {option!r}, "
                f"allowed are {', '.join(allowed)}{_hint(option, allowed)}"
            )
    return RULES[name](**options)


def _hint(found: str, allowed) -> str:
    close = difflib.get_close_matches(str(found), list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


RULES: dict[str, type[Rule]] = {
    rule.name: rule for rule in (Paper, Pairwise, Elite, MainEffects, Interactions, Reinforce)
}
