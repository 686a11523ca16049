"""What a container is, and how a run's shards become one."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from curate.errors import RecipeError
from curate.fetch.image import SUFFIX
from curate.shard.samples import Samples, ShardSample
from curate.shard.write import pretty
from curate.store.atomic import Store

#: Suffixes of a sample's sound.
SOUNDS = ("wav", "flac", "mp3", "ogg")
#: Says of which run and in which container a folder is: an interrupted conversion goes on in it.
RECORD = "export.json"


@dataclass(frozen=True)
class ContainerShards:
    """A finished run's shards, as a task sees them. table: what a sample is a row of. columns: of the ledger (annotations)."""

    store: Store
    table: str
    root_hash: str
    columns: tuple[str, ...] = ()

    def samples(self, name: str) -> Iterator[ShardSample]:
        """The samples of a shard in order."""
        return iter(Samples(self.store, [name], self.table))

    def sidecar(self, name: str) -> pa.Table:
        """The rows of the same samples in the same order: what `<shard>.parquet` has."""
        return self.store.table(f"shards/{name}.parquet")

    def fields(self, name: str) -> list[str]:
        """The names of a sample's own content, see `media`. `sound`, where a stage stored sounds, replaces the outcome of Sound."""
        sounds = ["sound"] if {"sound", "sound_sha256"}.intersection(self.sidecar(name).column_names) else []
        return ["key", "image", "caption"] if self.table == "images" else ["key", "texts", "images", *sounds]


class Container(Protocol):
    """A container: `write` makes one shard's files, in any process; `finish` the index, which a loader opens first."""

    def write(self, shards: ContainerShards, out: Store, number: int, of: int, shard: dict[str, Any]) -> dict[str, Any]:
        """The files of one shard of `dataset.json`; returns what the index needs: plain values."""
        ...

    def finish(self, shards: ContainerShards, out: Store, dataset: dict[str, Any], written: Sequence[dict[str, Any]]) -> None:
        """The files beside all shards, the index last."""
        ...


@dataclass(frozen=True)
class _Task:
    container: Container
    shards: ContainerShards
    out: Store
    of: int

    def __call__(self, item: tuple[int, dict[str, Any]]) -> dict[str, Any]:
        return self.container.write(self.shards, self.out, item[0], self.of, item[1])


def convert(
    store: Store,
    dataset: dict[str, Any],
    container: Container,
    out: str,
    run_map: Callable = map,
    columns: Sequence[str] = (),
    verify: Callable[[], None] = lambda: None,
) -> int:
    """Write a finished run's shards into a container; returns how many samples. `dataset` is what its dataset.json says, `out` a folder,
    local or any fsspec URL, empty or one in which the same conversion was interrupted.

    columns: those of the ledger that annotations have. verify: called before the index is written; raises if it must not.
    RecipeError if the folder holds something else, or the run has no shards.
    """
    if not dataset["shards"]:
        raise RecipeError(f"{store.url}: has no shards to write anew")
    target, shards = Store(out), ContainerShards(store, dataset.get("table", "images"), dataset["root_hash"], tuple(columns))
    _begin(target, {"of": shards.root_hash, "container": type(container).__name__, "columns": list(columns)})
    task = _Task(container, shards, target, len(dataset["shards"]))
    written = list(run_map(task, enumerate(dataset["shards"])))
    verify()
    container.finish(shards, target, dataset, written)
    return dataset["samples"]


def _begin(target: Store, record: dict[str, Any]) -> None:
    found = target.json(RECORD)
    if found != record and any(n != RECORD for n in target.names("")):
        raise RecipeError(f"{target.url}: holds something else; choose an empty folder, or another name")
    target.publish_bytes(RECORD, pretty(record))


def share(store: Store, name: str, target: Store, new: str) -> None:
    """The same file under a name of another folder: on one disk a second name of it, else a copy."""
    with target.private(new) as path:
        try:
            if not store.local:
                raise OSError
            os.link(os.path.realpath(store.path(name)), path)
        except OSError:  # another disk, or one without links
            with store.open(name) as source, open(path, "wb") as copy:
                shutil.copyfileobj(source, copy, 4 << 20)
        target.publish(new, path)


def batches(
    shards: ContainerShards, name: str, size: int, content: Callable[[ShardSample, str], dict[str, Any]]
) -> Iterator[tuple[pa.Table, list[dict[str, Any]]]]:
    """The samples of a shard, some at a time: their rows of the sidecar, and what `content` makes of each sample and its table."""
    rows, some, start = shards.sidecar(name), [], 0
    for sample in shards.samples(name):
        some.append({"key": sample.key, **content(sample, shards.table)})
        if len(some) == size:
            yield rows.slice(start, size), some
            start, some = start + size, []
    if some:
        yield rows.slice(start), some


def media(sample: ShardSample, table: str) -> dict[str, Any]:
    """A sample's own content: of a pair `image` and `caption`, of a document the parallel lists `texts` and `images`, and `sound`, None
    where it has none."""
    if table == "images":
        return {"image": sample.read(sample.picture), "caption": sample.caption()}
    names, sound = sample.info["images"], sound_of(sample)
    images = [n and sample.read(n) for n in names]
    return {"texts": sample.info["texts"], "images": images, "sound": sample.read(sound) if sound else None}


def sound_of(sample: ShardSample) -> str | None:
    """The suffix of a sample's sound; None if it has none."""
    return next((m for m in sample.members if m in SOUNDS), None)


def suffixes() -> str:
    """Every suffix of an image in a tar, as loaders take alternatives."""
    return ",".join(SUFFIX.values())
