"""Keys that rows are grouped by: columns, or simple functions of columns, written `host(url)`."""

import re

from curate.errors import RecipeError
from curate.select.exchange import Frame, Sql
from curate.select.partition import ByHash
from curate.selector import identifier

#: URLs whose host is as it is written: lower case, nothing to be mapped, no address. Most are such.
_WRITTEN = r"^https?://([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]+(:[0-9]{{1,4}})?([/?#]|$)"

#: What may stand around a column, and its SQL. Without a host, or without a word, a key is null.
FUNCTIONS = {
    "host": f"""case when regexp_matches({{0}}, '{_WRITTEN}')
        then regexp_extract({{0}}, '^https?://(?:www\\.)?([^/?#:]+)', 1) else url_site({{0}}) end""",
    "without_fragment": "split_part({}, '#', 1)",
    "lower": "lower({})",
    "words": "nullif(trim(regexp_replace(lower(nfc_normalize({})), '[^\\pL\\pM\\pN]+', ' ', 'g')), '')",
}
_CALL = re.compile(r"(\w+)\((\w+)\)")


def column(key: str) -> str:
    """The column that a key reads."""
    call = _CALL.fullmatch(key)
    return call[2] if call else key


def sql(key: str) -> str:
    """A key as SQL; RecipeError for a function that does not exist."""
    call = _CALL.fullmatch(key)
    if not call:
        return identifier(key)
    if call[1] not in FUNCTIONS:
        raise RecipeError(f"key {key}: there is no function {call[1]}; there are {', '.join(FUNCTIONS)}")
    return FUNCTIONS[call[1]].format(identifier(call[2]))


def reads(keys: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """The columns behind keys and further columns, each once."""
    return tuple(dict.fromkeys([*(column(k) for k in keys), *more]))


def keyed(keys: tuple[str, ...], more: str = "") -> str:
    """SQL over `live`: rows whose keys are all there, with the keys as k0, k1 … and their `hash`, and what an SQL select list adds."""
    each = ", ".join(f"{sql(k)} as k{i}" for i, k in enumerate(keys))
    whole = " and ".join(f"k{i} is not null" for i in range(len(keys)))
    return f"select *, hash({names(keys)}) as hash from (select id, uid, {each}{more and f', {more}'} from live) where {whole}"


def names(keys: tuple[str, ...]) -> str:
    """The columns of the keys in `keyed`, as an SQL list."""
    return ", ".join(f"k{i}" for i in range(len(keys)))


def keep_best(live: Frame, keys: tuple[str, ...], rank: str) -> Frame:
    """The duplicates by these keys as edges (selector.EDGES): each falls for the row with the smallest rank, an SQL expression of
    bytes (as of create_sort_key) that no two rows share.

    The best of a chunk is found in the chunk, and only the best of the chunks meet: a key that is everywhere fills no bucket.
    """
    best = f"""select id, uid, {names(keys)}, hash, rank, first_value(id) over w as first
        from ({keyed(keys, f"{rank} as rank")}) window w as (partition by {names(keys)} order by rank)"""
    local = live.each(Sql(best))
    met = f"""select id, first_value(id) over w as survivor, first_value(uid) over w as survivor_uid
        from live window w as (partition by {names(keys)} order by rank)"""
    across = local.shuffle(ByHash("hash"), Sql(met), Sql("select * exclude (first) from live where id = first")).home(live)
    joined = """select live.id, live.uid, other.survivor, other.survivor_uid, 1.0::float as similarity
        from live join other on other.id = live.first where live.id != other.survivor"""
    return local.each(Sql(joined), across)


def groups(edges: Frame) -> int:
    """The number of survivors that edges name."""
    each = "select distinct survivor, hash(survivor) as hash from live"
    counted = edges.shuffle(ByHash("hash"), Sql("select count(distinct survivor) as n from live"), Sql(each))
    return counted.total("n")
