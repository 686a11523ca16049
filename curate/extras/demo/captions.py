"""The demo's summary of synthetic captions: examples beside their raw texts, and CLIP scores of both."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.view.run import Run


def caption_summary(made: Run, truth: Path, shown: int = 8) -> list[str]:
    """Lines of text: raw and synthetic captions of `shown` samples that got the synthetic one, and the mean CLIP scores of both."""
    rows = made.sql("""select url, text, clip_score, caption_synthetic, caption_synthetic_score, chosen_text, chosen_origin
                       from images where kept and caption_synthetic is not null order by uid""").to_arrow_table()
    if not len(rows):
        return ["no picture could be captioned"]
    known = pq.read_table(truth, columns=["url", "caption"])
    titles = dict(zip(known["url"].to_pylist(), known["caption"].to_pylist()))
    true = [titles.get(u) or "" for u in rows["url"].to_pylist()]
    drawn = [i for i, o in enumerate(rows["chosen_origin"].to_pylist()) if o == "synthetic"]
    raw, written = (np.nanmean(np.array(rows[c].to_pylist(), float)) for c in ("clip_score", "caption_synthetic_score"))
    lines = [f"Captions written for {len(rows):,} samples, drawn in {len(drawn):,} of them (raw | written | the truth):"]
    examples = ((rows["text"][i].as_py(), rows["caption_synthetic"][i].as_py(), true[i]) for i in drawn[:shown])
    lines += [f"  {r[:32]:32} | {w[:32]:32} | {t[:48]}" for r, w, t in examples]
    return [
        *lines,
        f"mean CLIP score {raw:.2f} raw, {written:.2f} written; a word of the true caption is in {matching_rows(rows, 'text', true):,} raw texts, "
        f"{matching_rows(rows, 'caption_synthetic', true):,} written, {matching_rows(rows, 'chosen_text', true):,} of the texts chosen",
    ]


def matching_rows(rows: pa.Table, column: str, true: list[str]) -> int:
    """The number of rows whose text shares a word with the true caption."""
    from curate.synth.captioners.small import plain_words

    return sum(bool(set(plain_words(t or "")) & set(plain_words(w))) for t, w in zip(rows[column].to_pylist(), true))
