"""Parts of messages."""

from collections.abc import Iterable


def some(texts: Iterable[str], most: int = 5, count: int | None = None) -> str:
    """Returns the first texts of a list for a message, and the number of the others.

    Args:
        texts: The texts.
        most: The largest number of texts to name, at least 1.
        count: Number of all texts, if `texts` has only the first of them.
    """
    texts = list(texts)
    others = (len(texts) if count is None else count) - len(texts[:most])
    return ", ".join(texts[:most]) + (f" and {others} more" if others else "")
