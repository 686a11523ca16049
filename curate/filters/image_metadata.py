"""Filter by the metadata in the image file."""

from dataclasses import dataclass

import pyarrow as pa

from curate.fetch.metadata import metadata
from curate.stage import Filter


@dataclass
class ImageMetadata(Filter):
    """Metadata in the file as kept: 0 none, 1 some (EXIF, XMP, IPTC, comments), 2 with the place where it was taken (GPS).

    Counts; `max=1` drops pictures that tell a place. Re-encoding (`Fetch(resize_mode=...)`) takes all metadata off: 0 everywhere.

    Ours.
    """

    version = 2
    reads = ("bytes",)
    dtype = pa.int8()
    unit = "0, 1 or 2"

    def score(self, live: pa.Table, files: list[bytes | None]) -> list[int | None]:
        return [None if data is None else metadata(data) for data in files]
