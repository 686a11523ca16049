"""The end of a run: the ledger, then the shards, then `dataset.json`."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from curate.errors import PoolError
from curate.recipe import Recipe, Shards
from curate.score.part import Part
from curate.select import pool
from curate.select.gather import Gather
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

    def write(
        self, point: pool.Point, parts: list[Part], state: str, last: dict[str, list[pool.Gathered]]
    ) -> dict[str, dict[str, int]]:
        """Write everything and return the rows by table and outcome. `dataset.json` is absent while ledger and shards are being replaced.
        PoolError unless the ledger accounts for every row.

        last: what the selectors read that stand at the recipe's end, by table."""
        how = self.recipe.layout
        kept = self._kept(point, parts, last)
        first = releases.next_shard(self.releases)
        assigned = ledger.assign(self.store, kept, how, self.engine.map, first) if how else None
        self.store.remove("dataset.json")
        there = self._remove_stale(parts, checksums.LEDGER if how else checksums.SHOWN)
        counts, entered = self._write_ledger(point, assigned, parts, there)
        if how:
            self._write_shards(how, assigned, entered, state)
        else:
            root, count = ledger.uid_hash(ledger.uids_of(self.store, kept, self.engine.map))
            provenance = {"state": state, "table": self.recipe.samples, "recipe": self.recipe.fingerprint, **self._chain()}
            write.publish_dataset(self.store, provenance, root, count, [])
        return counts

    def _kept(self, point: pool.Point, parts: list[Part], last: dict[str, list[pool.Gathered]]) -> ledger.KeptRows:
        """The kept rows: of what the last selectors read, where nothing but their decisions makes the difference; else read anew."""
        samples = self.recipe.samples
        making = [s.name for s in point.steps if "copies" in s.adds() and s.table == samples]
        decisions = point.decisions[len(point.decisions) - len(self.recipe.last) :]
        mine = [d for d in decisions if d.table == samples]
        falls_along = samples != "documents" and any(d.table == "documents" for d in decisions)
        if samples in last and not falls_along and {*making} <= {d.step for d in mine}:
            return ledger.KeptRows(last[samples], mine, bool(making))
        columns = ("copies",) if making else ()
        gather = Gather(point, {samples: columns}, pool.known(self.store))
        gathered = [found[samples] for found in self.engine.map(gather, parts)]
        return ledger.KeptRows(gathered, [], bool(making) and "copies" in self.store.fields(gathered[0].file).names)

    def _remove_stale(self, parts: list[Part], folders: tuple[str, ...]) -> set[str]:
        """Remove the files of the ledger that this run has not; the names of those that stay."""
        there = {f"{folder}/{n}" for folder in folders for n in self.store.names(folder)}
        wanted = {f"ledger/{t}/{p.index:06d}.parquet" for t in self.recipe.source.tables for p in parts}
        for stale in there - wanted:
            self.store.remove(stale)
        return there & wanted

    def _write_ledger(
        self, point: pool.Point, assigned: ledger.Assigned | None, parts: list[Part], there: set[str]
    ) -> tuple[dict[str, dict[str, int]], dict[str, layout.Footers]]:
        """The rows by table and outcome, and the footers of the files of each table."""
        self.progress.stage("ledger", len(parts), 0)
        counts: dict[str, dict[str, int]] = {t: {} for p in parts for t in p.rows}
        found = {t: layout.Footers() for t in self.recipe.source.tables}
        items = [(p, there.intersection(f"ledger/{t}/{p.index:06d}.parquet" for t in p.rows)) for p in parts]
        for entered in self.engine.map(partial(ledger.enter, point, assigned, self.recipe.samples), items):
            for table, file in entered.items():
                self.sums[file.name] = file.sha256
                found[table].add(file.name, file.footer)
                for reason, n in file.reasons.items():
                    counts[table][reason or "kept"] = counts[table].get(reason or "kept", 0) + n
            self.progress.step("ledger", None)
        give_back()
        for table, outcomes in counts.items():
            rows = sum(p.rows.get(table, 0) for p in parts)
            if sum(outcomes.values()) != rows:
                raise PoolError(f"table {table}: {rows} rows came in, the ledger accounts for {sum(outcomes.values())}")
        return counts, found

    def _write_shards(self, how: Shards, assigned: ledger.Assigned, entered: dict[str, layout.Footers], state: str) -> None:
        planned = layout.plan(self.store, assigned, entered, self.recipe.samples, how, self.engine.map)
        give_back()
        self.progress.stage("shards", assigned.shards, 0)
        captions = {s.name: made for s in self.recipe.steps if (made := s.provenance())}
        provenance = {"recipe": self.recipe.fingerprint, **({"captions": captions} if captions else {})}
        fresh = not self.store.names("shards")
        task = partial(layout.write_shards, self.store, planned, how, assigned, provenance, self._hash_column(), fresh)
        infos = []
        for made in self.engine.map(task, layout.shard_groups(assigned, self.engine.workers)):
            infos += made
            for info in made:
                self.sums |= write.sums_of(info)
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
