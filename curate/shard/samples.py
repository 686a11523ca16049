"""The samples of a finished run, read from its shards in order."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import duckdb

from curate.errors import PoolError, RecipeError
from curate.fetch.image import SUFFIX
from curate.paths import escaped
from curate.select.database import database
from curate.selector import identifier
from curate.sources import tarindex
from curate.store.atomic import Store

#: Valid keys and uids: files are named after them.
NAME = re.compile(r"[\w-][\w.-]*")
#: Rows of the ledger that are read at a time.
BATCH = 1000


@dataclass(frozen=True)
class ShardSample:
    """One sample of a shard.

    info: the content of its `.json`. members: the suffixes of its members (what follows `<key>.`). read: returns a member's bytes by
    its suffix. ledger: the requested rows of the ledger, by table. preferred: the answer that most annotators prefer, 1 or 2.
    """

    key: str
    shard: str
    info: dict[str, Any]
    members: tuple[str, ...]
    read: Callable[[str], bytes]
    ledger: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    preferred: int | None = None

    @property
    def picture(self) -> str:
        """The suffix of the picture of a pair, such as `jpg` or `png`. PoolError if it has none."""
        found = next((m for m in self.members if m in SUFFIX.values()), None)
        if found is None:
            raise PoolError(f"shard {self.shard}: sample {self.key} has no picture")
        return found

    def caption(self, column: str = "") -> str:
        """Its caption: the `.txt`, or a column of its `.json`, empty if that is null. RecipeError if there is no such column."""
        if not column:
            return self.read("txt").decode()
        return self.column(column) or ""

    def column(self, name: str) -> Any:
        """The value of a column of its `.json`. RecipeError if there is no such column."""
        if name not in self.info:
            raise RecipeError(f"the samples have no column {name}; there are: {', '.join(sorted(self.info))}")
        return self.info[name]


@dataclass(frozen=True)
class Samples:
    """The samples of a run. Each iteration reads the shards again.

    table: the table whose rows are samples. ledger: for each table the columns to read from the ledger, for those that shards leave
    out; columns that the ledger does not have are ignored.
    """

    store: Store
    shards: list[str]
    table: str = "images"
    ledger: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[ShardSample]:
        with ExitStack() as open_:
            con = open_.enter_context(database(self.store))[0] if self.ledger else None
            ledger = {table: _RowsByPlace(self._rows(con.cursor(), table, columns)) for table, columns in self.ledger.items()}
            for number, shard in enumerate(self.shards):
                for place, (key, info, members, read) in enumerate(self._shard(shard)):
                    rows = {table: ledger_rows.at((number, place)) for table, ledger_rows in ledger.items()}
                    yield ShardSample(key, shard, info, members, read, rows, self.preferred.get(info.get("uid", "")))

    @cached_property
    def preferred(self) -> dict[str, int]:
        """By uid the answer of a pair (1 or 2) that most annotators prefer, by the last verdict of each; ties are left out."""
        verdicts: dict[tuple[str, str], str] = {}
        for name in self.store.names("verdicts"):
            rows = self.store.table(f"verdicts/{name}", ["uid", "annotator", "verdict"]).to_pylist()
            verdicts |= {(r["uid"], r["annotator"]): r["verdict"] for r in rows}
        more: Counter[str] = Counter()
        for (uid, _), verdict in verdicts.items():
            more[uid] += (verdict == "first") - (verdict == "second")
        return {uid: 1 if n > 0 else 2 for uid, n in more.items() if n}

    def _shard(self, shard: str) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...], Callable[[str], bytes]]]:
        name = f"shards/{shard}.tar"
        with self.store.open(name) as f:

            def member(sample: tarindex.Sample, suffix: str) -> bytes:
                if suffix not in sample.members:
                    raise PoolError(f"{name}: sample {sample.key} has no member {suffix}; `curate check` says what is wrong")
                f.seek(sample.members[suffix].offset)
                return f.read(sample.members[suffix].size)

            for sample in tarindex.samples(tarindex.members(f, name)):
                if isinstance(sample, tarindex.Broken) or sample.broken or "json" not in sample.members:
                    raise PoolError(f"{name}: damaged; `curate check` says where")
                info = json.loads(member(sample, "json"))
                for word in (sample.key, str(info.get("uid"))):
                    if not NAME.fullmatch(word):
                        raise PoolError(f"{name}: sample {sample.key[:80]!r}: {word[:80]!r} cannot be the name of a file")
                yield sample.key, info, tuple(sample.members), lambda suffix, sample=sample: member(sample, suffix)

    def _rows(
        self, con: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...]
    ) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
        """Kept rows of the ledger in the order of the samples, each with (number of its shard, place in it)."""
        files = [f"ledger/{table}/{name}" for name in self.store.names(f"ledger/{table}")]
        known = {field for file in files[:1] for field in self.store.fields(file).names}
        wanted = [c for c in columns if c in known]
        if not wanted or not self.shards:
            return
        sample = "uid" if table == self.table else "doc_uid"
        shards = [escaped(self.store.path(f"shards/{s}.parquet")) for s in self.shards]
        ledger = [escaped(self.store.path(f)) for f in files]
        numbers = {f"{s}.parquet": n for n, s in enumerate(self.shards)}
        found = con.sql(
            f"""with sample as (select uid, filename as shard_, file_row_number as place_ from read_parquet($shards,
                filename = true, file_row_number = true, hive_partitioning = false))
            select shard_, place_, {", ".join(f"ledger.{identifier(c)}" for c in wanted)}
            from sample join read_parquet($ledger, union_by_name = true, hive_partitioning = false) as ledger
            on ledger.{sample} = sample.uid where ledger.kept order by all""",
            params={"shards": shards, "ledger": ledger},
        ).to_arrow_reader(BATCH)
        for batch in found:
            for row in batch.to_pylist():
                yield (numbers[row.pop("shard_").rpartition("/")[2]], row.pop("place_")), row


class _RowsByPlace:
    """A reader of rows sorted by place, one place at a time."""

    def __init__(self, rows: Iterator[tuple[tuple[int, int], dict[str, Any]]]):
        self._groups = itertools.groupby(rows, key=lambda row: row[0])
        self._next: tuple[tuple[int, int], list[dict[str, Any]]] | None = None

    def at(self, place: tuple[int, int]) -> list[dict[str, Any]]:
        """The rows of a place; places must be requested in ascending order."""
        if self._next is None or self._next[0] < place:
            at, rows = next(self._groups, ((1 << 62, 0), ()))
            self._next = (at, [row for _, row in rows])
        return self._next[1] if self._next[0] == place else []
