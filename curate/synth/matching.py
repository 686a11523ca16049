"""Pairs for image-text matching: each picture with its own text, and with the text of another that is hard to tell from it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.filters.clip_score import flat
from curate.selector import NONE, Live, Selection, Selector, coin_sql, identifier


@dataclass
class MatchingNegatives(Selector):
    """Adds `<name>_uid`, `<name>_text` and `<name>_score`: the row whose text fits this picture best without being its own.
    Drops nothing.

    As BLIP and ALBEF mine them in a batch, with the cosine of the CLIP embeddings; here in groups of `group` rows, dealt out by
    the hash of the uid: the larger, the harder. A text equal to the row's own (case aside) is no negative, nor one that fits
    better than its own by more than `margin`: that one is likely true as well. A row for which none is left, or which lacks
    an embedding, has nulls.
    """

    image: str = "clip_image"
    of: str = "text"
    vector: str = "clip_text"
    group: int = 4096
    margin: float = 0.0
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
        }

    def select(self, live: Live) -> Selection:
        schema = pa.schema({"id": pa.int64(), **self.adds()})
        found = [schema.empty_table(), *(self._mined(rows).cast(schema) for rows in self._groups(live))]
        columns = pa.concat_tables(found).sort_by("id")
        without = columns[f"{self.name}_uid"].null_count
        return Selection(NONE, columns, notes={"mined": len(columns) - without, "without": without})

    def _groups(self, live: Live) -> Iterator[pa.Table]:
        """Rows with a text and both embeddings; one group is in memory at a time."""
        columns = ", ".join(identifier(c) for c in ("id", "uid", *self.reads))
        whole = " and ".join(f"{identifier(c)} is not null" for c in self.reads)
        dealt = f"select {columns} from live where {whole} order by {coin_sql('uid', self.seed, self.name)}, uid"
        reader = live.sql(dealt).to_arrow_reader(self.group)
        waiting = reader.schema.empty_table()
        for batch in reader:  # of any size
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
            while len(waiting) >= self.group:
                yield waiting.slice(0, self.group)
                waiting = waiting.slice(self.group)
        if len(waiting):
            yield waiting

    def _mined(self, rows: pa.Table) -> pa.Table:
        plain = np.array([" ".join(t.lower().split()) for t in rows[self.of].to_pylist()], dtype=object)
        image, text = (flat(rows[c].combine_chunks()) for c in (self.image, self.vector))
        other, score = self._hardest(image, text, plain)
        picks = pa.array(other, mask=other < 0)
        values = [rows["id"], rows["uid"].take(picks), rows[self.of].take(picks), pa.array(score, mask=other < 0)]
        return pa.table(values, names=["id", *self.adds()])

    def _hardest(self, image: np.ndarray, text: np.ndarray, plain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each row the place of the text that fits its picture best, -1 if none is left, and how well it does."""
        scores = (image @ text.T).astype(np.float16).astype(np.float32)  # rounded, so that no machine decides otherwise
        own = scores.diagonal()[:, None]
        barred = (scores > own + self.margin) | (plain[:, None] == plain[None])
        scores[barred] = -np.inf
        best = scores.argmax(1)
        top = scores[np.arange(len(best)), best]
        return np.where(np.isfinite(top), best, -1), top
