"""Caps selector: at most a fixed number of rows for each value of a key, such as a host, a language or a cluster."""

from dataclasses import dataclass, field

from curate.dedup import keys
from curate.dedup.quality import coin_key, columns, sort_key
from curate.select.exchange import Frame, Sql
from curate.select.partition import ByHash
from curate.selector import PUBLISHED, Selection, Selector


@dataclass
class Caps(Selector):
    """Keeps at most `max` rows for each value of `key`: the best by the `by` columns, else a seeded random sample.

    A key is a column or a function of one, such as `host(url)`. Rows with a null in their key are kept. Rows of
    earlier releases rank first: new rows get what remains below `max`.

    max: rows of each value at most. key: columns, or functions of one, whose values are counted together. Ours.
    """

    version = 3
    sees_published = True

    key: tuple[str, ...] = ("host(url)",)
    max: int = 1000
    by: tuple[str, ...] = ()
    seed: int = 0
    table: str = field(default="images", kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        self.key, self.by = tuple(self.key), tuple(self.by)
        self.reads = keys.reads(self.key, *columns(self.by))

    def select(self, live: Frame) -> Selection:
        coin = coin_key(self.seed, self.name)
        keyed = keys.keyed(self.key, f"{sort_key(self.by) if self.by else coin} as rank")
        cap, number = int(self.max), f"row_number() over (partition by {keys.names(self.key)} order by rank) as place"
        # A row beyond the cap within its chunk is beyond it in the pool: only the others are shuffled.
        local = live.each(Sql(f"select *, {number} from ({keyed})"))
        beyond_in_bucket = f"select id from (select id, {number} from (select * exclude (place) from live)) where place > {cap}"
        within_chunk = Sql(f"select * from live where place <= {cap}")
        across = local.shuffle(ByHash("hash"), Sql(beyond_in_bucket), within_chunk).home(live)
        beyond = f"select live.id, hash from live left join other using (id) where live.id < {PUBLISHED} and (place > {cap} or other.id is not null)"
        drop = local.each(Sql(beyond), across)
        count = Sql("select count(distinct hash) as n from live")
        capped = drop.shuffle(ByHash("hash"), count, Sql("select distinct hash from live"))
        return Selection(drop, notes={"capped": capped.total("n")})
