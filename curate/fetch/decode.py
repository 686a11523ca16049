"""Decoding as a stage: what a training loader could not open is dropped, before any stage that reads pixels."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.fetch.image import LOADED, sniff
from curate.fetch.isolate import Isolated
from curate.stage import Stage


def decode_all(files: list[bytes | None], child: Isolated) -> list[np.ndarray | str]:
    """For each file its pixels (uint8, height x width x 3, RGB), or why there are none: an outcome of schema.DECODE.

    A file that kills its decoder, or is slow, is lost alone: decoders run in a child process.
    """
    return [_one(data, child) for data in files]


def _one(data: bytes | None, child: Isolated) -> np.ndarray | str:
    mime = sniff(data or b"")
    if mime in LOADED:
        return child.decode(data)
    return "broken" if mime is None else "format"


@dataclass
class Decode(Stage):
    """Whether open_clip's training loader can open the picture; the outcome is one of schema.DECODE.

    It asks for the pixels that the stages after it share, so it costs nothing of its own.
    """

    version: ClassVar[int] = 2
    reads = ("image",)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.large_string()}

    def run(self, live: pa.Table, images: list[np.ndarray | str]) -> pa.Table:
        return pa.table({self.name: pa.array([i if isinstance(i, str) else "ok" for i in images], pa.large_string())})

    def judge(self, columns: pa.Table) -> pa.Array:
        """`decode:broken`, `decode:format`, or the bare word for a decoder that had to be killed."""
        outcome = columns[self.name].combine_chunks()
        file = pc.is_in(outcome, pa.array(["broken", "format"], pa.large_string()))
        word = pc.if_else(
            file,
            pc.binary_join_element_wise(pa.scalar("decode", pa.large_string()), outcome, pa.scalar(":", pa.large_string())),
            outcome,
        )
        return pc.if_else(pc.equal(outcome, "ok"), pa.scalar(None, pa.large_string()), word)
