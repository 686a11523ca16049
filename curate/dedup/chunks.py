"""Live rows as files of a few thousand rows: what a selector hands to the engine's workers."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.selector import Live

_ROWS = 4_096  # copied at a time


@contextlib.contextmanager
def scratch(live: Live) -> Iterator[Path]:
    """A private folder below the run's scratch folder, removed afterwards."""
    with tempfile.TemporaryDirectory(dir=live.folder, prefix="select-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def spill(live: Live, query: str, folder: Path, rows: int) -> list[Path]:
    """The result of a query over `live` as Arrow files of at most `rows` rows; one batch is in memory at a time."""
    reader = live.sql(query).to_arrow_reader(rows)
    paths = []
    for batch in reader:
        path = folder / f"{len(paths):06d}.arrow"
        with pa.OSFile(str(path), "wb") as f, pa.ipc.new_file(f, reader.schema) as writer:
            writer.write_batch(batch)
        paths.append(path)
    return paths


def save_rows(path: Path, values: np.ndarray, rows: np.ndarray) -> None:
    """Write these rows of an array, which lies in a file, to another .npy file, a few at a time."""
    out = np.lib.format.open_memmap(path, "w+", values.dtype, (len(rows), *values.shape[1:]))
    for low in range(0, len(rows), _ROWS):
        out[low : low + _ROWS] = values[rows[low : low + _ROWS]]


def load(path: Path) -> pa.Table:
    """A spilled chunk, memory mapped."""
    with pa.memory_map(str(path)) as f:
        return pa.ipc.open_file(f).read_all()
