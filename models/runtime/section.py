"""Sections of settings. A setting is a typed field with bounds, a meaning, and the results that it changes.

models/settings.py declares the settings with this module, which imports neither TensorFlow nor Keras.
"""

import collections
import dataclasses
import difflib
import json
import math
import textwrap
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, cast

import pydantic
from pydantic import Field
from pydantic.fields import FieldInfo

# The results that a setting can change: the examples; the result of the search or of the training, which then starts
# from the beginning; the steps afterwards; the plan of a budget, which chooses other settings (docs/budget.md); or
# nothing, if only time and memory change.
EXAMPLES, SEARCH, TRAINING, AFTERWARDS = "examples", "search", "training", "afterwards"
PLAN, NOTHING = "plan", "nothing"

_WIDTH = 120  # of the lines of a document


class ConfigError(ValueError):
    """Reports impossible settings. The message has a line for each: the key, the value found and the value expected."""


@dataclasses.dataclass(frozen=True)
class Note:
    """Facts about a setting besides its type, default and bounds.

    Attributes:
        changes: The results that change with the setting: some of the constants above.
        source: The source of the default.
        expected: The allowed values in words; "" derives them from type and bounds.
        runtime: The parameter of a compiled pipeline that sets another value at its start; "" if there is none.
        network: Whether the setting describes a network. A search space may have no use for such a setting.
        objective: The only search objective that has a use for the setting; "" if all have.
        memory: Whether the memory that a step needs depends on the setting (pipeline/memory_plan.py).
        scales_with_batch: Whether the value is lowered in proportion if the batch is lowered to fit into memory.
        variants: For a field whose value can be one of several section types: pydantic's tag -> section type.
    """

    changes: tuple[str, ...]
    source: str = ""
    expected: str = ""
    runtime: str = ""
    network: bool = False
    objective: str = ""
    memory: bool = False
    scales_with_batch: bool = False
    variants: Mapping[str, type["Section"]] = dataclasses.field(default_factory=dict)


def setting(
    default: Any,
    meaning: str,
    *changes: str,
    source: str = "",
    expected: str = "",
    runtime: str = "",
    network: bool = False,
    objective: str = "",
    memory: bool = False,
    scales_with_batch: bool = False,
    variants: Mapping[str, type["Section"]] | None = None,
    **bounds: Any,
) -> Any:
    """Declares a setting.

    Args:
        default: The value of the setting if a config does not set it.
        meaning: One line of explanation.
        changes, source, expected, runtime, network, objective, memory, scales_with_batch, variants: See `Note`.
        bounds: Bounds as in pydantic: ge, gt, le, lt.
    """
    note = Note(changes, source, expected, runtime, network, objective, memory, scales_with_batch, variants or {})
    return Field(default, description=meaning, json_schema_extra=cast(Any, {"note": note}), **bounds)


def note(field: FieldInfo) -> Note:
    """Returns the note of a declared setting."""
    return cast(dict[str, Any], field.json_schema_extra)["note"]


_Section = typing.TypeVar("_Section", bound="Section")


