"""The runs of a sweep: their names and settings. This module starts fast: it imports neither TensorFlow nor TFX."""

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from models.oracle.rules.registry import RULES
from models.runtime.section import NOTHING, leaves
from models.search_spaces.registry import unused
from models.settings import Settings
from pipeline import validation
from pipeline.roots import UsageError

FILE_NAME = "sweep.json"  # in a sweep's root
_MOST = 1000  # runs: more are a mistyped range
_LARGEST_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Planned:
    """A run of a sweep.

    Attributes:
        name: The name of its root, a folder in the sweep's root. It has the rule in it, so that the next command in
            this root cannot take a run for one of another rule.
        rule: The update rule.
        seed: The seed of search and training.
        flags: The flags with the settings that differ from those of the sweep.
    """

    name: str
    rule: str
    seed: int
    flags: tuple[str, ...]


def seeds(text: str) -> list[int]:
    """Returns the seeds of the flag --seeds.

    Args:
        text: Numbers and ranges, such as "0..7" (eight seeds) or "1,5,20..22".

    Raises:
        UsageError: The text has another form, a range is empty, or a seed is given twice.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:\.\.\s*(\d+)\s*)?", part, re.ASCII)
        if not match:
            raise UsageError(
                f"--seeds={text}: found {part!r}; expected numbers of 0 or more, as in 0..7 or 1,5,20..22."
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"--seeds={text}: the range {part.strip()} is empty. Write {last}..{first}.")
        if last > _LARGEST_SEED:
            raise UsageError(f"--seeds={text}: found {last}; expected {_LARGEST_SEED} or less.")
        if last - first >= _MOST or len(found) >= _MOST:
            raise UsageError(f"--seeds={text}: found more than {_MOST} seeds; expected {_MOST} or fewer.")
        found += range(first, last + 1)
    twice = sorted({seed for seed in found if found.count(seed) > 1})
    if twice:
        raise UsageError(f"--seeds={text}: {twice[0]} is given twice. Give each seed once.")
    return found


def rules(text: str, config: ml_collections.ConfigDict) -> list[str]:
    """Returns the update rules of the flag --rules; without the flag, that of the config.

    Args:
        text: Names, separated by commas; "" for none.
        config: The config of the sweep.

    Raises:
        UsageError: There is no such rule, or a rule is given twice, or the config has no search.
    """
    if not text:
        return [config.oracle.rule]
    found = [name.strip() for name in text.split(",")]
    for name in found:
        if name not in RULES and "." not in name:
            raise UsageError(
                f"--rules={text}: there is no rule {name!r}; expected some of {', '.join(RULES)}, or the dotted path "
                "of a custom rule."
            )
    if len(set(found)) < len(found):
        raise UsageError(f"--rules={text}: a rule is given twice. Give each rule once.")
    if config.architecture:
        raise UsageError(
            f"--rules={text}: there is no search, because config.architecture is set. Leave one of them out."
        )
    return found


def plan(
    config: ml_collections.ConfigDict, seeds: Sequence[int], rules: Sequence[str], given: Sequence[str]
) -> list[Planned]:
    """Returns the runs, those of one rule after those of another. Checks the settings of each rule.

    Args:
        config: The config of the sweep.
        seeds: The seeds.
        rules: The update rules.
        given: The settings on the command line, such as "search.epochs".

    Raises:
        ConfigError: The settings cannot be used with a rule.
        UsageError: The command line sets the seed or, with several rules, the rule.
    """
    for key, flag in (("seed", "--seeds"), *((("oracle.rule", "--rules"),) if len(rules) > 1 else ())):
        if key in given:
            raise UsageError(f"--config.{key} has no effect in a sweep. Leave it out: {flag} gives the values.")
    found = []
    for rule in rules:
        changed = _with_rule(config, rule)
        checked = config.copy_and_resolve_references()
        with checked.unlocked():
            checked.update_from_flattened_dict(changed)
        validation.validate(checked)
        flags = tuple(f"--config.{key}={value}" for key, value in changed.items())
        found += [Planned(run_name(rule, seed), rule, seed, (f"--config.seed={seed}", *flags)) for seed in seeds]
    return found


def run_name(rule: str, seed: int) -> str:
    """Returns the name of a run, which no run of another rule or seed has."""
    return f"{rule}_seed_{seed}"


def _with_rule(config: ml_collections.ConfigDict, rule: str) -> dict[str, Any]:
    """Returns the settings that change with a rule. The options of other rules return to their defaults."""
    if rule == config.oracle.rule:
        return {}
    settings = Settings.parse(config)
    settings = settings.model_copy(update={"oracle": settings.oracle.model_copy(update={"rule": rule})})
    defaults = {key: value for key, value, _ in leaves(Settings())}
    reset = {key for key in unused(settings) if key.startswith("oracle.")}
    values = {key: value for key, value, _ in leaves(settings) if key in reset and value != defaults.get(key)}
    return {"oracle.rule": rule, **{key: defaults[key] for key in values}}


def identity(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns the settings that identify a sweep, as JSON values by dotted name: all but seed and rule."""
    return json.loads(
        json.dumps(
            {
                key: value
                for key, value, note in leaves(Settings.parse(config))
                if note.changes != (NOTHING,) and key not in ("seed", "oracle.rule")
            }
        )
    )


def require_same(root: str, current: Mapping[str, Any]) -> None:
    """Refuses a root that belongs to something else.

    Args:
        root: Absolute path of the sweep's root, which need not exist.
        current: The identity of the sweep.

    Raises:
        UsageError: The root holds a run, or another sweep.
    """
    path = os.path.join(root, FILE_NAME)
    if any(os.path.exists(os.path.join(root, name)) for name in ("artifacts", "summary.json", "pipeline.log")):
        raise UsageError(f"--root={root} is the root of a single run. Choose another --root for the sweep.")
    try:
        with open(path) as file:
            earlier = json.load(file)["identity"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path} is damaged. Restore it, or choose another --root.") from None
    for key in sorted(set(earlier) | set(current)):
        if earlier.get(key) != current.get(key):
            raise UsageError(
                f"--root={root} is the root of another sweep: {key} was {earlier.get(key)!r} and is now "
                f"{current.get(key)!r}. Choose another --root, or give the earlier settings."
            )
