"""A KerasTuner oracle that learns a multinomial distribution over architectures (arXiv 1905.07529).

The folder needs NumPy, and KerasTuner in oracle.py alone. It is also the wheel `multinomial-oracle` (pyproject.toml):
all of its imports are relative.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .oracle import MultinomialOracle

__all__ = ["MultinomialOracle"]


def __getattr__(name: str) -> Any:
    """Imports the oracle when it is asked for: KerasTuner brings Keras and its backend, which the rules do without."""
    if name == "MultinomialOracle":
        from .oracle import MultinomialOracle

        return MultinomialOracle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
