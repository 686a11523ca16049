"""The demo's captions: raw and written texts side by side, and how well each fits its picture."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.view.run import Run


def beside(made: Run, truth: Path, shown: int = 8) -> list[str]:
    """Lines: raw and written texts of some samples whose written one was drawn, and over all samples how well each fits."""
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
    some = ((rows["text"][i].as_py(), rows["caption_synthetic"][i].as_py(), true[i]) for i in drawn[:shown])
    lines += [f"  {r[:32]:32} | {w[:32]:32} | {t[:48]}" for r, w, t in some]
    return [
        *lines,
        f"mean CLIP score {raw:.2f} raw, {written:.2f} written; a word of the true caption is in {hits(rows, 'text', true):,} raw texts, "
        f"{hits(rows, 'caption_synthetic', true):,} written, {hits(rows, 'chosen_text', true):,} of the texts chosen",
    ]


def hits(rows: pa.Table, column: str, true: list[str]) -> int:
    """Rows whose text has a word of the true caption."""
    from curate.synth.captioners.small import plain_words

    return sum(bool(set(plain_words(t or "")) & set(plain_words(w))) for t, w in zip(rows[column].to_pylist(), true))
