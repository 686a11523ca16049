"""Size of the image file."""

from dataclasses import dataclass

import pyarrow as pa

from curate.stage import Filter


@dataclass
class ImageBytes(Filter):
    """Bytes of the image file as kept. LAION and COYO keep 5 kB and more: smaller files are icons and spacers."""

    min: float | None = 5_000
    reads = ("payload_size",)
    dtype = pa.int64()
    unit = "bytes"

    def score(self, live: pa.Table) -> pa.Array:
        return live["payload_size"]
