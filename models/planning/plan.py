"""A plan: the settings that fit a budget, the reasons for them, and the planned seconds of each stage of the run."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from models.settings import Settings

# The stages of a run in their order, with their names in the terminal and the report.
BEFORE, PLANNING, SEARCH, TRAINING = "start and data", "planning", "search", "training"
BASELINES, EVALUATION, REPORT, RESERVE = "baselines", "evaluation", "push and report", "reserve"
STAGES = (BEFORE, PLANNING, SEARCH, TRAINING, BASELINES, EVALUATION, REPORT, RESERVE)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan that a planner writes for the later stages.

    Attributes:
        minutes: The budget; 0 if there is no budget and nothing was planned.
        choices: Dotted name of a setting -> its value in this run.
        reasons: One sentence for each decision.
        warnings: The warnings to print before hours are spent.
        seconds: Stage -> its planned seconds; for a stage that is over, the used seconds.
        over: The stages that were over when the plan was made.
        used: The seconds that the run had used when the plan was made.
        figures: The measured figures: name -> JSON value.
        first: In a corrected plan, stage -> the seconds that were planned before the search; otherwise empty.
    """

    minutes: float
    choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    over: tuple[str, ...] = ()
    used: float = 0.0
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    first: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Plan":
        """Returns the plan of a JSON document.

        Raises:
            TypeError: The document has other fields.
        """
        lists = {name: tuple(document[name]) for name in ("reasons", "warnings", "over")}
        return cls(**{**document, **lists})

    def document(self) -> dict[str, Any]:
        """Returns the plan as a JSON document."""
        return dataclasses.asdict(self)

    def apply(self, settings: Settings) -> Settings:
        """Returns settings with the plan's choices.

        Raises:
            ConfigError: A choice is out of bounds.
        """
        return apply(self.choices, settings)

    def after(self, stage: str) -> float:
        """Returns the planned seconds of all stages after a stage, without the reserve."""
        later = STAGES[STAGES.index(stage) + 1 :]
        return sum(self.seconds.get(name, 0.0) for name in later if name != RESERVE)

    def lines(self) -> Iterator[str]:
        """Yields the lines of the plan that the terminal shows."""
        yield f"Plan for {self.minutes:g} minutes, {self.used:.0f} s of them used:"
        for name in STAGES:
            if name in self.seconds:
                took = "  (over)" if name in self.over else ""
                yield f"  {name:<16}{self.seconds[name]:>8.0f} s{took}"
        for name, value in self.choices.items():
            yield f"  config.{name} = {value:g}"
        yield from (f"  {reason}" for reason in self.reasons)


def apply(choices: Mapping[str, Any], settings: Settings) -> Settings:
    """Returns settings in which some values are replaced.

    Args:
        choices: Dotted name -> value.
        settings: All settings.

    Raises:
        ConfigError: A choice is unknown or out of bounds.
    """
    values = json.loads(settings.to_json())
    for key, value in choices.items():
        *sections, name = key.split(".")
        section = values
        for part in sections:
            section = section[part]
        section[name] = value
    return Settings.parse(values)
