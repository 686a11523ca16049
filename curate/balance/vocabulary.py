"""Counts of words and word pairs in texts, and the vocabularies made of them."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curate.paths import parquet
from curate.select.database import database
from curate.store.atomic import Store

#: Distinct words and pairs that are counted in memory before they are written to disk.
IN_MEMORY = 2_000_000

_GRAMS = pa.schema({"gram": pa.large_string(), "words": pa.int8(), "n": pa.int64()})


def frequent(
    texts: Iterable[str | None], cut: Callable[[str], list[str]], least: int = 5, most: int = 0, bigrams: bool = False
) -> Iterator[tuple[str, int]]:
    """Words (and with `bigrams` pairs of adjacent words) that occur `least` times or more, with their counts, the most frequent
    first, at most `most` of them (0: all). Ties are in order of characters. cut: splits a text into words."""
    with gram_counts(texts, cut, bigrams) as con:
        cap = f"limit {most}" if most else ""
        query = f"select gram, n from grams where n >= {least} order by n desc, gram {cap}"
        for batch in con.sql(query).to_arrow_reader(100_000):
            yield from zip(batch["gram"].to_pylist(), batch["n"].to_pylist())


def associated(texts: Iterable[str | None], cut: Callable[[str], list[str]], least: int, pmi: float) -> list[str]:
    """Words that occur `least` times or more, then pairs that do and whose pointwise mutual information log2(p(ab) / (p(a) p(b))) is
    `pmi` bits or more; both sorted. cut: splits a text into words."""
    with gram_counts(texts, cut, True) as con:
        query = f"""with of_size as (select words, sum(n) as total from grams group by words),
            halves as (select gram, n, split_part(gram, ' ', 1) as a, split_part(gram, ' ', 2) as b from grams where words = 2 and n >= {least}),
            ones as (select gram, n from grams where words = 1),
            sizes as (select max(total) filter (words = 1)::double as one, max(total) filter (words = 2)::double as two from of_size)
            select gram from (select gram, 1 as words from ones where n >= {least}
            union all select h.gram, 2 from halves h join ones x on h.a = x.gram join ones y on h.b = y.gram, sizes
            where log2(h.n / two * one * one / (x.n::double * y.n)) >= {pmi!r}) order by words, gram"""
        return [gram for (gram,) in con.sql(query).fetchall()]


@contextmanager
def gram_counts(
    texts: Iterable[str | None], cut: Callable[[str], list[str]], bigrams: bool
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with a view `grams` (gram, number of words, count n). Counts that do not fit into memory are spilled to disk."""
    with tempfile.TemporaryDirectory(prefix="curate-") as folder, database(Store(folder)) as (con, _):
        singles: Counter[str] = Counter()
        doubles: Counter[tuple[str, str]] = Counter()
        files = 0
        for text in texts:
            words = cut(text) if text else []
            singles.update(words)
            if bigrams:
                doubles.update(pairwise(words))
            if len(singles) + len(doubles) > IN_MEMORY:
                files += 1
                _spill(singles, doubles, f"{folder}/{files}.parquet")
        _spill(singles, doubles, f"{folder}/last.parquet")
        spilled = parquet(f"{folder}/{n}.parquet" for n in (*range(1, files + 1), "last"))
        con.execute(f"create view grams as select gram, words, sum(n)::bigint as n from {spilled} group by all")
        yield con


def _spill(singles: Counter[str], doubles: Counter[tuple[str, str]], file: str) -> None:
    """Write the counts to a Parquet file and clear the counters."""
    grams = [*singles, *(f"{a} {b}" for a, b in doubles)]
    sizes = [1] * len(singles) + [2] * len(doubles)
    columns = (grams, sizes, [*singles.values(), *doubles.values()])
    pq.write_table(pa.table([pa.array(c, t) for c, t in zip(columns, _GRAMS.types)], schema=_GRAMS), file)
    singles.clear()
    doubles.clear()
