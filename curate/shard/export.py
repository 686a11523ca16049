"""A pool's kept rows in the formats of other tools."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from curate.documents.write import WRITERS, write
from curate.errors import PoolError, RecipeError
from curate.schema import is_uid
from curate.store.atomic import Store

#: Each form, and what it writes.
FORMS = {
    "datacomp-subset": "the samples' uids as DataComp's subset file, .npy",
    "obelics": "documents as OBELICS' rows, .parquet",
    "mint": "documents as MINT-1T's rows, .parquet",
    "mmc4": "documents as mmc4's, .jsonl (the images stay in the shards)",
    "openflamingo": "documents with images in base64, a folder of tars for its training loader",
    "markdown": "documents for people, a folder of .md and images",
}
#: Those that are folders.
FOLDERS = frozenset({"openflamingo", "markdown"})


def export(store: Store, dataset: dict[str, Any], form: str, out: str, verify: Callable[[], None] = lambda: None) -> int:
    """Write a finished run's samples in one of FORMS, whole or not at all; returns how many. `dataset` is what its dataset.json says.

    A file that is there is replaced; a folder must be empty, so that two runs never mix. RecipeError if it is not, if the form is
    not one of these samples, or is made of shards where the run has none. verify: called before the result gets its name; raises
    if it must not.
    """
    shards = [s["name"] for s in dataset["shards"]]
    if form in WRITERS:
        if dataset.get("table", "images") != "documents":
            raise RecipeError(f"{form} is a form of documents; the samples of this run are {dataset.get('table', 'images')}")
        if not shards and dataset["samples"]:
            raise RecipeError(f"{form} is made of shards, and this run has none: its recipe says shards=None")
    with _whole(Path(out), form in FOLDERS) as path:
        if form in WRITERS:
            count = write(store, shards, form, path)
        else:
            uids = _sharded(store, shards) if shards else _kept(store, f"ledger/{dataset.get('table', 'images')}")
            path.write_bytes(datacomp_subset(uids))
            count = len(np.load(path, mmap_mode="r"))
        verify()
        return count


@contextlib.contextmanager
def _whole(out: Path, folder: bool) -> Iterator[Path]:
    """A path beside `out`, for a file or a folder that takes its place once it is whole."""
    if out.is_file() if folder else out.is_dir():
        raise RecipeError(f"{out}: is a {'file' if folder else 'folder'}; this form is a {'folder' if folder else 'file'}")
    if folder and out.is_dir() and any(out.iterdir()):
        raise RecipeError(f"{out}: is a folder that holds something; choose an empty one, or another name")
    if not out.absolute().parent.is_dir():
        raise RecipeError(f"{out}: there is no folder {out.absolute().parent}")
    making = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        yield making
        making.replace(out)
    finally:
        shutil.rmtree(making, ignore_errors=True)
        making.unlink(missing_ok=True)


def _sharded(store: Store, shards: list[str]) -> Iterator[str]:
    for name in shards:
        yield from store.table(f"shards/{name}.parquet", ["uid"])["uid"].to_pylist()


def _kept(store: Store, ledger: str) -> Iterator[str]:
    """The uids of the kept rows, as often as they would be in shards."""
    for name in store.names(ledger):
        rows = store.table(f"{ledger}/{name}", ["uid", "kept", "copies"])
        for row in rows.filter(rows["kept"]).to_pylist():
            yield from [row["uid"]] * max(row.get("copies") or 1, 1)


def datacomp_subset(uids: Iterable[str]) -> bytes:
    """DataComp's subset file: a .npy of sorted 128-bit uids as two unsigned 64-bit halves, repeats kept.

    DataComp's resharder reads it, and `download_upstream.py` writes pools with such uids. PoolError names a uid that is not
    32 lower-case hex digits.
    """
    raw = bytearray()
    for uid in uids:
        if not is_uid(uid):
            raise PoolError(f"{uid!r} is not a DataComp uid: 32 lower-case hex digits")
        raw += bytes.fromhex(uid)
    halves = np.frombuffer(bytes(raw), ">u8").astype("<u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    table = np.empty(len(halves), [("f0", "<u8"), ("f1", "<u8")])
    table["f0"], table["f1"] = halves[order].T
    out = io.BytesIO()
    np.lib.format.write_array(out, table, version=(1, 0), allow_pickle=False)
    return out.getvalue()
