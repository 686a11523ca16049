"""The sets of samples that are compared: a run's shards, tars, all fetched samples of a run, and a random subset of these."""

import io
import json
import os
import tarfile
from collections.abc import Collection
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import PoolError, RecipeError
from curate.extras.evaluate.heldout import HeldOut, fingerprint, samples_in
from curate.selector import coin_sql
from curate.shard import write as shards
from curate.source import file_identity
from curate.sources import tarindex
from curate.sources.webdataset import WebDataset
from curate.stage import digest
from curate.store.atomic import Store
from curate.upkeep.adopt import adopt
from curate.view.run import open_run

#: SQL: rows of a run with a picture that trainers can read, kept or dropped.
FETCHED = """select uid, url, text, mime, payload, payload_offset, payload_size from images where payload is not null and mime in ('image/jpeg', 'image/png', 'image/webp')
    and not coalesce(regexp_matches(drop_reason, '^(source|fetch|decode):'), false)"""


@dataclass(frozen=True)
class Draw:
    """Tars to train on. hash: of their bytes; captions, pictures: the numbers of samples that were left out because their caption,
    or their picture, is held out; leaked: the keys of these."""

    tars: list[str]
    samples: int
    hash: str
    captions: int = 0
    pictures: int = 0
    leaked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Set:
    """A training set: the same samples for each seed, or a draw for each."""

    name: str
    draws: tuple[Draw, ...]

    def draw(self, seed: int) -> Draw:
        return self.draws[seed % len(self.draws)]


def named(words: list[str], what: str = "sets") -> dict[str, str]:
    """Paths by name, from `NAME=PATH` or paths, whose last part is the name; RecipeError if two have the same name."""
    found: dict[str, str] = {}
    for word in words:
        name, mark, path = word.partition("=")
        if not mark or "/" in name:
            path, name = word, os.path.basename(word.rstrip("/").removesuffix("/shards")).removesuffix(".tar") or word
        if name in found:
            raise RecipeError(f"two {what} are called {name}: say NAME={path}")
        found[name] = path
    return found


def open_draw(path: str, held: Collection[HeldOut] = (), clean: str = "") -> Draw:
    """The samples of a run's shards, of a folder of tars, or of a tar, but for those that are held out: where there are any, tars
    without them are written into the folder `clean`. RecipeError if there is no sample to train on."""
    if "://" in path:
        raise RecipeError(f"{path}: open_clip's loader reads shards from this machine's disks: copy them here first")
    tars = [os.path.abspath(t) for t in WebDataset([path]).files()]
    captions, pictures, count = set[str](), set[str](), 0
    for tar, sample in ((t, s) for t in tars for s in samples_in(t)):
        if not sample.image or sample.text is None:
            continue
        count += 1
        if any(c in h.captions for h in held for c in sample.captions):
            captions.add(sample.key)
        if held and (found := _fingerprint(tar, *sample.image)) and any(found in h.pictures for h in held):
            pictures.add(sample.key)
    if not count:
        raise RecipeError(f"{path}: no sample has a picture (jpg, jpeg, png, webp) and a .txt: nothing to train on")
    leaked = frozenset(captions | pictures)
    if len(leaked) == count:
        raise RecipeError(f"{path}: the captions or pictures of all {count:,} samples are held out: nothing to train on")
    if leaked:
        tars = [_without(leaked, tar, os.path.join(clean, f"{n:05d}.tar")) for n, tar in enumerate(tars)]
    return Draw(
        tars, count - len(leaked), digest([file_identity(t)["hash"] for t in tars]), len(captions), len(pictures), leaked
    )


def _fingerprint(tar: str, offset: int, size: int) -> int | str:
    with open(tar, "rb") as f:
        f.seek(offset)
        return fingerprint(f.read(size))


def _without(keys: Collection[str], tar: str, out: str) -> str:
    """Write a copy of a tar without the samples of these keys; returns `out`."""
    os.makedirs(os.path.dirname(out), exist_ok=True)
    with open(tar, "rb") as f, tarfile.open(out, "w") as copy:
        for sample in tarindex.samples(tarindex.members(f, tar)):
            for suffix, member in sample.members.items() if sample.key not in keys else ():
                info = tarfile.TarInfo(f"{sample.key}.{suffix}")
                info.size = member.size
                f.seek(member.offset)
                copy.addfile(info, io.BytesIO(f.read(member.size)))
    return out


def write_fetched(folder: str, out: str, size: int | None = None, seed: int = 0, without: Collection[str] = ()) -> str:
    """Write shards of all rows of a run with a picture, kept or dropped, or of `size` of them, drawn by a hash of uid and seed; but for
    the rows with the uids `without`.

    Nothing is fetched: the run's payloads are linked (or copied to another disk) into `out`, and shards are written from them.
    Returns `out`. Shards that exist for the same rows are left as they are.
    """
    run, store = open_run(folder), Store(out)
    drawn = f" order by {coin_sql('uid', seed, 'random_subset')}, uid" if size is not None else ""
    try:
        rows = run.sql(FETCHED + drawn).to_arrow_table()
    except duckdb.BinderException as e:
        raise PoolError(f"{run.store.url}: its rows have no pictures, so there is no pool to compare with") from e
    left_out = pc.is_in(rows["uid"], pa.array(sorted(without), rows["uid"].type))
    rows = rows.filter(pc.invert(left_out)).slice(0, size)
    if size is not None and len(rows) < size:
        raise PoolError(
            f"{run.store.url}: has pictures for {len(rows):,} rows, fewer than the {size:,} that the random subset is to have"
        )
    adopt(store, run.store)
    # Pictures in the run's input files are read only if a record names the file.
    store.publish_bytes("recipe.json", json.dumps({"inputs": run.recipe["inputs"]}).encode())
    how = shards.Shards(size=1_000, seed=seed)
    plan = shards.plan(rows, how)
    made_for = digest([run.dataset["root_hash"], size, seed, plan["uid"].to_pylist()])
    count = len(shards.assign(len(plan), how.size))
    infos = [
        shards.write_shard(
            store, plan.filter(pc.equal(plan["shard"], n)), shards.shard_name(n, count), made_for, None, how, None
        )
        for n in range(count)
    ]
    shards.finish(store, infos)
    return out
