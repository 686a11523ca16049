"""Text without e-mail addresses and phone numbers, for the shards."""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from curate.filters import contacts
from curate.stage import Stage


@dataclass
class RedactContacts(Stage):
    """Adds `redacted_<column>` for each of the columns: the text with `<email>` and `<phone>` in place of addresses and numbers,
    null where there are none.

    The shards (`.txt`, `.json`, sidecar) hold the redacted text in place of the column's own, and neither the raw text nor
    `redacted_<column>`; the ledger has both. It must come after every step that makes text of these columns. table: `images`,
    `texts` (paragraphs) or `documents` (with columns=("title",)).

    columns: texts that are redacted. Ours.
    """

    columns: tuple[str, ...] = ("text",)
    table: str = field(default="images", kw_only=True)
    version = 2

    def __post_init__(self):
        super().__post_init__()
        self.columns = tuple(self.columns)
        self.reads, self.redacts = self.columns, {c: f"redacted_{c}" for c in self.columns}

    def adds(self) -> dict[str, pa.DataType]:
        return {form: pa.large_string() for form in self.redacts.values()}

    def run(self, live: pa.Table) -> pa.Table:
        made = {}
        for column, form in self.redacts.items():
            text = live[column].cast(pa.large_string())
            new = contacts.redacted(text)
            made[form] = pc.if_else(pc.equal(new, text), pa.scalar(None, pa.large_string()), new)
        return pa.table(made)
