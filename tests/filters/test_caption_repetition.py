"""Repeated words."""

import pyarrow as pa
import pytest

from curate.filters.caption_repetition import CaptionRepetition


def test_share_of_words_that_came_before():
    live = pa.table(
        {"text": pa.array(["Dog, dog dog!", "a red car", "one two three four one", "", None, "猫猫猫猫"], pa.large_string())}
    )
    scores = CaptionRepetition().run(live)
    assert scores["caption_repetition"].to_pylist() == [pytest.approx(2 / 3), 0, pytest.approx(0.2), 0, None, 0.5]


def test_vowel_signs_tell_words_apart():
    live = pa.table({"text": pa.array(["लड़के का घर और लड़की की किताब"], pa.large_string())})
    assert CaptionRepetition().run(live)["caption_repetition"].to_pylist() == [0]
