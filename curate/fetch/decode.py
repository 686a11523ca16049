"""Stage that drops pictures a training loader cannot open, before any stage that reads pixels."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Stage


@dataclass
class Decode(Stage):
    """Whether open_clip's training loader can open the picture; the outcome is one of schema.DECODE.

    It reads the decoded pixels that later stages share, so it costs nothing of its own.
    """

    version: ClassVar[int] = 2
    reads = ("image",)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.large_string()}

    def run(self, live: pa.Table, images: list[Any]) -> pa.Table:
        return pa.table({self.name: pa.array([i if isinstance(i, str) else "ok" for i in images], pa.large_string())})

    def judge(self, columns: pa.Table) -> pa.Array:
        """`decode:broken`, `decode:format`, or the bare outcome where the decoder had to be killed."""
        outcome = columns[self.name].combine_chunks()
        file = pc.is_in(outcome, pa.array(["broken", "format"], pa.large_string()))
        word = pc.if_else(
            file,
            pc.binary_join_element_wise(pa.scalar("decode", pa.large_string()), outcome, pa.scalar(":", pa.large_string())),
            outcome,
        )
        return pc.if_else(pc.equal(outcome, "ok"), pa.scalar(None, pa.large_string()), word)
