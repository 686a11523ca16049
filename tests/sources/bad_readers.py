"""Faulty readers, to be run in a child process: they crash, exhaust memory, hang or raise."""

import os
import time

import pyarrow as pa

from curate.errors import PoolError
from curate.sources import contained


def crashes(files):
    yield (1,)
    os.abort()


def eats(files):
    yield (1,)
    yield (bytearray(contained.MEMORY),)


def hangs(files):
    yield (1,)
    while True:
        pass


def errs(files):
    yield (1,)
    raise PoolError("x: its row 5 is none")


def slow(files):
    """Reads for longer than the limit, a block at a time."""
    with files[0]() as f:
        while f.read(contained.BLOCK):
            begun = time.process_time()
            while time.process_time() - begun < 0.03:
                pass
    yield (pa.table({"a": [1]}), "x")
