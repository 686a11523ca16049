"""Two rows shown together: which row another one is paired with, and a model's text about both pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate import schema
from curate.errors import RecipeError
from curate.select.exchange import Frame, Sql
from curate.select.partition import ByHash
from curate.selector import Selection, Selector, identifier
from curate.synth.caption import TextStage
from curate.synth.captioners.base import Answer, Content
from curate.synth.documents import Look

#: Each row twice: what it asks for, and what it offers to those that ask for it.
ASKED = """select *, hash(key) as hash from (
    select id, uid, {of}::varchar as key, false as offers, null::varchar as text, null as picture from live
    union all select id, uid, {by}::varchar, true, text, struct_pack({place}) from live) where key is not null"""
#: Of several rows that are asked for by one value the one with the smallest uid, the row itself aside.
MET = """with offered as (select * from live where offers
    qualify row_number() over (partition by key order by uid, id) <= 2)
    select live.id, other.uid as {uid}, other.text as {text}, other.picture as {picture}
    from live join offered as other on live.key = other.key and live.id != other.id where not live.offers
    qualify row_number() over (partition by live.id order by other.uid, other.id) = 1"""


@dataclass
class PairedRow(Selector):
    """Adds of another live row, which column `of` names, `<name>_uid`, `<name>_text` and `<name>_picture`: where its bytes are, for
    CaptionPair; that column stays out of the shards. Null where there is no such row. Drops nothing.

    of: a column with the value that the other row has in column `by`. By default the row of the hardest wrong caption
    (MatchingNegatives); with a list's own pairs say `of="source_other", by="source_id"`. by: the column in which that value is looked up. Ours.
    """

    of: str = "matching_negative_uid"
    by: str = "uid"

    def __post_init__(self):
        super().__post_init__()
        self.reads = tuple(dict.fromkeys((self.of, *([] if self.by == "uid" else [self.by]), "text", *schema.PAYLOAD)))

    def adds(self) -> dict[str, pa.DataType]:
        place = pa.struct(list(schema.PAYLOAD.items()))
        return {f"{self.name}_uid": pa.large_string(), f"{self.name}_text": pa.large_string(), f"{self.name}_picture": place}

    def select(self, live: Frame) -> Selection:
        place = ", ".join(f"{c} := {c}" for c in schema.PAYLOAD)
        asked = ASKED.format(of=identifier(self.of), by=identifier(self.by), place=place)
        names = {what: identifier(f"{self.name}_{what}") for what in ("uid", "text", "picture")}
        found = live.shuffle(ByHash("hash"), Sql(MET.format(**names)), Sql(asked), factor=2).home(live)
        return Selection(columns=found, notes={"paired": found.rows, "of": live.rows})


@dataclass
class CaptionPair(TextStage):
    """A model's text about a row's picture beside that of the row it is paired with (PairedRow): it is shown the row's own, the other, and
    the prompt (`compare`, or a text, which may have texts of the row in it). A row without a partner is not asked for.

    pair: the name of the PairedRow. Ours.
    """

    reads = ("image",)
    decodes_context = True

    prompt: str = "compare"
    pair: str = "paired_row"

    def __post_init__(self):
        super().__post_init__()
        self.reads = (*self.reads, f"{self.pair}_picture")
        if self.by.most_pictures < 2:
            raise RecipeError(f"{self.name}: {self.by.model} is shown one picture at most, and a pair is two")

    def contents(self, live: pa.Table, *inputs: Any, **context: pa.Table) -> Iterator[Content | Answer]:
        images: list[np.ndarray | str] = inputs[0]
        look: Look = inputs[1]
        places = live[f"{self.pair}_picture"].to_pylist()
        others = iter(look([place for place in places if place]))
        for image, place, prompt in zip(images, places, self.prompts(live)):
            other = next(others) if place else "none"
            if isinstance(image, str) or isinstance(other, str):
                yield Answer(None, "bad_image")
            else:
                yield Answer(None, "no_text") if prompt is None else (image, other, prompt)
