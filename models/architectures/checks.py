"""Checks that the genotypes share, and the error that they raise."""

from collections.abc import Mapping
from typing import Any, TypeGuard, cast


class GenotypeError(ValueError):
    """A genotype is malformed. The message names the field, what was found and what is allowed."""


def require_genotype(genotype: object, kind: type) -> None:
    """Raises a GenotypeError if a genotype is of another space than a network is made for."""
    if not isinstance(genotype, kind):
        raise GenotypeError(
            f"genotype: found a {type(genotype).__name__}; expected a {kind.__name__}: choose the "
            "network and the search space that the genotype was made for"
        )


def require_fields(what: str, value: Any, required: set[str], optional: set[str]) -> None:
    if not isinstance(value, Mapping):
        raise GenotypeError(f"{what}: found {value!r}; expected an object")
    names = {str(name) for name in cast(Mapping[Any, Any], value)}
    missing, unknown = required - names, names - required - optional
    if missing or unknown:
        problem = " and ".join(
            f"{kind} {', '.join(map(repr, sorted(named)))}"
            for kind, named in (("missing", missing), ("unknown", unknown))
            if named
        )
        allowed = ", ".join(sorted(required | optional))
        raise GenotypeError(f"{what}: {problem}; expected the fields {allowed}")


def require_count(field: str, value: Any) -> None:
    if not is_int(value) or value < 1:
        raise GenotypeError(f"{field}: found {value!r}; expected a whole number, 1 or more")


def require_stride(field: str, value: Any) -> None:
    if not is_int(value) or value not in (1, 2):
        raise GenotypeError(f"{field}: found {value!r}; expected 1 or 2")


def is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


def is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
