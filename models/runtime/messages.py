"""Parts of messages."""

from collections.abc import Iterable


def some(texts: Iterable[str], most: int = 5) -> str:
    """Returns the first texts of a list for a message, and the number of the others.

    Args:
        texts: The texts.
        most: The largest number of texts to name, at least 1.
    """
    texts = list(texts)
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
