"""Gathering: the columns that selectors read, written while a part is open."""

from dataclasses import dataclass

import pyarrow as pa

from curate.score.part import Part, PartState, require_complete
from curate.select.pool import Gathered, Known, Point, publish_gathered, reread
from curate.stage import digest


@dataclass(frozen=True)
class Gather:
    """Gathers what the next selectors read of a part: by table the columns, besides `id` and `uid`, of the live rows at a point."""

    point: Point
    columns: dict[str, tuple[str, ...]]
    known: Known

    def __post_init__(self) -> None:
        self.point.described  # noqa: B018  as the recipe has them: on a worker steps name their own copies of files

    def __call__(self, part: Part) -> dict[str, Gathered]:
        """The gathered files of a part, which is opened only if they are missing."""
        files = self.point.names(part)
        heads = self._heads(part, files)
        if all(head in self.known.there for head in heads.values()):
            return {table: reread(self.known.there[head], part.index) for table, head in heads.items()}
        return self.of(self.point.open(part, {t: set(c) for t, c in self.columns.items()}, files))

    def of(self, state: PartState) -> dict[str, Gathered]:
        """The gathered files of an open part, at this point of the recipe."""
        require_complete(state)
        heads = self._heads(state.part, sorted(state.names))
        return {table: self._write(state, table, head) for table, head in heads.items()}

    def _heads(self, part: Part, files: list[str]) -> dict[str, str]:
        state = self.point.state(part, files)
        return {table: f"{table}-{digest([state, columns])}" for table, columns in self.columns.items()}

    def _write(self, state: PartState, table: str, head: str) -> Gathered:
        if head in self.known.there:
            return reread(self.known.there[head], state.part.index)
        rows = state.tables[table]
        there = [c for c in self.columns[table] if c != "id" and not pa.types.is_null(rows.columns[c].type)]
        found = _plain_types(rows.take(dict.fromkeys(["uid", *there]), rows.live))
        found = found.add_column(0, "id", pa.array(rows.live + state.part.base, pa.int64()))
        return publish_gathered(self.point.store, self.known.named.get(head), head, state.part.index, found)


def _plain_types(table: pa.Table) -> pa.Table:
    """The table with types that do not depend on whether it was computed or read: no dictionaries, list fields named as in
    Parquet."""
    return table.cast(pa.schema([(f.name, _plain_type(f.type)) for f in table.schema]))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", _plain_type(kind.value_type)), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(pa.field("element", _plain_type(kind.value_type)))
    return pa.list_(pa.field("element", _plain_type(kind.value_type))) if pa.types.is_list(kind) else kind
