"""The base class of the update rules, and functions that check options. registry.py lists the rules."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, cast

import numpy as np

from ..record import Record
from ..values import is_integer, is_real


def option(default: Any, meaning: str) -> Any:
    """Returns the dataclass field of an option.

    Args:
        default: The default value.
        meaning: A sentence for the documentation, with unit and range; it is the field's metadata "meaning".
    """
    return dataclasses.field(default=default, metadata={"meaning": meaning})


class Rule:
    """Base class of the update rules; a subclass is a dataclass whose fields are its options.

    A config names a custom rule by its dotted path, "package.module.ClassName". This path is also the rule's `name`,
    unless the class sets another name.
    """

    name: ClassVar[str]
    # Rounds in which every operation is sampled equally often, before samples follow the distribution.
    warmup_rounds: ClassVar[int] = 0

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = f"{cls.__module__}.{cls.__qualname__}"

    def update(self, record: Record) -> np.ndarray:
        """Returns the probabilities after the newest evaluation, float64 (choices, operations).

        Args:
            record: The evaluations up to the newest; `record.probabilities` are the probabilities before it.
        """
        raise NotImplementedError

    def sample(self, record: Record, generator: np.random.Generator) -> np.ndarray:
        """Returns the next architecture: the index of an operation per choice, int64 (choices,)."""
        cumulative = np.cumsum(record.probabilities, axis=1)
        # The division by the last value ensures that rounding errors cannot lead to an index beyond the last operation.
        draws = generator.random(len(cumulative))[:, np.newaxis]
        return (draws >= cumulative / cumulative[:, -1:]).sum(axis=1)

    def recommend(self, record: Record) -> np.ndarray:
        """Returns the architecture that the rule recommends, int64 (choices,): the most probable operations."""
        return record.probabilities.argmax(axis=1)

    def predict(self, record: Record, architectures: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the expected accuracies of architectures, up to a constant; None if the rule has no such model.

        Args:
            record: The evaluations.
            architectures: int64 (architectures, choices), -1 where a choice is not active.

        Returns:
            The posterior means, float64 (architectures,), and their covariances, float64 (architectures,
            architectures). All means may differ from the accuracies by the same unknown constant.
        """
        return None

    def effects(self, record: Record) -> np.ndarray | None:
        """Returns what each operation adds to the accuracy that the rule's model expects, in any unit.

        A rule has `effects` if its model is a sum over the choices, and `expected` if it is not. A rule without either
        has no model: then the probabilities alone rank architectures.

        Returns:
            float64 (choices, operations), finite, larger is better; entries without an operation have no meaning.
        """
        return None

    def expected(self, record: Record, architectures: np.ndarray) -> np.ndarray | None:
        """Returns only the means of `predict`. This is fast enough to rank many architectures.

        Args:
            record: The evaluations.
            architectures: int64 (architectures, choices), -1 where a choice is not active.

        Returns:
            float64 (architectures,), larger is better; None if the rule has no model, or if its model is a sum (see
            `effects`).
        """
        return None

    def left_out(self, record: Record) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the accuracy of each evaluated architecture as predicted from all others, and as observed.

        Returns:
            Two arrays, each float64 (architectures,): predicted and observed, in the same unit. None if the rule has no
            such model.
        """
        return None

    def options(self) -> dict[str, Any]:
        """Returns the option names and values, as `registry.create_rule` accepts them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(cast(Any, self)) if f.init}


def check_one_of(rule: Rule, option: str, allowed: tuple[str | bool, ...]) -> None:
    """Checks an option with few values.

    Raises:
        ValueError: The value is not allowed.
    """
    value = getattr(rule, option)
    # The types are compared too, because 1 equals True.
    if not any(isinstance(value, type(choice)) and value == choice for choice in allowed):
        raise ValueError(
            f"{option} of the rule {rule.name!r}: found {value!r}; expected one of {', '.join(map(repr, allowed))}"
        )


def check_positive(rule: Rule, *options: str) -> None:
    """Checks numeric options.

    Raises:
        ValueError: A value is not a finite number above 0.
    """
    for option in options:
        value = getattr(rule, option)
        if not is_real(value) or value <= 0:
            raise ValueError(f"{option} of the rule {rule.name!r}: found {value!r}; expected a finite number above 0")


def check_whole(rule: Rule, *options: str) -> None:
    """Checks integer options.

    Raises:
        ValueError: A value is not an integer of at least 1.
    """
    for option in options:
        value = getattr(rule, option)
        if not is_integer(value) or value < 1:
            raise ValueError(f"{option} of the rule {rule.name!r}: found {value!r}; expected a whole number, 1 or more")


def check_floor(rule: Any) -> None:
    """Checks the option `floor`.

    Raises:
        ValueError: The value is not a number from 0 to below 1.
    """
    if not is_real(rule.floor) or not 0 <= rule.floor < 1:
        raise ValueError(f"floor of the rule {rule.name!r}: found {rule.floor!r}; expected a number from 0 to below 1")
