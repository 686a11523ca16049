"""Which rows a deduplication drops, given the pairs that are too similar.

One rule for every dedup: rows are judged from best to worst, and a row falls if a better row that *stays* is too like it: the
greedy independent set in order of rank. So every row that falls has a survivor it really resembles, and nothing falls because of
a row that fell itself. (SemDeDup's code drops a row for any earlier row, kept or not; joining pairs into components drops rows
that resemble no survivor.)

It is found in rounds (Blelloch et al. 2012, Greedy sequential maximal independent set and matching are parallel on average): a row
is judged once all its better neighbours are that come before the first that stays. Pairs lie in the chunk of their worse row, and
ask the chunk of the better one for its state. Of a row's better neighbours only the `limit` best are listed; a row whose listed
ones all fell is asked about again, among those that stay, so the outcome is exact. Rows of earlier releases stay: they rank first and are
never asked about.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.dedup.keys import keep_best
from curate.select.exchange import Frame, Sql, same
from curate.select.partition import ById
from curate.selector import PUBLISHED

#: Pairs as finders return them, in any bucket, more than once if they like. A row that has more pairs than are listed has one more line
#: without a survivor. `view` orders what was found of one pair: the similarity is that of the first.
PAIRS = pa.schema(
    [
        ("id", pa.int64()),
        ("uid", pa.large_string()),
        ("survivor", pa.int64()),
        ("survivor_uid", pa.large_string()),
        ("rank", pa.binary()),  # of the better row: the smaller the better
        ("similarity", pa.float32()),
        ("view", pa.int32()),
    ]
)

#: Finds the pairs of the rows whose column `asked` holds with any better row of the frame.
Find = Callable[[Frame], Frame]


@dataclass
class Duplicates:
    """The duplicates of a pool: `edges` (selector.EDGES) in the chunks of the pool, and counts for the run's notes."""

    edges: Frame
    distinct: int
    pairs: int
    rounds: int

    def notes(self) -> dict[str, int]:
        return {"distinct": self.distinct, "pairs": self.pairs, "rounds": self.rounds}


def duplicates(live: Frame, rows: Frame, find: Find, limit: int = 64, chained: bool = False) -> Duplicates:
    """The rows that fall. `rows`, in the chunks of the pool, have `id`, `uid`, `rank` (sort_key), `same` (equal for rows that need
    no comparison), and what `find` reads. chained: a row falls for any better row, also for one that fell itself, which its edge may
    name."""
    copies = keep_best(rows, ("same",), "rank")
    fallen = copies.each(Sql("select * from live limit 0"))
    waiting, pairs, rounds, distinct = None, 0, 0, rows.rows - copies.rows
    if chained:
        listed = find(rows.each(_Undecided(everything=True), copies, fallen, fallen)).home(
            live, task=Sql(_LISTED.format(int(limit)))
        )
        return Duplicates(_with_copies(live, copies, listed.each(Sql(_BEST))), distinct, listed.rows, 1)
    while waiting is None or waiting.rows:
        asked = rows.each(_Undecided(everything=waiting is None), copies, fallen, waiting or fallen)
        listed = find(asked).home(live, task=Sql(_LISTED.format(int(limit))))
        pairs += listed.rows
        fallen, waiting, more = _judged(live, listed, fallen)
        rounds += more
    return Duplicates(_with_copies(live, copies, fallen), distinct, pairs, rounds)


_LISTED = """with one as (select id, survivor, any_value(uid) as uid, any_value(survivor_uid) as survivor_uid, any_value(rank) as rank,
        first(similarity order by view, similarity desc) as similarity from live where survivor is not null group by id, survivor),
    placed as (select *, row_number() over (partition by id order by rank) as place from one)
    select id, uid, survivor, survivor_uid, rank, similarity from placed where place <= {0}
    union all select distinct id, uid, null, null, null, null from
        (select id, uid from placed where place > {0} union all select id, uid from live where survivor is null)"""

