"""Licence and attribution of pictures, from columns and file metadata."""

from dataclasses import dataclass

import pyarrow as pa

from curate.fetch.rights import rights
from curate.schema import STR
from curate.stage import Stage
from curate.web.licences import among, licence

#: Columns with a licence, in order of precedence: of the list, then of the page.
STATED = ("source_license", "source_licence", "source_License", "source_license_url", "declared_licence")
#: Columns with the attribution.
NAMED = ("source_attribution", "source_creator", "source_author", "source_artist", "source_credit", "declared_attribution")


@dataclass
class Licence(Stage):
    """Adds `licence` (one spelling: `cc-by-4.0`, `cc0-1.0`, `public-domain`, `all-rights-reserved`, `other`; null: nothing is stated),
    `licence_from` (the column, or `file`) and `licence_attribution` (whom to name); the three go into shards and sidecars.

    A picture of which nothing is stated is dropped, for `licence`, unless `unstated`.
    among: keep only these; one without a version, `cc-by`, stands for all versions. Empty: whatever is stated.
    columns, names: where licences and names are stated, beside those that lists and pages bring (STATED, NAMED). files: look into the
    pictures' own metadata too (XMP, IPTC, EXIF), where no column states a licence; needs Fetch before it, without re-encoding.

    What is stated is not what is true: a licence is the claim of a list, a page or a file.

    unstated: whether pictures of which nothing is stated stay. Spellings follow SPDX's identifiers (https://spdx.org/licenses).
    """

    version = 2
    reads = ()
    optional_reads = (*STATED, *NAMED)
    untracked = ("among", "unstated")

    among: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    files: bool = False
    unstated: bool = False

    def __post_init__(self):
        super().__post_init__()
        self.reads = (*self.columns, *self.names, *(("bytes",) if self.files else ()))

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: STR, f"{self.name}_from": STR, f"{self.name}_attribution": STR}

    def judge(self, columns: pa.Table) -> pa.Array:
        return pa.array([self._reason(found) for found in columns[self.name].to_pylist()], STR)

    def _reason(self, found: str | None) -> str | None:
        kept = self.unstated if found is None else not self.among or among(found, self.among)
        return None if kept else self.name

    def run(self, live: pa.Table, files: list[bytes | None] | None = None) -> pa.Table:
        columns = [c for c in (*self.columns, *STATED, *self.names, *NAMED) if c in live.column_names]
        rows = live.select(columns).to_pylist() if columns else [{}] * len(live)
        found = [self._row(row, data) for row, data in zip(rows, files or [None] * len(live))]
        return pa.table({n: pa.array([f[i] for f in found], STR) for i, n in enumerate(self.adds())})

    def _row(self, row: dict, data: bytes | None) -> tuple[str | None, str | None, str | None]:
        """The licence of a row, the column (or `file`) that states it, and the attribution."""
        where = next((c for c in (*self.columns, *STATED) if _stated(row.get(c))), None)
        name = next((stated for c in (*self.names, *NAMED) if (stated := _stated(row.get(c)))), None)
        if where is not None or data is None:
            return licence(_stated(row.get(where))) if where else None, where, name
        stated, credited = rights(data)
        return licence(stated), "file" if stated else None, name or credited


def _stated(value: object) -> str | None:
    return None if value is None else str(value).strip()[:2000] or None
