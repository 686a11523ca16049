"""Read access to a run's folder: `open_run` and the class Run."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from curate.errors import PoolError
from curate.selector import identifier
from curate.store.atomic import Store
from curate.store.folder import refuse_older
from curate.store.inputs import run_record
from curate.view import views


class Tables(Protocol):
    """What a run and a sample of it (facts.Facts) have in common: a folder, the record of its recipe, and SQL over its tables."""

    @property
    def store(self) -> Store: ...

    @property
    def recipe(self) -> dict[str, Any]: ...

    def sql(self, query: str) -> duckdb.DuckDBPyRelation: ...


@dataclass(repr=False)
class Run:
    """A run's folder, open for looking: `show`, `image`, `table`, `sql`, `stats`, `to_ray_dataset`. A notebook shows its funnel."""

    store: Store
    counters: dict[str, dict[str, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    state: str = ""  # what it was known by when a reader began (reading.consistent)

    @cached_property
    def con(self) -> duckdb.DuckDBPyConnection:
        return views.connect(self.store)

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """A DuckDB relation over images, documents, texts, shards, duplicates, edges, verdicts, judgements, funnel; `image(uid)` is the
        bytes of an image, and avg takes truth values such as `kept`."""
        try:
            return self.con.sql(query)
        except duckdb.BinderException as e:
            again = views.averages(self.con, query) if "(BOOLEAN)" in str(e) else None
            if again is None:
                raise
            return self.con.sql(again)

    def show(self, what: Any = None, *, reason: str | None = None, where: str | None = None, n: int = 16) -> Any:
        """Samples as a notebook shows them, see `curate.show`, which shows documents and captions too."""
        from curate.view.gallery import show

        return show(self, what, reason=reason, where=where, n=n)

    def image(self, uid: str) -> Any:
        """A row's image as fetched, as a PIL image; PoolError where the run has none. It is opened in this process."""
        from PIL import Image

        found = self.con.execute("select image(?)", [uid]).fetchone()
        if found is None or found[0] is None:
            raise PoolError(f"{self.store.url}: no image of {uid}: there is no such uid, or nothing was fetched for it")
        return Image.open(io.BytesIO(found[0]))

    def table(self, where: str = "kept", columns: Sequence[str] = (), of: str = "images", n: int | None = None) -> pa.Table:
        """Rows of the ledger as an Arrow table (`.to_pandas()` makes a data frame), in order of their uid.

        where: SQL that holds for them. columns: by default all but embeddings, hashes of pictures and bytes. of: `images`, `documents`
        or `texts`. n: at most so many.
        """
        known = {name: kind for name, kind, *_ in self.con.sql(f"describe {identifier(of)}").fetchall()}
        names = list(columns) or [c for c, kind in known.items() if kind != "BLOB" and not kind.endswith("[]")]
        chosen = ", ".join(map(identifier, names))
        return self.sql(f"select {chosen} from {identifier(of)} where {where} order by uid limit {n or 'all'}").to_arrow_table()

    def __repr__(self) -> str:
        return f"<{self._title()}: {self._words()}>"

    def _repr_html_(self) -> str:
        from curate.view.closing import funnel_html

        return funnel_html(self._title(), self._words(), self.stats().to_pylist() if self.store.exists("dataset.json") else [])

    def _title(self) -> str:
        return f"run {self.recipe.get('name') or ''} in {self.store.url}".replace("run  in", "run in")

    def _words(self) -> str:
        if not self.store.exists("dataset.json"):
            return "not finished"
        of, samples = self.dataset.get("table", "images"), self.dataset["samples"]
        total, shards = sum(self.recipe.get("rows", {}).get(of, {}).values()), len(self.dataset["shards"])
        return f"{samples:,} of {total:,} {of} kept, {shards} shard{'s' * (shards != 1)}, root hash {self.dataset['root_hash'][:16]}"

    def stats(self) -> pa.Table:
        """The funnel: table, stage, reason, rows, percent; in the order of the recipe, kept rows last."""
        order = {"": 10**6, "source": -1} | {s["step"]: i for i, s in enumerate(self.recipe["steps"])}
        rows = self.con.sql('select * from funnel order by "table", rows desc, reason').to_arrow_table().to_pylist()
        rows.sort(key=lambda r: (r["table"], order.get(r["stage"], 10**5)))
        return pa.Table.from_pylist(rows)

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """What recipe.json says; PoolError if it is not there, or damaged."""
        return self._part_of_record(run_record(self.store), "recipe.json", "this is not a run's folder")

    @cached_property
    def dataset(self) -> dict[str, Any]:
        """What dataset.json says; PoolError if the run is not finished, or it is damaged."""
        return self._part_of_record(
            self.store.json("dataset.json"),
            "dataset.json",
            "this run is not finished; rerun the same `curate run` to resume it",
        )

    def _part_of_record(self, record: Any, name: str, otherwise: str) -> dict[str, Any]:
        if not isinstance(record, dict):
            raise PoolError(f"{self.store.url}: no {name} here: {otherwise}")
        return record

    @property
    def tars(self) -> list[str]:
        """The shards' paths, for a loader."""
        return [self.store.path(f"shards/{s['name']}.tar") for s in self.dataset["shards"]]

    def to_ray_dataset(self) -> Any:
        """A Ray Dataset over the samples' columns (the shards' Parquet sidecars)."""
        import ray.data

        files = [self.store.path(f"shards/{s['name']}.parquet") for s in self.dataset["shards"]]
        return ray.data.read_parquet(files, partitioning=None)


def open_run(folder: str) -> Run:
    """Open a run's folder; PoolError if it holds none."""
    store = Store(folder)
    if not store.exists("recipe.json"):
        raise PoolError(f"{store.url}: no recipe.json here, so this is not a run's folder")
    refuse_older(store)
    return Run(store)
