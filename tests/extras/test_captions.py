"""The demo's captions: which rows are captioned, and what is said of them."""

import pyarrow.parquet as pq
from synth.writers import Parrot
from tiny import tiny_clip

from curate.extras.demo.captions import beside, captioned, sayless
from curate.runner.driver import run
from curate.sources.url_pairs import UrlPairs


def test_rows_that_say_nothing_are_captioned_beside_their_raw_text(drawn_web, tmp_path):
    listed = sayless(drawn_web.pairs)
    rows, truth = pq.read_table(listed), pq.read_table(drawn_web.truth)
    said = {t["url"]: t for t in truth.to_pylist()}
    assert len(rows) >= 5 and {said[u]["fault"] for u in rows["url"].to_pylist()} == {"boilerplate"}
    recipe = captioned(UrlPairs(str(listed)), Parrot(), tiny_clip(tmp_path / "clip"), 0, ("127.0.0.0/8",))
    with drawn_web.serve():
        made = run(recipe, str(tmp_path / "run"), engine="local")
    found = made.sql("select url, text, caption_small, chosen_text, chosen_origin, kept from images").fetchall()
    assert len(found) == len(rows)
    for url, text, caption, chosen, origin, kept in found:
        assert text == said[url]["text"] and caption and kept == (origin is not None)
        assert chosen == {"raw": text, "small": caption, None: None}[origin]
    lines = beside(made, drawn_web.truth)
    assert lines[0].startswith(f"Captions for {len(rows)} pictures") and "rows fell" in lines[-1]