class Section(pydantic.BaseModel):
    """A group of settings. A section is immutable and refuses unknown names and values out of bounds."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def to_json(self, with_effect: bool = False) -> str:
        """Returns the section as JSON text; equal settings give equal texts.

        Args:
            with_effect: Whether to leave out the settings that change nothing but time and memory.
        """
        left_out = {name for name, _, known in leaves(self) if with_effect and known.changes == (NOTHING,)}
        return json.dumps(self.model_dump(mode="json", exclude=left_out), sort_keys=True)

    @classmethod
    def from_json(cls: type[_Section], text: str, **changed: Any) -> _Section:
        """Returns the section of a text from `to_json`.

        Args:
            text: The JSON.
            changed: Settings with other values than in the text.

        Raises:
            ConfigError: A setting is unknown or out of bounds.
        """
        return cls.parse({**json.loads(text), **changed}, cls.__name__.lower())

    @classmethod
    def parse(cls: type[_Section], values: Mapping[str, Any], section: str = "") -> _Section:
        """Checks values and returns a section with them; a missing value takes its default.

        Args:
            values: Names and values, nested for sections of sections.
            section: The section's name, for messages; "" for all settings.

        Raises:
            ConfigError: A setting is unknown or out of bounds; the message names all problems.
        """
        try:
            return cls.model_validate(_plain(values))
        except pydantic.ValidationError as error:
            prefix = f"config.{section}." if section else "config."
            told = dict.fromkeys(_told(cls, problem, prefix) for problem in error.errors())
            raise ConfigError("\n".join(told)) from None


def _plain(values: Any) -> Any:
    """Returns a mapping of any kind as a dict, and any other value as it is."""
    if isinstance(values, Mapping) or hasattr(values, "items"):
        return {str(name): _plain(value) for name, value in cast(Mapping[Any, Any], values).items()}
    return values


def value(section: Section, key: str) -> Any:
    """Returns the value of a dotted name."""
    for part in key.split("."):
        section = getattr(section, part)
    return section


def leaves(section: Section, prefix: str = "") -> Iterator[tuple[str, Any, Note]]:
    """Yields dotted name, value and note of every setting; an option of a custom space may change the memory too."""
    for name, value in section:
        field = type(section).model_fields.get(name)
        if isinstance(value, Section):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, note(field) if field else Note((SEARCH,), memory=True)


def _told(model: type[Section], problem: Mapping[str, Any], prefix: str) -> str:
    """Returns the message for a problem that pydantic found: key, value found, value expected."""
    path: list[str] = []
    field: FieldInfo | None = None
    section: type[Section] | None = model
    for part in problem["loc"]:
        if section is not None and part in section.model_fields:
            field = section.model_fields[part]
            path.append(str(part))
            section = _section(field)
        elif field is not None and part in note(field).variants:
            section = note(field).variants[part]
        else:
            if problem["type"] == "extra_forbidden":
                path.append(str(part))
            break
    key = prefix + ".".join(map(str, path))
    if problem["type"] == "extra_forbidden":
        names = list(section.model_fields) if section else []
        close = difflib.get_close_matches(path[-1], names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"{key}: there is no such setting; expected {', '.join(names)}.{hint}"
    if section is not None:  # a check of the whole section, such as a rule's own
        return f"{key}: {problem.get('ctx', {}).get('error', problem['msg'])}."
    assert field is not None, problem
    return f"{key}: found {problem['input']!r}; expected {expected(field)}."


def _section(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    if isinstance(kind, types.GenericAlias):  # tuple[str, ...], which counts as a type
        return None
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def expected(field: FieldInfo) -> str:
    """Returns the allowed values of a setting in words."""
    if note(field).expected:
        return note(field).expected
    kind = field.annotation
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(kind)))
    bounds: dict[str, float] = {}
    for constraint in field.metadata:
        bounds.update(
            {name: getattr(constraint, name) for name in ("ge", "gt", "le", "lt") if hasattr(constraint, name)}
        )
    low, high = bounds.get("ge", bounds.get("gt", -math.inf)), bounds.get("le", bounds.get("lt", math.inf))
    if high < math.inf:
        ends = (" (excluded)" if "gt" in bounds else "", " (excluded)" if "lt" in bounds else "")
        return f"a number from {low}{ends[0]} to {high}{ends[1]}"
    if low > -math.inf:
        whole = "a whole number, " if kind is int else ""
        return whole + (f"more than {low}" if "gt" in bounds else f"{low} or more")
    return _kind(kind)


def _kind(kind: Any) -> str:
    names = {str: "a text", bool: "True or False", int: "a whole number", float: "a number", dict: "a mapping"}
    if kind in names:
        return names[kind]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(_kind(part) for part in typing.get_args(kind))
    return names.get(typing.get_origin(kind), "texts" if typing.get_origin(kind) is tuple else "None")


def markdown(
    section: Section, prefix: str = "", suffix: str = "", meaning: str = "", left_out: Collection[str] = ()
) -> Iterator[str]:
    """Yields the lines of a table of each section's settings.

    Args:
        section: The section.
        prefix: The section's dotted name with a dot at its end; "" for all settings.
        suffix: A text after the heading.
        meaning: What distinguishes the section from others of the same type; "" if there are none.
        left_out: Names of settings that another table contains.
    """
    about = (section.__doc__ or "").strip().splitlines()[0]
    more = f" {meaning[0].upper()}{meaning[1:]}." if meaning else ""
    yield from ("", f"## config.{prefix}".rstrip(".") + suffix, "", *textwrap.wrap(about + more, _WIDTH), "")
    yield "| setting | default | allowed | meaning | source | changes | parameter |"
    yield "|---|---|---|---|---|---|---|"
    fields = type(section).model_fields
    for name, value in section:
        if isinstance(value, Section) or name in left_out:
            continue
        known = note(fields[name])
        cells = (
            f"`{prefix}{name}`",
            f"`{value!r}`",
            expected(fields[name]),
            fields[name].description or "",
            known.source,
            ", ".join(known.changes),
            known.runtime and f"`{known.runtime}`",
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    kinds = collections.Counter(str(field.annotation) for field in fields.values())
    for name, value in section:
        if isinstance(value, Section):
            meaning = (fields[name].description or "") if kinds[str(fields[name].annotation)] > 1 else ""
            yield from markdown(value, f"{prefix}{name}.", meaning=meaning)
            usual = type(value).model_fields
            for tag, variant in note(fields[name]).variants.items():
                if set(variant.model_fields) - set(usual):
                    yield from markdown(variant(), f"{prefix}{name}.", f" ({tag})", left_out=usual)
