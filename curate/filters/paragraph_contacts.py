"""Count of e-mail addresses and phone numbers in a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import contacts
from curate.stage import Filter


@dataclass
class ParagraphContacts(Filter):
    """E-mail addresses and phone numbers in a paragraph. Counts; with `max` it also drops.

    Ours.
    """

    table = "texts"
    reads = ("text",)
    dtype = pa.int32()
    unit = "addresses and numbers"
    version = 2

    def score(self, live: pa.Table) -> pa.Array:
        return contacts.count(live["text"])
