"""Which text goes into `.txt`: raw or synthetic, by a seeded coin, by the same cut for both, or by a cut over the pool.

All of these add `chosen_text` and `chosen_origin` (`raw`, or a caption's name) and leave every variant where it is.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.select.exchange import Frame, Sql
from curate.select.partition import ByHash
from curate.select.top_fraction import cut_at
from curate.selector import Selection, Selector, coin, identifier, quoted
from curate.stage import Stage, reasons

#: A character that str.strip() leaves, for DuckDB.
BLACK = r"[^\s\x0b\x1c-\x1f\x85\p{Z}]"
CHOSEN = {"chosen_text": pa.large_string(), "chosen_origin": pa.large_string()}


def column(variant: str) -> str:
    """The column of a variant: `raw` -> `text`, `coca` -> `caption_coca`."""
    return "text" if variant == "raw" else f"caption_{variant}"


def score_column(variant: str) -> str:
    """The column of its score: `raw` -> `clip_score`, `coca` -> `caption_coca_score`."""
    return "clip_score" if variant == "raw" else f"caption_{variant}_score"


@dataclass
class Mix(Stage):
    """Draws each row's text by the hash of its uid: Mix({"raw": 0.5, "coca": 0.3, "fused": 0.2}).

    A variant that is null, empty, faulty (`checked`: variants with a column of faults), scores under `min` or, with `no_worse`, under the
    raw text's score cannot be drawn (BLIP-2, 2301.12597, lets raw and written texts compete by the same score); the others then share
    its part. `chosen_probability` holds what each had, for loaders that draw again at train time, as open_clip's `--json-text-key
    "text;caption_coca" --json-text-key-probs` does (after its release 3.3). If there is none, `chosen_text` is null, and with `drop` the
    row falls.

    Shares of raw text that were good: 0.8 for CLIP, 0.5 to balance it with retrieval (Recap-DataComp, 2406.08478).

    min: score that a text needs; none: no limit.
    shares: chance of each variant, by name; `raw` is the row's own text. checked: variants with a column of faults. drop: whether a row without a text
    falls.
    no_worse: whether a text must score at least as well as the raw one.
    """

    shares: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    min: float | None = None
    checked: tuple[str, ...] = ()
    drop: bool = False
    no_worse: bool = False
    untracked = ("drop",)
    captions = "chosen_text"

    def __post_init__(self):
        super().__post_init__()
        if not self.shares or any(s < 0 for s in self.shares.values()) or not sum(self.shares.values()):
            raise RecipeError(
                f"{self.name}: shares are {self.shares}; name variants, with shares of 0 or more that are not all 0"
            )
        unknown = set(self.checked) - set(self.shares)
        if unknown:
            raise RecipeError(f"{self.name}: {', '.join(sorted(unknown))} in `checked` has no share")
        self.checked = tuple(self.checked)
        self.reads = (
            *map(column, self.shares),
            *(f"{column(v)}_faults" for v in self.checked),
            *(map(score_column, self.shares) if self.min is not None or self.no_worse else ()),
        )

    def adds(self) -> dict[str, pa.DataType]:
        return {**CHOSEN, "chosen_probability": pa.struct([(v, pa.float32()) for v in self.shares])}

    def run(self, live: pa.Table) -> pa.Table:
        weights = np.stack([share * self.allowed(live, v) for v, share in self.shares.items()], 1)
        total = weights.sum(1, keepdims=True)
        reach = np.cumsum(weights, 1)
        drawn = (
            (reach <= coin(live["uid"].to_pylist(), self.seed, "mix")[:, None] * total).sum(1).clip(max=weights.shape[1] - 1)
        )
        none = total[:, 0] == 0
        variants, texts = list(self.shares), [live[column(v)].to_pylist() for v in self.shares]
        text = [None if no else texts[d][i] for i, (d, no) in enumerate(zip(drawn, none))]
        origin = [None if no else variants[d] for d, no in zip(drawn, none)]
        chances = (weights / np.where(total, total, 1)).astype(np.float32)
        kinds = self.adds()
        probability = pa.StructArray.from_arrays([pa.array(c) for c in chances.T], fields=list(kinds["chosen_probability"]))
        return pa.table(
            [pa.array(text, pa.large_string()), pa.array(origin, pa.large_string()), probability], names=list(kinds)
        )

    def allowed(self, live: pa.Table, variant: str) -> np.ndarray:
        """For each row, whether the variant may be drawn."""
        good = np.array([bool(t and t.strip()) for t in live[column(variant)].to_pylist()], dtype=bool)
        if variant in self.checked:
            good &= np.array(
                [faults is not None and not faults for faults in live[f"{column(variant)}_faults"].to_pylist()], dtype=bool
            )
        if self.min is not None:
            scores = live[score_column(variant)].to_numpy().astype(np.float64)
            good &= scores >= self.min  # NaN, from null, is not
        if self.no_worse and variant != "raw":
            mine, raw = (live[score_column(v)].to_numpy().astype(np.float64) for v in (variant, "raw"))
            good &= (mine >= raw) | (np.isnan(raw) & ~np.isnan(mine))
        return good

    def judge(self, columns: pa.Table) -> pa.Array:
        return reasons(columns["chosen_text"].is_valid(), self.name) if self.drop else super().judge(columns)


@dataclass
class CapFilt(Mix):
    """BLIP's CapFilt (2201.12086): raw and synthetic text are judged by the same cut, what passes is used, and a row where
    nothing passes falls. BLIP trains on the union; here a row keeps its place, and one of its good texts is drawn with equal
    chances.

    min: of the score, by CLIP where BLIP has a matching head. In BLIP nucleus sampling lost 25 % of the captions, beam search
    19 %.

    shares: chance of each variant, by name; all the same. checked: variants with a column of faults. drop: whether a row without a good text falls.
    no_worse: whether a text must score at least as well as the raw one.
    """

    drop: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.min is None:
            raise RecipeError(f"{self.name}: without min nothing is filtered")


@dataclass
class RawElseSynthetic(Selector):
    """Nguyen et al. (2307.10350): the raw text of the `fraction` of the pool with the best `clip_score`; for the others the
    synthetic text if its score passes the same cut; rows with neither fall.

    The cut is the score at 0-based rank int(N * fraction), as in TopFraction; or `min`, if given. faults: whether
    `caption_<variant>_faults` is there; a faulty text does not pass.

    min: score that a text needs; none: the score at the cut.
    variant: name of the synthetic text, of the column `caption_<variant>`. fraction: share of the pool that keeps its raw text.
    """

    version = 2
    captions = "chosen_text"

    variant: str = ""
    fraction: float = 0.3
    min: float | None = None
    faults: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not self.variant or not 0 < self.fraction <= 1:
            raise RecipeError(f"{self.name}: give the variant's name, and a fraction above 0 and at most 1")
        of = column(self.variant)
        self.reads = ("text", "clip_score", of, score_column(self.variant), *([f"{of}_faults"] if self.faults else []))

    def adds(self) -> dict[str, pa.DataType]:
        return dict(CHOSEN)

    def select(self, live: Frame) -> Selection:
        cut = cut_at(live, "clip_score", self.fraction) if self.min is None else float(self.min)
        of, score, variant = column(self.variant), identifier(score_column(self.variant)), quoted(self.variant)
        text = identifier(of)
        flawless = f"and len({identifier(f'{of}_faults')}) = 0" if self.faults else ""
        passes = lambda score, text: (  # noqa: E731
            f"""{score} >= '{cut!r}'::double and not isnan({score}) and regexp_matches({text}, '{BLACK}')"""
        )
        rows = live.each(
            Sql(f"""
            select id, case when {passes("clip_score", "text")} then 'raw'
                            when {passes(score, text)} {flawless} then {variant}
                       end as chosen_origin,
                   case chosen_origin when 'raw' then text when {variant} then {text} end as chosen_text
            from live""")
        )
        counts: Counter[str] = Counter()
        for t in rows.each(Sql("select chosen_origin as origin, count(*) as n from live group by all")).tables():
            counts.update({str(origin): n for origin, n in zip(t["origin"].to_pylist(), t["n"].to_pylist())})
        notes = {"cut": cut if math.isfinite(cut) else None, "of": live.rows, "chosen": dict(sorted(counts.items()))}
        return Selection(rows.each(Sql("select id from live where chosen_origin is null")), rows, notes=notes)


@dataclass
class CaptionRepeats(Selector):
    """Adds `<of>_repeats`: in how many live rows the same text stands in column `of`, case and white space aside. Drops
    nothing.

    A captioner without an idea writes the same line for thousands of pictures. With `max`, `<of>_once` is the text where it is
    repeated at most so often, and null elsewhere.

    max: rows with the same text at most, for `<of>_once`; none: no such column. Ours.
    """

    of: str = ""
    max: int = 10

    def __post_init__(self):
        self.name = self.name or f"{self.of}_repeats"
        super().__post_init__()
        self.reads = (self.of,)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.int64(), f"{self.of}_once": pa.large_string()}

    def select(self, live: Frame) -> Selection:
        of, name, once = identifier(self.of), identifier(self.name), identifier(f"{self.of}_once")
        plain = f"lower(trim(regexp_replace({of}, '\\s+', ' ', 'g'))) as plain"
        counted = f"select plain, hash(plain) as hash, min(id) as id, count(*) as n from (select id, {plain} from live) where plain is not null group by plain"
        met = "select id, (sum(n) over (partition by plain))::bigint as n from live"
        times = live.shuffle(ByHash("hash"), Sql(met), Sql(counted)).home(live)
        joined = f"""with texts as (select id, {of} as text, {plain} from live),
                times as (select plain, n from other join texts using (id))
            select id, n as {name}, if(n <= {int(self.max)}, text, null) as {once} from texts left join times using (plain)"""
        rows = live.each(Sql(joined), times)
        repeated = rows.each(Sql(f"select id from live where {name} > {int(self.max)}"))
        return Selection(columns=rows, notes={"repeated": repeated.rows, "of": live.rows})
