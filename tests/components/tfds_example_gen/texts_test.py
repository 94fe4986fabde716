"""Texts: a sequence of strings in one block."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.tfds_example_gen.texts import Texts


@given(st.lists(st.text(st.characters(blacklist_categories=("Cs",)))), st.slices(20))
def test_texts_are_a_sequence_like_a_list(expected, part):
    texts = Texts(expected[:2])
    texts.extend(expected[2:])
    assert list(texts) == expected
    assert len(texts) == len(expected)
    assert texts[part] == expected[part]
    assert [texts[-1 - index] for index in range(len(expected))] == expected[::-1]
    with pytest.raises(IndexError):
        texts[len(expected)]


def test_a_text_needs_its_bytes_and_8_more():
    paths = [f"train/n01440764/n01440764_{number:05}.JPEG" for number in range(10_000)]
    assert len(pickle.dumps(Texts(paths))) < 10_000 * (len(paths[0]) + 9)