_BEST = """select id, any_value(uid) as uid, first(survivor order by rank) as survivor, first(survivor_uid order by rank) as survivor_uid,
    first(similarity order by rank) as similarity from live where survivor is not null group by id"""

_STATES = """select id, survivor, case when survivor in (select id from third) then 'fell'
    when survivor in (select id from other) then 'waits' else 'stays' end as state from live"""

# Of the pairs whose better row has not fallen the best one decides: it stays, or it waits; a line without a survivor waits for more pairs.
_FATES = """with known as (select live.*, coalesce(other.state, 'more') as state
        from live left join other on live.id = other.id and live.survivor = other.survivor)
    select *, first_value(state) over w as fate, row_number() over w as place from known where state != 'fell'
    window w as (partition by id order by rank nulls last)"""


def _judged(live: Frame, pairs: Frame, fallen: Frame) -> tuple[Frame, Frame, int]:
    """The dropped rows, the pairs of rows that these pairs cannot decide, and the number of rounds."""
    waiting, rounds = pairs, 0
    while True:
        asking = Sql("select id, survivor from live where survivor is not null")
        asked = waiting.shuffle(ById(live.starts, "survivor"), same, asking).at(live)
        states = asked.each(Sql(_STATES), waiting, fallen).home(live)
        judged = waiting.each(Sql(_FATES), states)
        fell = judged.each(
            Sql("select id, uid, survivor, survivor_uid, similarity from live where fate = 'stays' and place = 1")
        )
        left = judged.each(Sql("select * exclude (state, fate, place) from live where fate != 'stays'"))
        fallen = fallen.each(Sql("select * from live union all by name select * from other"), fell)
        rounds += 1
        if left.rows in (0, waiting.rows):
            return fallen, left, rounds
        waiting = left


def _with_copies(live: Frame, copies: Frame, fallen: Frame) -> Frame:
    """The edges of dropped rows and of their exact copies: a copy points to its original, or to that row's survivor."""
    asked = copies.shuffle(ById(live.starts, "survivor"), same).at(live)
    answer = """select live.id, live.uid, coalesce(other.survivor, live.survivor) as survivor,
        coalesce(other.survivor_uid, live.survivor_uid) as survivor_uid, coalesce(other.similarity, 1)::float as similarity
        from live left join other on other.id = live.survivor"""
    moved = asked.each(Sql(answer), fallen).home(live)
    return moved.each(Sql("select * from live union all by name select * from other"), fallen)


@dataclass(frozen=True)
class _Undecided:
    """The undecided rows (no copies, none that fell), with the flag `asked`: whether their pairs are wanted."""

    everything: bool

    def __call__(self, rows: pa.Table, copies: pa.Table, fallen: pa.Table, waiting: pa.Table) -> pa.Table:
        ids, out = rows["id"].to_numpy(), np.concatenate([copies["id"].to_numpy(), fallen["id"].to_numpy()])
        rows = rows.filter(pa.array(~np.isin(ids, out)))
        ids = rows["id"].to_numpy()
        asked = (np.isin(ids, waiting["id"].to_numpy()) | self.everything) & (ids < PUBLISHED)
        return rows.append_column("asked", pa.array(asked))


def pairs_table(
    rows: pa.Table, worse: np.ndarray, better: np.ndarray, similarity: np.ndarray, view: np.ndarray | int = 0
) -> pa.Table:
    """PAIRS from row numbers of a table with id, uid and rank; a row paired with itself marks that it has more pairs than listed."""
    mine, theirs, more = pa.array(worse), pa.array(better), worse == better
    theirs = pa.array(better, mask=more)
    columns = [
        rows["id"].take(mine),
        rows["uid"].take(mine),
        rows["id"].take(theirs),
        rows["uid"].take(theirs),
        rows["rank"].take(theirs),
        pa.array(np.asarray(similarity, np.float32)),
        pa.array(np.broadcast_to(np.asarray(view, np.int32), len(worse))),
    ]
    return pa.table(columns, names=PAIRS.names).cast(PAIRS)
