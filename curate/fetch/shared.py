"""Fetch each distinct URL of the pool once, and share the result among its rows."""

from dataclasses import dataclass, replace

import pyarrow as pa

from curate import schema
from curate.dedup.keys import keep_best
from curate.fetch.stage import Fetch, fetched
from curate.select.exchange import Frame, Sql, same
from curate.select.partition import ById
from curate.selector import Selection, Selector, identifier
from curate.stage import Step


def once(fetch: Fetch) -> list[Step]:
    """The steps that fetch each distinct URL once: `score=[..., *once(Fetch()), ...]`. The whole pool is exchanged before and after.

    RecipeError for a Fetch with a hash_column: rows that share a URL may list different hashes.
    """
    return [SharedUrl(), replace(fetch, shared=True), SharedFetch(fetch.name)]


@dataclass
class SharedUrl(Selector):
    """Adds `fetched_with`: of the rows with one URL (fragments aside) all but the first name the first, by its number in the
    pool. Drops nothing. Its notes have the number of requests made and saved."""

    reads = ("url",)

    def adds(self) -> dict[str, pa.DataType]:
        return {"fetched_with": pa.int64()}

    def select(self, live: Frame) -> Selection:
        found = keep_best(live, ("without_fragment(url)",), "create_sort_key(id, 'ASC NULLS LAST')").each(
            Sql("select id, survivor as fetched_with from live")
        )
        notes = {"rows": live.rows, "requests": live.rows - found.rows, "saved": found.rows}
        return Selection(columns=found, notes=notes)


@dataclass
class SharedFetch(Selector):
    """Copies the fetch result of the row named in `fetched_with` to the rows that share its URL, and drops all whose fetch failed,
    with the reason `fetch:` and the outcome. The bytes are stored once; rows point to them."""

    overwrites = tuple(schema.FETCHED)
    version = 2

    outcome: str = "fetch"  # the column with the outcome

    def __post_init__(self):
        super().__post_init__()
        self.overwrites = tuple(self.adds())
        self.reads = ("fetched_with", *self.adds())

    def adds(self) -> dict[str, pa.DataType]:
        return fetched(self.outcome)

    def select(self, live: Frame) -> Selection:
        outcome, named = identifier(self.outcome), ", ".join(map(identifier, self.adds()))
        # Shuffle: each row is sent to the chunk of the row named in `fetched_with`, and comes back with its values.
        requests = Sql("select id, fetched_with from live where fetched_with is not null")
        sent = live.shuffle(ById(live.starts, "fetched_with"), same, requests).at(live)
        joined_values = f"select live.id, {named} from live join other on live.fetched_with = other.id"
        results = sent.each(Sql(joined_values), live).home(live)
        each = ", ".join(
            f"case when other.id is null then live.{c} else other.{c} end as {c}" for c in map(identifier, self.adds())
        )
        joined = "from live left join other using (id)"
        # Dropped rows are included with their own values: a decision's column is null for rows that it does not contain.
        found = f"select live.id, {each} {joined} where other.id is not null or live.{outcome} is distinct from 'ok'"
        failed = f"""select live.id, 'fetch:' || coalesce(other.{outcome}, live.{outcome}, 'connection') as reason {joined}
            where coalesce(other.{outcome}, live.{outcome}) is distinct from 'ok'"""
        return Selection(live.each(Sql(failed), results), columns=live.each(Sql(found), results))
