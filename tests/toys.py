"""A small source, stages and selectors with known outcomes, for tests of the engine; no network, no models."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.errors import PoolError
from curate.recipe import Recipe, Shards
from curate.selector import EDGES, Selection, Selector, coin
from curate.source import Source, expand
from curate.stage import Filter, Stage

ROWS = 1100


@dataclass
class Toy(Source):
    """A source whose files contain their number of rows; row 1 repeats row 0, and every hundredth row has no caption."""

    paths: tuple[str, ...] = ()

    def files(self):
        return expand(list(self.paths))

    def read(self, file, part_size):
        text = open(file).read()
        if not text.isdigit():
            raise PoolError(f"{file}: row 0: not a number")
        for start in range(0, int(text), part_size):
            rows = range(start, min(int(text), start + part_size))
            yield {"images": images(file, rows)}


def images(file: str, rows: range) -> pa.Table:
    numbers = [0 if i == 1 else i for i in rows]
    url = [f"http://toy/{file.rsplit('/', 1)[1]}/{i}" for i in numbers]
    text = [None if i % 100 == 99 else "word " * (i % 7) for i in numbers]
    return pa.table(
        {
            "uid": pa.array([schema.uid(t, u) for t, u in zip(text, url, strict=True)], schema.STR),
            "source_file": pa.array([file] * len(url), schema.STR),
            "source_row": pa.array(list(rows), pa.int64()),
            "url": pa.array(url, schema.STR),
            "text": pa.array(text, schema.STR),
            "drop_reason": pa.array(["fetch:bad_url" if i % 250 == 249 else None for i in rows], schema.STR),
        }
    )


@dataclass
class ToyWords(Filter):
    dtype = pa.int32()
    reads = ("text",)
    min: float | None = 3

    def score(self, live):
        return pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(live["text"])))


@dataclass
class ToyFetch(Stage):
    """Stands in for fetching: bytes made of the URL. fails: the outcome of every tenth URL."""

    network = True
    writes_payload = True
    reads = ("url",)
    untracked = ("fails",)
    fails: str = "timeout"

    def adds(self):
        return {"toy_fetch": schema.STR, "mime": schema.STR, "sha256": schema.STR, **schema.PAYLOAD}

    def run(self, live, parcel):
        found = [self._one(url, uid, parcel) for url, uid in zip(live["url"].to_pylist(), live["uid"].to_pylist(), strict=True)]
        return pa.table(
            [pa.array(c, t) for c, t in zip(zip(*found, strict=True), self.adds().values(), strict=True)],
            names=list(self.adds()),
        )

    def _one(self, url, uid, parcel):
        if url.endswith("0") and self.fails != "ok":
            return self.fails, None, None, None, None, None
        data = b"\xff\xd8\xff" + url.encode() * 20
        return "ok", "image/jpeg", hashlib.sha256(data).hexdigest(), None, parcel.add(f"{uid}.jpg", data), len(data)

    def judge(self, columns):
        outcome = columns["toy_fetch"]
        return pc.if_else(
            pc.equal(outcome, "ok"), pa.scalar(None, schema.STR), pa.scalar(f"fetch:{self.fails}", schema.STR)
        ).combine_chunks()


@dataclass
class ToyScore(Filter):
    """A pseudo-random score in [0, 1) from the uid; keeps a model (a salt)."""

    reads = ("url",)
    chunk = 64
    min: float | None = 0.2

    def load(self):
        self.salt = "toy"

    def score(self, live):
        return coin(live["uid"].to_pylist(), 0, self.salt)


@dataclass
class ToyHalf(Selector):
    """Drops the rows with a score under `min`, and names a kept row as the survivor of each."""

    reads = ("toy_score",)
    min: float = 0.5

    def adds(self):
        return {"toy_rank": pa.int64()}

    def select(self, live):
        rows = live.table("id", "uid", "toy_score")
        low = np.asarray(rows["toy_score"]) < self.min
        ids = rows["id"].to_numpy()
        best = int(np.argmax(np.asarray(rows["toy_score"]))) if len(ids) else 0
        fell = rows.filter(pa.array(low))
        survivor = rows.take(pa.array(np.full(len(fell), best)))
        columns = [fell["id"], fell["uid"], survivor["id"], survivor["uid"], np.zeros(len(fell), np.float32)]
        edges = pa.table(columns, names=EDGES.names)
        ranks = pa.table({"id": ids, "toy_rank": np.argsort(np.argsort(-np.asarray(rows["toy_score"]), kind="stable"))})
        return Selection(drop=ids[low], columns=ranks, edges=edges, notes={"low": int(low.sum())})


def recipe(paths, words=3, score=0.2, half=0.5, fails="timeout", extra=(), size=150, seed=0) -> Recipe:
    return Recipe(
        Toy(tuple(str(p) for p in paths)),
        [ToyWords(min=words), ToyFetch(fails=fails), ToyScore(min=score), *extra],
        [ToyHalf(min=half)],
        shards=Shards(size=size, seed=seed),
        name="toy",
    )
