"""The demo's captions: rows whose raw text says nothing are captioned by the small captioner, raw and synthetic side by side."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.fetch.stage import Fetch
from curate.filters.boilerplate_text import boilerplate
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.image_side import ImageSide
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources.url_pairs import UrlPairs
from curate.synth.caption import Caption
from curate.synth.captioners import Decoding, named
from curate.synth.captioners.base import Writer
from curate.synth.choose import RawElseSynthetic
from curate.synth.faults import CaptionFaults
from curate.synth.score import CaptionScore
from curate.view.look import clean
from curate.view.progress import span
from curate.view.run import Run

#: Pictures captioned, at most: what two cores do in half a minute.
MOST = 100
#: The score from which on a text fits its picture, as in the main job; of the small CLIP.
FITS = 0.2


def caption_job(
    out: str, pairs: Path, truth: Path, engine: str, seed: int, allow_private: tuple[str, ...], progress: Any
) -> int:
    """Caption the rows of the list whose text is boilerplate; prints what was chosen beside the raw text, and how often it names the
    picture. The web must be served. 0 if all went well."""
    began = time.monotonic()
    empty = sayless(pairs)
    if not empty:
        return 0
    recipe = captioned(UrlPairs(str(empty)), named("small"), "small", seed, allow_private)
    made = run(recipe, out, engine, part_size=1_000, progress=progress)
    print(
        clean(
            "\n".join(
                [*beside(made, truth), f"look:  {made.store.path('report.html')}  (after {span(time.monotonic() - began)})"]
            )
        ),
        flush=True,
    )
    return 1 if made.problems else 0


def sayless(pairs: Path) -> Path | None:
    """A list of the rows whose text is mostly boilerplate, as a file beside the whole one; None if there are none."""
    rows = pq.read_table(pairs)
    texts = rows["text"].to_pylist()
    some = [i for i, t in enumerate(texts) if t and t.strip() and boilerplate(t) > 0.5][:MOST]
    file = pairs.with_name("boilerplate.parquet")
    pq.write_table(rows.take(some), file)
    return file if some else None


def captioned(source: UrlPairs, captioner: Writer, model: str, seed: int, allow_private: tuple[str, ...] = ()) -> Recipe:
    """Raw where it fits the picture, else the caption where that fits; rows with neither fall (Nguyen et al., arXiv 2307.10350)."""
    return Recipe(
        source=source,
        score=[Fetch(allow_private=allow_private), ImageSide(min=32), ClipEmbed(model=model), ClipScore()],
        synth=[
            Caption(captioner, decoding=Decoding(max_tokens=16), seed=seed, name="caption_small"),
            CaptionFaults("caption_small", without=frozenset({"short", "cut_off"})),
            CaptionScore(model, of="caption_small"),
            RawElseSynthetic("small", min=FITS, faults=True),
        ],
        shards=Shards(size=500, seed=seed),
        name="demo-captions",
    )


def beside(made: Run, truth: Path, shown: int = 8) -> list[str]:
    """Lines: raw and chosen texts of some rows, and over all rows how well each fits."""
    rows = made.sql("""select url, text, clip_score, caption_small, caption_small_score, chosen_text, chosen_origin from images
                       where caption_small is not null order by uid""").to_arrow_table()
    if not len(rows):
        return ["no row with a boilerplate text could be captioned"]
    known = pq.read_table(truth, columns=["url", "caption"])
    titles = dict(zip(known["url"].to_pylist(), known["caption"].to_pylist()))
    true = [titles.get(u) or "" for u in rows["url"].to_pylist()]
    chosen = rows.filter(pc.is_valid(rows["chosen_text"]))
    synthetic = int(pc.sum(pc.equal(chosen["chosen_origin"], "small")).as_py() or 0)
    raw, made_up = (np.nanmean(np.array(rows[c].to_pylist(), float)) for c in ("clip_score", "caption_small_score"))
    lines = [f"Captions for {len(rows)} pictures whose text says nothing (raw | written by the small captioner | the truth):"]
    some = [i for i, o in enumerate(rows["chosen_origin"].to_pylist()) if o == "small"][:shown]
    lines += [
        f"  {rows['text'][i].as_py()[:32]:32} | {rows['caption_small'][i].as_py()[:32]:32} | {true[i][:48]}" for i in some
    ]
    return [
        *lines,
        f"{synthetic} captions chosen, {len(rows) - len(chosen)} rows fell, {len(chosen) - synthetic} kept their text; mean CLIP score "
        f"{raw:.2f} raw, {made_up:.2f} written; a word of the true caption is in {hits(rows, 'text', true)} raw texts, "
        f"{hits(rows, 'caption_small', true)} written, {hits(rows, 'chosen_text', true)} of {len(chosen)} chosen",
    ]


def hits(rows: pa.Table, column: str, true: list[str]) -> int:
    """Rows whose text has a word of the true caption."""
    from curate.synth.captioners.small import plain_words

    return sum(bool(set(plain_words(t or "")) & set(plain_words(w))) for t, w in zip(rows[column].to_pylist(), true))
