"""models/runtime/messages.py."""

import pytest

from models.runtime.messages import some


@pytest.mark.parametrize(
    "texts, found",
    [("", ""), ("a", "a"), ("abc", "a, b, c"), ("abcd", "a, b, c and 1 more"), (iter("abcde"), "a, b, c and 2 more")],
)
def test_a_message_names_the_first_texts_and_counts_the_others(texts, found):
    assert some(texts, 3) == found
