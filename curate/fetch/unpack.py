"""Extract pictures embedded in tables and PDF files into payloads."""

from dataclasses import dataclass

import pyarrow as pa

from curate import schema
from curate.errors import PoolError
from curate.sources import contained
from curate.stage import Stage
from curate.store.payload import Parcel


@dataclass
class Unpack(Stage):
    """Extracts each live row's picture from the file that embeds it into the payload, where Fetch inspects it. ImageTables and Pdfs put it before all others.

    The outcome is a column like the stage: ok, no_image (null or empty) or too_large; the drop reason is `unpack:` and the outcome.

    image: the column with the pictures; empty: as ImageTables finds it. max_bytes: of one picture. reader: yields (number, bytes) of a
    file's pictures, in a child; key: the column with these numbers.

    Ours.
    """

    writes_payload = True
    reads = ("source_file", "source_row")

    image: str = ""
    max_bytes: int = 20 << 20
    reader: str = "curate.sources.image_tables:pictures"
    key: str = "source_row"

    def __post_init__(self):
        super().__post_init__()
        self.reads = ("source_file", self.key)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: schema.STR, **schema.PAYLOAD}

    def judge(self, columns: pa.Table) -> pa.Array:
        return pa.array([None if w == "ok" else f"{self.name}:{w}" for w in columns[self.name].to_pylist()], schema.STR)

    def run(self, live: pa.Table, parcel: Parcel) -> pa.Table:
        columns: dict[str, list] = {n: [None] * len(live) for n in self.adds()}
        columns[self.name] = ["no_image"] * len(live)
        files: dict[str, dict[int, int]] = {}
        for at, (file, row) in enumerate(zip(live["source_file"].to_pylist(), live[self.key].to_pylist())):
            files.setdefault(file, {})[row] = at
        for file, places in files.items():
            self._file(file, places, live["uid"].to_pylist(), columns, parcel)
        return pa.table({n: pa.array(columns[n], t) for n, t in self.adds().items()})

    def _file(self, file: str, places: dict[int, int], uids: list[str], columns: dict[str, list], parcel: Parcel) -> None:
        """Extract the pictures of one file; places: from a row number in the file to its row in the part."""
        wanted = (file, self.image, min(places), max(places) + 1, self.max_bytes)
        try:
            for row, data in contained.read(self.reader, [file], *wanted):
                if row not in places or not data:
                    continue
                at = places[row]
                columns[self.name][at] = "ok" if isinstance(data, bytes) else "too_large"
                if isinstance(data, bytes):
                    columns["payload_size"][at] = len(data)
                    columns["payload_offset"][at] = parcel.add(f"{uids[at]}.bin", data)
        except (OSError, ValueError) as e:
            raise PoolError(f"{file}: the pictures from row {min(places)} on cannot be read: {e}") from e
