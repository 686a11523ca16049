"""`curate near`: is a new record a duplicate of what a set has, and of which row? By the rules that the set itself was made with."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.exact import ExactDedup
from curate.dedup.near import EXACT, NearDedup
from curate.dedup.phash import PerceptualHash
from curate.dedup.semantic import SemanticDedup
from curate.dedup.text import TextDedup
from curate.errors import PoolError, RecipeError
from curate.fetch.decoders import Decoders, DecodeTime
from curate.schema import STR, uid
from curate.score.part import SHIFT
from curate.select.exchange import frame_of
from curate.select.schemas import unified
from curate.selector import PUBLISHED, Selector
from curate.sources.formats import tables
from curate.store.atomic import Store
from curate.store.releases import located
from curate.view.run import Run

#: Columns of a table of records that may hold the bytes of a picture, also as `datasets` keeps them: {bytes, path}.
PICTURES = ("image", "jpg", "png", "webp")
_WHERE = ("key", "shard", "url", "text")
_BLANK = np.zeros((8, 8, 3), np.uint8)  # stands for what cannot be decoded: a picture of one colour has no hashes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Match:
    """A row that a record duplicates, by one rule. record: the record's number; run: the folder of the release that has the row; row: its
    uid, key, shard, url and text."""

    record: int
    rule: str
    similarity: float
    run: str
    row: dict[str, Any]


@dataclass(frozen=True)
class Lookup:
    """What a look-up found: for each rule that could be asked the name and the step that it follows, and the matches."""

    records: int
    rules: dict[str, str]
    matches: list[Match]


def look_up(run: Run, path: str) -> Lookup:
    """The rows of a finished run and of its earlier releases that the records of a file duplicate.

    path: a picture, or a table (Parquet, CSV, JSON lines) with some of the columns `text`, `url`, `image` (bytes), `sha256`, and the columns
    that the run's embeddings have. RecipeError if nothing in it can be compared.
    """
    records, columns = _records(path, run.recipe), set(run.sql("select * from images limit 0").columns)
    rules = {rule: s for rule, s in _rules(run.recipe).items() if set(s.reads) <= columns & set(records.column_names)}
    if not rules:
        raise RecipeError(f"{path}: has nothing to compare with {run.store.url}; that has {', '.join(sorted(columns))}")
    stores = [*(located(run.store, place) for place in run.recipe.get("onto", ())), run.store]
    best: dict[tuple[int, str], tuple[float, Match]] = {}
    for store, rows in _published(stores, sorted({c for s in rules.values() for c in s.reads})):
        for match in _matches(records, rows, rules, store.url):
            at = (match.record, match.rule)
            if at not in best or match.similarity > best[at][0]:
                best[at] = match.similarity, match
    return Lookup(len(records), {r: s.name for r, s in rules.items()}, [m for _, (_, m) in sorted(best.items())])


# ---- the rules


def _rules(recipe: dict[str, Any]) -> dict[str, Selector]:
    """Each rule with the bounds that the run's own step has, else with the defaults."""
    whole = {"clusters": 1, "probes": 1, "keep": "quality", "published": False, "centroids": ""}  # few records: no clusters
    return {
        "same pair": ExactDedup(("uid",)),
        "same bytes": ExactDedup(("sha256",)),
        "near picture": _like(recipe, NearDedup, {}),
        "near text": _like(recipe, TextDedup, {"table": "images"}),
        "near embedding": _like(recipe, SemanticDedup, whole),
    }


def _like(recipe: dict[str, Any], kind: type[Selector], instead: dict[str, Any]) -> Selector:
    steps = [s for s in recipe.get("steps", ()) if s.get("class") == kind.__name__ and s.get("table") == "images"]
    parameters = {f.name: steps[0][f.name] for f in fields(kind) if f.name in steps[0]} if steps else {}
    return kind(**{**parameters, **instead, "by": ()})


def _matches(records: pa.Table, rows: pa.Table, rules: dict[str, Selector], url: str) -> Iterator[Match]:
    """The duplicates among some rows. Those stay and are the better ones, so each record falls for the rows alone."""
    for rule, selector in rules.items():
        both = unified([t.select(["id", *dict.fromkeys(["uid", *selector.reads])]) for t in (records, rows)])
        for edge in selector.select(frame_of(both)).edges.table().to_pylist():
            if edge["id"] < PUBLISHED <= edge["survivor"]:
                row = rows.slice(edge["survivor"] - PUBLISHED, 1).select(
                    ["uid", *(c for c in _WHERE if c in rows.column_names)]
                )
                yield Match(edge["id"], rule, float(edge["similarity"]), url, row.to_pylist()[0])


