"""Characters are code points."""

import pyarrow as pa

from curate.filters.caption_chars import CaptionChars


def test_code_points_are_counted():
    live = pa.table({"text": pa.array(["five5", "six666", "猫がいる", "", None], pa.large_string())})
    table = CaptionChars().run(live)
    assert table["caption_chars"].to_pylist() == [5, 6, 4, 0, None]
    assert CaptionChars().judge(table).to_pylist() == ["caption_chars", None, "caption_chars", "caption_chars", "caption_chars"]
