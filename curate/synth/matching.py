"""Pairs for image-text matching: each picture with its own text, and with the text of another that is hard to tell from it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array

from curate.errors import RecipeError
from curate.filters.clip_score import flat
from curate.filters.paragraph_ratios import words
from curate.select.database import query
from curate.select.exchange import Frame, Sql
from curate.select.partition import ByHash
from curate.selector import Selection, Selector, coin_sql, identifier


@dataclass
class MatchingNegatives(Selector):
    """Adds `<name>_uid`, `<name>_text` and `<name>_score`: the row whose text fits this picture best without being its own; and
    `<name>_images`, the uids of up to `images` rows whose pictures are most like this one (NegCLIP's hard images, 3). Drops nothing.

    As BLIP and ALBEF mine them in a batch, with the cosine of the CLIP embeddings; here in groups of `group` rows, dealt out by
    the hash of the uid: the larger, the harder. A text equal to the row's own (case aside) is no negative, nor one that fits
    better than its own by more than `margin`: that one is likely true as well. Nor is one that is likely a true caption of this picture:
    of a picture with an image cosine of `same` or more (the same bytes, another size, a crop), or of words that the own text all has
    ("a horse" for "a white horse"). A row for which none is left, or which lacks an embedding, has nulls. The pictures, too, are none
    that look the same, and none with an equal text.

    vector: column with the embeddings of the texts. group: rows that are compared with each other. margin: cosine by which a negative may fit better than
    the own text.
    same: cosine of two pictures from which on they are the same. images: similar pictures that are named. As ALBEF (2107.07651) and NegCLIP (2210.01936).
    """

    version = 3

    image: str = "clip_image"
    of: str = "text"
    vector: str = "clip_text"
    group: int = 4096
    margin: float = 0.0
    same: float = 0.85
    images: int = 3
    seed: int = 0

    def __post_init__(self):
        self.name = self.name or "matching_negative"
        super().__post_init__()
        if self.group < 2:
            raise RecipeError(f"{self.name}: a group has 2 rows or more")
        self.reads = (self.image, self.of, self.vector)

    def adds(self) -> dict[str, pa.DataType]:
        return {
            f"{self.name}_uid": pa.large_string(),
            f"{self.name}_text": pa.large_string(),
            f"{self.name}_score": pa.float32(),
            f"{self.name}_images": pa.list_(pa.large_string()),
        }

    def select(self, live: Frame) -> Selection:
        coin = coin_sql("uid", self.seed, self.name)
        # In ranges of the coin that do not depend on the chunks; the rows of a range are dealt into groups in order of it.
        dealt = live.each(_Dealt(self.reads, f"select id, {coin} as coin from live"))
        buckets = max(1, dealt.rows // (16 * self.group))
        found = dealt.shuffle(ByHash("bucket"), _Mine(self), _Bucketed(buckets)).home(live)
        without = found.each(Sql(f"select id from live where {identifier(f'{self.name}_uid')} is null")).rows
        return Selection(columns=found, notes={"mined": found.rows - without, "without": without})

    def mine(self, dealt: pa.Table) -> pa.Table:
        """The hardest negative of each row, in groups of rows in order of their coin."""
        schema = pa.schema({"id": pa.int64(), **self.adds()})
        found = [schema.empty_table()]
        for bucket in np.unique(dealt["bucket"].to_numpy()) if len(dealt) else ():
            rows = dealt.filter(pc.equal(dealt["bucket"], pa.scalar(bucket, pa.uint64())))
            rows = rows.sort_by([("coin", "ascending"), ("uid", "ascending")])
            found += [self._mined(rows.slice(low, self.group)).cast(schema) for low in range(0, len(rows), self.group)]
        return pa.concat_tables(found)

    def _mined(self, rows: pa.Table) -> pa.Table:
        plain = [" ".join(t.lower().split()) for t in rows[self.of].to_pylist()]
        image, text = (flat(rows[c].combine_chunks()) for c in (self.image, self.vector))
        other, score = self._hardest(image, text, plain)
        picks = pa.array(other, mask=other < 0)
        uids = rows["uid"].to_pylist()
        like = pa.array([[uids[i] for i in each] for each in self._like(image, plain)], pa.list_(pa.large_string()))
        values = [rows["id"], rows["uid"].take(picks), rows[self.of].take(picks), pa.array(score, mask=other < 0), like]
        return pa.table(values, names=["id", *self.adds()])

    def _like(self, image: np.ndarray, plain: list[str]) -> list[list[int]]:
        """For each row the places of the pictures most like its own, the nearest first."""
        cosines = (image @ image.T).astype(np.float16).astype(np.float32)
        texts = np.array(plain, dtype=object)
        cosines[(cosines >= np.float16(self.same)) | (texts[:, None] == texts[None])] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")[:, : self.images]
        return [[j for j in near.tolist() if np.isfinite(cosines[i, j])] for i, near in enumerate(order)]

    def _hardest(self, image: np.ndarray, text: np.ndarray, plain: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """For each row the place of the text that fits its picture best, -1 if none is left, and how well it does."""
        scores = (image @ text.T).astype(np.float16).astype(np.float32)  # rounded, so that no machine decides otherwise
        own = scores.diagonal()[:, None]
        texts = np.array(plain, dtype=object)
        alike = (image @ image.T).astype(np.float16) >= np.float16(self.same)
        barred = (scores > own + self.margin) | (texts[:, None] == texts[None]) | alike | _within(plain)
        scores[barred] = -np.inf
        best = scores.argmax(1)
        top = scores[np.arange(len(best)), best]
        return np.where(np.isfinite(top), best, -1), top


def _within(texts: list[str]) -> np.ndarray:
    """For each pair of texts whether the words of the second are all in the first."""
    sets = [set(words(t)) for t in texts]
    number = {w: i for i, w in enumerate(sorted(set().union(*sets)))}
    rows = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
    columns = [number[w] for s in sets for w in s]
    has = csr_array((np.ones(len(columns), np.int32), (rows, columns)), shape=(len(sets), max(len(number), 1)))
    return (has @ has.T).toarray() >= np.array([len(s) for s in sets])[None]


@dataclass(frozen=True)
class _Dealt:
    """The rows with a text and both embeddings, and their coins."""

    reads: tuple[str, ...]
    coins: str

    def __call__(self, live: pa.Table) -> pa.Table:
        for column in self.reads:
            live = live.filter(live[column].is_valid())
        coins = query(self.coins, {"live": live.select(["id", "uid"])})
        at = np.argsort(coins["id"].to_numpy())
        place = at[np.searchsorted(coins["id"].to_numpy()[at], live["id"].to_numpy())]
        return live.append_column("coin", coins["coin"].take(pa.array(place)))


@dataclass(frozen=True)
class _Bucketed:
    """The same with a `bucket`: ranges of the coin, spread over 64 bits."""

    count: int

    def __call__(self, dealt: pa.Table) -> pa.Table:
        width = np.float64(2**63) * 2 / self.count
        bucket = np.floor(dealt["coin"].to_numpy() * self.count) * width
        return dealt.append_column("bucket", pa.array(bucket.astype(np.uint64)))


@dataclass(frozen=True)
class _Mine:
    selector: MatchingNegatives

    def __call__(self, dealt: pa.Table) -> pa.Table:
        return self.selector.mine(dealt)
