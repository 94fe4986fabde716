"""Checks and conversions of numbers from outside, and numbers in messages."""

from __future__ import annotations

import decimal
import math
import numbers
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Returns a NumPy number as a Python number, which JSON can store, and any other value as it is."""
    return value.item() if isinstance(value, np.generic) else value


def is_integer(value: Any) -> bool:
    """Returns whether a value is an integer of Python or NumPy; a bool does not count as one."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """Returns whether a value is a finite number of Python or NumPy; a bool does not count as one."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def integer(name: str, value: Any, least: int = 0) -> int:
    """Returns an argument as an int.

    Args:
        name: The argument's name, for the error message.
        value: An integer of Python or NumPy.
        least: The smallest value allowed.

    Raises:
        ValueError: The value is not an integer, or it is below the smallest value allowed.
    """
    if not is_integer(value) or value < least:
        raise ValueError(f"{name}: found {value!r}; expected a whole number, {least} or more")
    return int(value)


def shown(number: float) -> str:
    """Returns the text of a finite number, with all of its digits."""
    return f"{int(number):,}" if float(number).is_integer() else f"{number:,}"


def shown_limit(least: float) -> str:
    """Returns the text of a limit that a cost is within: the cost, rounded up to four digits or to a whole number.

    Args:
        least: The cost, a finite number.
    """
    exact = decimal.Decimal(float(least))
    if exact == exact.to_integral_value():
        return shown(least)
    digit = decimal.Decimal(1).scaleb(min(exact.adjusted() - 3, 0))
    return shown(float(exact.quantize(digit, decimal.ROUND_CEILING)))
