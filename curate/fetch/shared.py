"""Each distinct URL is fetched once for the whole pool: one row asks, the others take what it got."""

from dataclasses import dataclass, replace

import pyarrow as pa

from curate import schema
from curate.fetch.stage import Fetch, fetched
from curate.selector import NONE, Live, Selection, Selector, identifier
from curate.stage import Step

_URL = "split_part(url, '#', 1)"


def once(fetch: Fetch) -> list[Step]:
    """Fetch with each distinct URL asked for once: `score=[..., *once(Fetch()), ...]`. The pool meets before and after it.

    RecipeError for a Fetch with a hash_column: rows that share a URL may list different hashes.
    """
    return [SharedUrl(), replace(fetch, shared=True), SharedFetch(fetch.name)]


@dataclass
class SharedUrl(Selector):
    """Adds `fetched_with`: of the rows with one URL (fragments aside) all but the first name the first, by its number in the
    pool. Drops nothing. Its notes say how many requests that leaves, and saves."""

    reads = ("url",)

    def adds(self) -> dict[str, pa.DataType]:
        return {"fetched_with": pa.int64()}

    def select(self, live: Live) -> Selection:
        found = live.keep(f"""select id, first as fetched_with from (
            select id, min(id) over (partition by {_URL}) as first from live where url is not null) where id != first""")
        saved = found.count("*").fetchall()[0][0]
        notes = {"rows": live.count, "requests": live.count - saved, "saved": saved}
        return Selection(NONE, columns=found, notes=notes)


@dataclass
class SharedFetch(Selector):
    """Gives the rows that share a URL what the row named in `fetched_with` got, and drops all whose fetch failed, for
    `fetch:` and the outcome. The bytes lie in one place; rows only point there."""

    fills = tuple(schema.FETCHED)
    version = 2

    outcome: str = "fetch"  # the column with the outcome

    def __post_init__(self):
        super().__post_init__()
        self.fills = tuple(self.adds())
        self.reads = ("fetched_with", *self.adds())

    def adds(self) -> dict[str, pa.DataType]:
        return fetched(self.outcome)

    def select(self, live: Live) -> Selection:
        outcome = identifier(self.outcome)
        named = ", ".join(
            f"case when first.id is null then live.{c} else first.{c} end as {c}" for c in map(identifier, self.adds())
        )
        # Also what the rows that fall have themselves: a column that a decision does not name for a row is null there.
        found = live.keep(f"""select live.id, {named} from live left join live as first on live.fetched_with = first.id
            where first.id is not null or live.{outcome} is distinct from 'ok'""")
        failed = live.keep(f"""select live.id,
            'fetch:' || coalesce(first.{outcome}, live.{outcome}, 'connection') as reason
            from live left join live as first on live.fetched_with = first.id
            where coalesce(first.{outcome}, live.{outcome}) is distinct from 'ok'""")
        return Selection(failed, columns=found)
