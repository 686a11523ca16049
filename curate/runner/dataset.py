"""The end of a run: the ledger, then the shards, then `dataset.json`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from curate.errors import PoolError
from curate.recipe import Recipe, Shards
from curate.score.part import Part
from curate.select import pool
from curate.shard import ledger, write
from curate.shard import plan as layout
from curate.store import checksums, releases
from curate.store.atomic import Store
from curate.store.memory import give_back
from curate.store.releases import Release


@dataclass
class DatasetWriter:
    """Writes the ledger, the shards and `dataset.json`. `sums`: the SHA-256 of each file."""

    recipe: Recipe
    store: Store
    engine: Any
    progress: Any
    releases: list[Release]
    sums: dict[str, str] = field(default_factory=dict)

    def write(self, point: pool.Point, parts: list[Part], state: str) -> dict[str, dict[str, int]]:
        """Write everything and return the rows by table and outcome. `dataset.json` is absent while ledger and shards are being replaced. PoolError unless the ledger
        accounts for every row."""
        how, samples = self.recipe.layout, self.recipe.samples
        entries = {t: [f"ledger/{t}/{p.index:06d}.parquet" for p in parts] for t in self.recipe.source.tables}
        copies = ("copies",) if any("copies" in s.adds() for s in point.steps if s.table == samples) else ()
        gathered = list(self.engine.map(partial(pool.gather, point, samples, copies, pool.known(self.store)), parts))
        first = releases.next_shard(self.releases)
        assigned = ledger.assign(self.store, gathered, how, self.engine.map, first) if how else None
        self.store.remove("dataset.json")
        self._remove_stale(entries, checksums.LEDGER if how else checksums.SHOWN)
        counts = self._write_ledger(point, assigned, parts)
        if how:
            self._write_shards(how, assigned, entries, state)
        else:
            root, count = ledger.uid_hash(ledger.kept_rows(self.store, gathered, self.engine.map))
            provenance = {"state": state, "table": samples, "recipe": self.recipe.fingerprint, **self._chain()}
            write.publish_dataset(self.store, provenance, root, count, [])
        return counts

    def _remove_stale(self, entries: dict[str, list[str]], folders: tuple[str, ...]) -> None:
        there = {f"{folder}/{n}" for folder in folders for n in self.store.names(folder)}
        for stale in there.difference(*entries.values()):
            self.store.remove(stale)

    def _write_ledger(
        self, point: pool.Point, assigned: ledger.Assigned | None, parts: list[Part]
    ) -> dict[str, dict[str, int]]:
        self.progress.stage("ledger", len(parts), 0)
        counts: dict[str, dict[str, int]] = {t: {} for p in parts for t in p.rows}
        for entered, sums in self.engine.map(partial(ledger.enter, point, assigned, self.recipe.samples), parts):
            self.sums |= sums
            for table, outcome, n in _outcomes(entered):
                counts[table][outcome] = counts[table].get(outcome, 0) + n
            self.progress.step("ledger", None)
        give_back()
        for table, outcomes in counts.items():
            rows = sum(p.rows.get(table, 0) for p in parts)
            if sum(outcomes.values()) != rows:
                raise PoolError(f"table {table}: {rows} rows came in, the ledger accounts for {sum(outcomes.values())}")
        return counts

    def _write_shards(self, how: Shards, assigned: ledger.Assigned, entries: dict[str, list[str]], state: str) -> None:
        planned = layout.plan(self.store, assigned, entries, self.recipe.samples, how, self.engine.map)
        give_back()
        self.progress.stage("shards", assigned.shards, 0)
        captions = {s.name: made for s in self.recipe.steps if (made := s.provenance())}
        provenance = {"recipe": self.recipe.fingerprint, **({"captions": captions} if captions else {})}
        task = partial(layout.write_shards, self.store, planned, how, assigned, provenance, self._hash_column())
        infos = []
        for made in self.engine.map(task, layout.shard_groups(assigned, self.engine.workers)):
            infos += made
            for info in made:
                self.sums |= {f"shards/{info['name']}.{kind}": info[kind]["sha256"] for kind in ("tar", "parquet")}
                self.progress.step("shards", None)
        made_of = {"assigned": assigned.folder, "planned": planned, **provenance, **self._chain()}
        write.finish(self.store, infos, {"state": state, "table": self.recipe.samples, **made_of})

    def _chain(self) -> dict[str, Any]:
        """What `dataset.json` says of the releases before this one."""
        if not self.releases:
            return {}
        return {"releases": releases.written(self.releases), "first_shard": releases.next_shard(self.releases)}

    def _hash_column(self) -> str | None:
        """The column with the SHA-256 of the bytes kept, by the last step that wrote bytes; None if that step has none. `sha256` is of
        the bytes fetched."""
        for step in reversed(self.recipe.steps):
            if step.hashes:
                return step.hashes
            if step.rewrites:
                return None
        return "sha256"


def _outcomes(entered: dict[str, dict[str | None, int]]) -> Iterator[tuple[str, str, int]]:
    """Table, outcome (`kept` or the reason) and rows."""
    for table, reasons in entered.items():
        yield from ((table, reason or "kept", n) for reason, n in reasons.items())
