"""Decoding as a stage: who cannot be decoded is dropped, before any stage that reads pixels."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.fetch.image import Broken
from curate.fetch.isolate import Isolated
from curate.stage import Stage


def decode_all(files: list[bytes | None], isolate: Isolated | bool = False) -> list[np.ndarray | str]:
    """For each file its pixels (uint8, height x width x 3, RGB), or why there are none: an outcome of schema.DECODE.

    isolate: decode in a child process, one file at a time, so that a file that kills its decoder is found, and lost alone.
    """
    if not isolate:
        return [_here(data) for data in files]
    if isinstance(isolate, Isolated):
        return [isolate.decode(data) if data else "broken" for data in files]
    with Isolated() as child:
        return decode_all(files, child)


def _here(data: bytes | None) -> np.ndarray | str:
    from curate.fetch.pixels import decode

    try:
        return decode(data) if data else "broken"
    except Broken:
        return "broken"
    except MemoryError:
        return "decoder_memory"


@dataclass
class Decode(Stage):
    """Whether the picture can be decoded; the outcome is one of schema.DECODE.

    It asks for the pixels that the stages after it share, so it costs nothing of its own.
    """

    reads = ("image",)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.large_string()}

    def run(self, live: pa.Table, images: list[np.ndarray | str]) -> pa.Table:
        return pa.table({self.name: pa.array([i if isinstance(i, str) else "ok" for i in images], pa.large_string())})

    def judge(self, columns: pa.Table) -> pa.Array:
        """`decode:broken`, or the bare word for a decoder that had to be killed."""
        outcome = columns[self.name].combine_chunks()
        word = pc.if_else(pc.equal(outcome, "broken"), pa.scalar("decode:broken", pa.large_string()), outcome)
        return pc.if_else(pc.equal(outcome, "ok"), pa.scalar(None, pa.large_string()), word)
