"""Captions with normalised white space and without boilerplate at their ends."""

import re
from dataclasses import dataclass

import pyarrow as pa

from curate.filters.boilerplate_text import LENGTH, PATTERN
from curate.stage import Stage

#: Separators between a caption and the boilerplate that a page appends.
_APART = re.compile(r"[^\w\s'\")\]%](?:[^\w]*)$")
#: Phrases that no sentence ends with, removed without a separator too.
_SURE = re.compile(r"click|tap |touch |press |(?:free|hd|royalty).*stock|stock|embedded|点击|點擊", re.I)
_ENDS = " ,;:|/-–—•·，；：、。"


@dataclass
class CleanCaption(Stage):
    """Adds `chosen_text`, which shards take for the caption: `text` with each run of white space as one blank and none at the ends, as
    COYO has it. Null where there is none.

    crop: boilerplate (see BoilerplateText) at the beginning or the end is cut off too: "A red door, photographed on 2019-04-01", "old
    mill stock photo". Conceptual Captions crops so. Other phrases, numbers and names of files count only where a mark sets them
    apart, and a text of nothing else stays as it is.
    """

    reads = ("text",)
    captions = "chosen_text"

    crop: bool = False

    def adds(self) -> dict[str, pa.DataType]:
        return {"chosen_text": pa.large_string()}

    def run(self, live: pa.Table) -> pa.Table:
        plain = (None if t is None else " ".join(t.split()) for t in live["text"].to_pylist())
        found = [cropped(t) if self.crop and t else t for t in plain]
        return pa.table({"chosen_text": pa.array(found, pa.large_string())})


def cropped(text: str) -> str:
    """The text without boilerplate at its ends."""
    rest = text[:LENGTH]
    while cut := _at_an_end(rest):
        rest = cut
    return text if rest == text[:LENGTH] else rest


def _at_an_end(text: str) -> str:
    """The text without one phrase at its beginning or end; "" if there is none, or nothing else."""
    for match in PATTERN.finditer(text):
        before, after = text[: match.start()], text[match.end() :]
        several = _SURE.match(match[0]) is not None
        ends = not re.search(r"\w", after) and (several or _APART.search(before))
        begins = not re.search(r"\w", before) and (several or re.match(r"\s*[,;:|)\]–—•·]|\s+-", after))
        rest = before.rstrip(_ENDS + "([") if ends else after.strip(_ENDS + ")].") if begins else ""
        if re.search(r"\w", rest):
            return rest
    return ""
