"""`curate export`: writes a run's samples in the formats of other tools."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import PoolError, RecipeError
from curate.schema import is_uid
from curate.shard.formats import captions, conversations, derived, pages, science_qa, streams
from curate.shard.formats.base import Format, Options, json_lines, parquet, tab_separated, tars, with_pictures
from curate.shard.samples import Samples
from curate.store.atomic import Store

_STREAM = ("tokenizer", "tokens", "images", "single", "first", "text", "seed")
#: Rows of a row group of TRL's file, whose rows contain their pictures.
_TRL_GROUP = 64


def _stream(style: str, about: str, samples: str = "") -> Format:
    return Format(about, partial(streams.write, style), samples, folder=True, takes=_STREAM)


def _subset(samples: Samples, out: Path, options: Options) -> int:
    uids = _uids_in_shards(samples) if samples.shards else _kept_uids(samples)
    out.write_bytes(datacomp_subset(uids))
    return len(np.load(out, mmap_mode="r"))


FORMATS = {
    "datacomp-subset": Format("the samples' uids as DataComp's subset file, .npy", _subset, "", shards=False),
    "cc3m": Format(
        "caption and URL with a tab between, as Conceptual Captions has them, .tsv",
        tab_separated(("caption", "url"), captions.cc3m, header=False),
        takes=("text",),
    ),
    "blip": Format(
        "BLIP's and LAVIS' annotations.json {image, caption, image_id}, and the pictures, a folder",
        with_pictures("annotations.json", captions.blip),
        folder=True,
        takes=("text",),
    ),
    "lavis": Format(
        "tars with .jpg and .json {caption}, as LAVIS' and MiniGPT-4's loaders want them, a folder",
        tars(captions.lavis),
        folder=True,
        takes=("text",),
    ),
    "minigpt4": Format(
        "MiniGPT-4's second stage: filter_cap.json and image/*.jpg, a folder",
        with_pictures("filter_cap.json", captions.minigpt4, captions.MINIGPT4, ('{"annotations": [', "]}")),
        folder=True,
        takes=("text",),
    ),
    "llava": Format(
        "LLaVA's conversations, llava.json, and the pictures, a folder",
        with_pictures("llava.json", conversations.llava),
        folder=True,
        takes=("turns",),
    ),
    "trl": Format(
        "preferences as TRL's trainers load them (DPO, reward models), with the pictures, .parquet",
        parquet(conversations.TRL, conversations.trl, _TRL_GROUP),
        takes=("turns",),
    ),
    "llava-rlhf": Format(
        "preferences as LLaVA-RLHF's reward model loads them, preferences.json, and the pictures, a folder",
        with_pictures("preferences.json", conversations.llava_rlhf),
        folder=True,
        takes=("turns",),
    ),
    "grit": Format("GRIT's rows: captions, noun chunks and expressions with boxes, .jsonl", json_lines(captions.grit)),
    "negclip": Format(
        "NegCLIP's train_neg_clip.tsv with wrong captions and like pictures, and the pictures, a folder",
        captions.negclip,
        folder=True,
        takes=("text",),
    ),
    "scienceqa": Format(
        "ScienceQA's problems.json, pid_splits.json and images/<split>/<id>/, a folder",
        science_qa.write,
        folder=True,
        takes=("seed",),
    ),
    "slices": Format(
        "tars with the pictures and their slices (Slices), .slice0.jpg …, a folder", tars(derived.slices), folder=True
    ),
    "views": Format(
        "tars with the pictures and their augmented views (AugmentImage), .view0.jpg …, a folder",
        tars(derived.views),
        folder=True,
    ),
    "clips": Format(
        "tars of clips with the clips' own files, .mp4, cut out of the videos as they are, a folder",
        derived.clips,
        "documents",
        folder=True,
    ),
    "kosmos": _stream("kosmos", "KOSMOS-1's sequences, as text or as packed ids of a tokenizer, and the pictures, a folder"),
    "kosmos2": _stream("kosmos2", "KOSMOS-2's sequences: the same, with phrases and places of their boxes, a folder", "images"),
    "chameleon": _stream(
        "chameleon", "Chameleon's sequences: the same, the picture of a pair first or last by a coin, a folder"
    ),
    "m3w": _stream("m3w", "Flamingo's windows of pages: 256 tokens, 5 pictures, a folder", "documents"),
    "obelics": Format(
        "documents as OBELICS' rows, .parquet",
        parquet(pages.OBELICS, pages.obelics),
        "documents",
        ledger=pages.OBELICS_LEDGER,
    ),
    "mint": Format("documents as MINT-1T's rows, .parquet", parquet(pages.MINT, pages.mint), "documents"),
    "mmc4": Format(
        "documents as mmc4's, .jsonl (the images stay in the shards)",
        json_lines(pages.mmc4),
        "documents",
        ledger=pages.MMC4_LEDGER,
    ),
    "openflamingo": Format(
        "documents with images in base64, a folder of tars for its training loader",
        tars(pages.openflamingo),
        "documents",
        folder=True,
    ),
    "markdown": Format("documents for people, a folder of .md and images", pages.markdown, "documents", folder=True),
}


def export(
    store: Store,
    dataset: dict[str, Any],
    form: str,
    out: str,
    verify: Callable[[], None] = lambda: None,
    options: Options | None = None,
) -> int:
    """Write a finished run's samples in one of FORMATS, completely or not at all; returns the number of rows.

    dataset: the content of the run's dataset.json. out: an existing file is replaced; a folder must be empty, so that two runs never
    mix. verify: called before the result gets its name; raises to prevent that. RecipeError if the folder is not empty, if the format
    is for other samples, does not take an option, or needs shards where the run has none.
    """
    how, table, options = FORMATS[form], dataset.get("table", "images"), options or Options()
    how.check(form, options)
    shards = [s["name"] for s in dataset["shards"]]
    if how.samples not in ("", table):
        raise RecipeError(f"{form} is a form of {how.samples}; the samples of this run are {table}")
    if not shards and dataset["samples"] and how.shards:
        raise RecipeError(f"{form} is made of shards, and this run has none: its recipe says shards=None")
    with _atomic_output(Path(out), how.folder) as path:
        count = how.write(Samples(store, shards, table, how.ledger), path, options)
        verify()
        return count


@contextlib.contextmanager
def _atomic_output(out: Path, folder: bool) -> Iterator[Path]:
    """A temporary path beside `out` for a file or a folder, renamed to `out` when the block ends without an error."""
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


def _uids_in_shards(samples: Samples) -> Iterator[str]:
    for name in samples.shards:
        yield from samples.store.table(f"shards/{name}.parquet", ["uid"])["uid"].to_pylist()


def _kept_uids(samples: Samples) -> Iterator[str]:
    """The uids of the kept rows, each repeated as often as it would be in shards."""
    store, ledger = samples.store, f"ledger/{samples.table}"
    for name in store.names(ledger):
        rows = store.table(f"{ledger}/{name}", ["uid", "kept", "copies"])
        for row in rows.filter(rows["kept"]).to_pylist():
            yield from [row["uid"]] * max(row.get("copies") or 1, 1)


def datacomp_subset(uids: Iterable[str]) -> bytes:
    """DataComp's subset file: a .npy of sorted 128-bit uids as two unsigned 64-bit halves, with repeats.

    DataComp's resharder reads it; `download_upstream.py` writes pools with such uids. PoolError names a uid that is not 32
    lower-case hex digits.
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
