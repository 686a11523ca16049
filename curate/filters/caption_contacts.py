"""Count of e-mail addresses and phone numbers in the caption."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import contacts
from curate.stage import Filter


@dataclass
class CaptionContacts(Filter):
    """E-mail addresses and phone numbers in the caption, 0 without a caption. Counts; with `max` it also drops, and
    RedactContacts takes them out of what the shards hold. `contacts.py` says what is taken for one.

    Ours.
    """

    reads = ("text",)
    dtype = pa.int32()
    unit = "addresses and numbers"
    version = 2

    def score(self, live: pa.Table) -> pa.Array:
        return contacts.count(live["text"])
