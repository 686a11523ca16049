"""The demo's captions: what is said of those that were written."""

import pyarrow as pa
import pyarrow.parquet as pq

from curate.extras.demo.captions import caption_summary


class Ran:
    """A run of which only its samples are asked for."""

    def __init__(self, rows: list[dict]):
        self.rows = rows

    def sql(self, query: str):
        return self

    def to_arrow_table(self) -> pa.Table:
        return pa.Table.from_pylist(self.rows)


def row(n: int, text: str, written: str, origin: str) -> dict:
    scores = {"clip_score": 0.25, "caption_synthetic_score": 0.5}
    chosen = {"chosen_text": written if origin == "synthetic" else text, "chosen_origin": origin}
    return {"url": str(n), "text": text, "caption_synthetic": written, **scores, **chosen}


def test_written_captions_stand_beside_raw_texts_and_the_truth(tmp_path):
    pq.write_table(pa.table({"url": ["0", "1"], "caption": ["a red car", "a blue boat"]}), tmp_path / "truth.parquet")
    made = Ran([row(0, "fast", "red car", "synthetic"), row(1, "boat", "blue", "raw")])
    lines = caption_summary(made, tmp_path / "truth.parquet")
    assert lines[0].startswith("Captions written for 2 samples, drawn in 1 of them")
    assert [part.strip() for part in lines[1].split("|")] == ["fast", "red car", "a red car"] and len(lines) == 3
    assert "0.25 raw, 0.50 written" in lines[2] and "in 1 raw texts, 2 written, 2 of the texts chosen" in lines[2]


def test_without_captions_that_is_said(tmp_path):
    assert caption_summary(Ran([]), tmp_path / "none") == ["no picture could be captioned"]
