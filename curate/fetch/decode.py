"""Decoding as an outcome: the step before the first stage that looks at pixels."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.fetch.image import Broken
from curate.fetch.pixels import decode
from curate.stage import Stage


def decode_all(files: list[bytes | None], isolate: bool = False) -> list[np.ndarray | str]:
    """Pixels (height, width, 3) of each file, or the word of schema.DECODE for why there are none."""
    found: list[np.ndarray | str] = []
    for data in files:
        try:
            found.append("broken" if data is None else decode(data))
        except Broken:
            found.append("broken")
    return found


@dataclass
class Decode(Stage):
    """Adds `decode`, the outcome for each image; what cannot be decoded is dropped here, so later stages see pixels only."""

    reads = ("image",)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: schema.STR}

    def run(self, live: pa.Table, images: list) -> pa.Table:
        return pa.table({self.name: pa.array(["ok" if isinstance(i, np.ndarray) else i for i in images], schema.STR)})

    def judge(self, columns: pa.Table) -> pa.Array:
        outcome = columns[self.name]
        word = pc.if_else(pc.equal(outcome, "broken"), "decode:broken", outcome)
        return pc.if_else(pc.equal(outcome, "ok"), pa.scalar(None, schema.STR), word.cast(schema.STR)).combine_chunks()