def _published(stores: list[Store], reads: list[str]) -> Iterator[tuple[Store, pa.Table]]:
    """The kept rows of the ledgers, as many at a time as all pairs of pictures are found of."""
    for store in stores:
        waiting: list[pa.Table] = []
        names = [f"ledger/images/{name}" for name in store.names("ledger/images")]
        for name in names:
            rows = store.table(name, list(dict.fromkeys(["uid", "kept", *_WHERE, *reads])))
            waiting.append(rows.filter(rows["kept"]).drop_columns(["kept"]).replace_schema_metadata(None))
            if name == names[-1] or sum(map(len, waiting)) + len(rows) > EXACT // 2:
                whole, waiting = unified(waiting), []
                ids = pa.array(PUBLISHED + np.arange(len(whole)), pa.int64())
                yield store, whole.append_column("id", ids)


# ---- records


def _records(path: str, recipe: dict[str, Any]) -> pa.Table:
    """The records of a file, with `id` and what can be computed of them: uid, SHA-256, perceptual hashes, embeddings."""
    data = None if Path(path).suffix.lower() in (".parquet", ".csv", ".tsv", ".json", ".jsonl") else _bytes(path)
    if data is not None:
        rows, pictures = pa.table({"path": pa.array([path], STR)}), [data]
    else:
        rows = _table(path)
        pictures = _pictures(rows)
    if not len(rows) or len(rows) >= 1 << SHIFT:
        raise RecipeError(f"{path}: has {len(rows)} records")
    columns = {c: rows[c] for c in rows.column_names if c not in PICTURES}
    texts, urls = (rows[c].to_pylist() if c in columns else None for c in ("text", "url"))
    columns["id"] = pa.array(range(len(rows)), pa.int64())
    columns["uid"] = pa.array([uid(t, u) for t, u in zip(texts, urls)] if texts and urls else _unlike(len(rows)), STR)
    if pictures:
        columns = {**_seen(pictures, path, recipe, texts or [None] * len(rows)), **columns}
    return pa.table(columns)


def _table(path: str) -> pa.Table:
    try:
        return unified([table for table, _ in tables(path)])
    except (OSError, ValueError, pa.ArrowException) as e:
        raise RecipeError(f"{path}: cannot be read: {getattr(e, 'strerror', None) or e}") from e


def _unlike(count: int) -> list[str]:
    """Uids that no row has."""
    return [f"record {n}" for n in range(count)]


def _seen(pictures: list[bytes | None], path: str, recipe: dict[str, Any], texts: list[str | None]) -> dict[str, pa.Array]:
    """The SHA-256 of each file, and its perceptual hashes and embeddings; decoders run in a process of their own."""
    with Decoders(len(os.sched_getaffinity(0))) as decoders:
        decoded = decoders.decode(pictures, (None,), DecodeTime(3600))
    pixels = [None if isinstance(found, str) else found[0] for found in decoded]
    if not any(p is not None for p in pixels):
        raise RecipeError(
            f"{path}: no picture in it can be decoded; give a picture, or a table of records (Parquet, CSV, TSV, JSON lines)"
        )
    drawn = [_BLANK if p is None else p for p in pixels]
    hashed = PerceptualHash().run(pa.table({}), drawn)
    sums = pa.array([None if p is None else sha256(p).hexdigest() for p in pictures], STR)
    found = {"sha256": sums, **{c: hashed[c] for c in hashed.column_names}}
    for step in [s for s in recipe.get("steps", ()) if s.get("class") == "ClipEmbed"]:
        seen = pa.array([p is not None for p in pixels])
        vectors = _embedded(step, pa.table({"text": pa.array(texts, STR)}), drawn)
        found |= {c: pc.if_else(seen, v, pa.scalar(None, v.type)) for c, v in vectors.items()}
    return found


def _embedded(step: dict[str, Any], rows: pa.Table, pixels: list[np.ndarray]) -> dict[str, pa.Array]:
    """The embeddings of the run's own model; none where that cannot be had here, so that nothing is compared by them."""
    from curate.filters.clip_embed import ClipEmbed

    stage = ClipEmbed(model=step["model"], name=step["step"])
    stage.precision = step.get("precision", stage.precision)
    try:
        stage.preflight({})
        stage.load()
    except RecipeError as e:
        log.warning("nothing is compared by %s: %s", ", ".join(stage.adds()), e)
        return {}
    made = stage.run(rows, pixels)
    return {c: made[c].combine_chunks() for c in made.column_names}


def _pictures(rows: pa.Table) -> list[bytes | None]:
    name = next((c for c in PICTURES if c in rows.column_names), None)
    values = rows[name].to_pylist() if name else []
    return [v.get("bytes") if isinstance(v, dict) else v for v in values]


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise PoolError(f"{path}: cannot be read: {e.strerror}") from e
