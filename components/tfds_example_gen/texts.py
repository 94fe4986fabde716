"""Many texts in one block of memory."""

import array
from collections.abc import Iterable, Sequence
from typing import overload


class Texts(Sequence[str]):
    """A sequence of texts that needs their bytes and 8 bytes for each; a list needs about 60 bytes more for each."""

    def __init__(self, texts: Iterable[str] = ()):
        """Takes the first texts."""
        self._block, self._starts = bytearray(), array.array("Q", [0])
        self.extend(texts)

    def extend(self, texts: Iterable[str]) -> None:
        """Appends texts."""
        for text in texts:
            self._block += text.encode()
            self._starts.append(len(self._block))

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index):
        where = range(len(self))[index]
        if isinstance(where, range):
            return [self[position] for position in where]
        return self._block[self._starts[where] : self._starts[where + 1]].decode()
