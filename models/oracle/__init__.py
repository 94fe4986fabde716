"""A KerasTuner oracle that learns a multinomial distribution over architectures (arXiv 1905.07529).

The modules of this folder need NumPy; only oracle.py needs KerasTuner. All imports within the folder are relative,
because the folder is also the content of the wheel `multinomial-oracle` (pyproject.toml).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .oracle import MultinomialOracle, TooManyFailures

__all__ = ["MultinomialOracle", "TooManyFailures"]


def __getattr__(name: str) -> Any:
    """Imports the oracle on first use, because KerasTuner imports Keras. The rules do not need Keras."""
    if name in __all__:
        from . import oracle

        return getattr(oracle, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
