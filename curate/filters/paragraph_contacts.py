"""Ways to reach people in a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import contacts
from curate.stage import Filter


@dataclass
class ParagraphContacts(Filter):
    """E-mail addresses and phone numbers in a paragraph. Counts; with `max` it also drops."""

    table = "texts"
    reads = ("text",)
    dtype = pa.int32()
    version = 2

    def score(self, live: pa.Table) -> pa.Array:
        return contacts.count(live["text"])
