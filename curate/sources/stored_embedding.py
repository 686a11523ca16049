"""StoredEmbedding stage: reads embeddings that are published with a list of pairs."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from curate.errors import PoolError
from curate.filters.clip_embed import vectors
from curate.paths import open_file
from curate.stage import Stage


@dataclass
class StoredEmbedding(Stage):
    """Adds the vectors of an array in the `.npz` beside each Parquet file of the list, as lists of float16: row n of the array is row n of
    the file. So CommonPool publishes `b32_img`, `b32_txt`, `l14_img` and `l14_txt` (DataComp, 2304.14108).

    key: the array, and unless another name is set the column.
    """

    reads = ("source_file", "source_row")

    key: str = "l14_img"

    def __post_init__(self):
        self.name = self.name or self.key
        super().__post_init__()

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.list_(pa.float16())}

    def run(self, live: pa.Table) -> pa.Table:
        files, places = live["source_file"].to_pylist(), live["source_row"].to_numpy()
        found = [stored(beside(f), self.key) for f in files]
        for file, place, rows in zip(files, places, found):
            if place >= len(rows):
                raise PoolError(f"{beside(file)}: {self.key} has {len(rows)} rows, and {file} a row {place}")
        made = np.stack([rows[place] for rows, place in zip(found, places)]) if found else np.zeros((0, 1), np.float16)
        return pa.table({self.name: vectors(made, np.ones(len(made), bool))})


def beside(file: str) -> str:
    """`part.parquet` -> `part.npz`."""
    return file.removesuffix(".parquet").removesuffix(".pq") + ".npz"


@lru_cache(maxsize=4)
def stored(file: str, key: str) -> np.ndarray:
    """An array of an .npz file; PoolError names the file, and the arrays that it has."""
    try:
        with open_file(file) as f, np.load(f, allow_pickle=False) as arrays:
            if key not in arrays.files:
                raise PoolError(f"{file}: no array {key}; there are: {', '.join(arrays.files) or 'none'}")
            found = arrays[key]
    except (OSError, ValueError, EOFError) as e:
        raise PoolError(f"{file}: cannot be read: {getattr(e, 'strerror', None) or e}") from e
    if found.ndim != 2:
        raise PoolError(f"{file}: {key} has shape {found.shape}, not a row for each picture")
    return found
