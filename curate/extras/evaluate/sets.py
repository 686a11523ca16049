"""The sets of samples that are compared: a run's shards, tars, all fetched samples of a run, and a random subset of these."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass

import duckdb
import pyarrow.compute as pc

from curate.errors import PoolError, RecipeError
from curate.extras.evaluate.heldout import samples_in
from curate.selector import coin_sql
from curate.shard import write as shards
from curate.source import file_identity
from curate.sources.webdataset import WebDataset
from curate.stage import digest
from curate.store.atomic import Store
from curate.upkeep.adopt import adopt
from curate.view.run import open_run

#: SQL: rows of a run with a picture that trainers can read, kept or dropped.
FETCHED = """select uid, url, text, mime, payload, payload_offset, payload_size from images where payload is not null and mime in ('image/jpeg', 'image/png', 'image/webp')
    and not coalesce(regexp_matches(drop_reason, '^(source|fetch|decode):'), false)"""


@dataclass(frozen=True)
class Set:
    """A training set. hash: of its bytes; leaked: the number of samples whose caption is in a held-out set."""

    name: str
    tars: list[str]
    samples: int
    hash: str
    leaked: int = 0


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


def open_set(name: str, path: str, held: Collection[str] = ()) -> Set:
    """The Set of a run's shards, a folder of tars, or a tar; RecipeError if it has no sample to train on. held: captions of held-out
    sets."""
    if "://" in path:
        raise RecipeError(f"{path}: open_clip's loader reads shards from this machine's disks: copy them here first")
    tars = [os.path.abspath(t) for t in WebDataset([path]).files()]
    count = leaked = 0
    for sample in (s for tar in tars for s in samples_in(tar)):
        usable = bool(sample.image) and sample.text is not None
        count += usable
        leaked += usable and any(c in held for c in sample.captions)
    if not count:
        raise RecipeError(f"{path}: no sample has a picture (jpg, jpeg, png, webp) and a .txt: nothing to train on")
    return Set(name, tars, count, digest([file_identity(t)["hash"] for t in tars]), leaked)


def write_fetched(folder: str, out: str, size: int | None = None, seed: int = 0) -> str:
    """Write shards of all rows of a run with a picture, kept or dropped, or of `size` of them, drawn by a hash of uid and seed.

    Nothing is fetched: the run's payloads are linked (or copied to another disk) into `out`, and shards are written from them.
    Returns `out`. Shards that exist for the same rows are left as they are.
    """
    run, store = open_run(folder), Store(out)
    some = f" order by {coin_sql('uid', seed, 'random_subset')}, uid limit {size}" if size is not None else ""
    try:
        rows = run.sql(FETCHED + some).to_arrow_table()
    except duckdb.BinderException as e:
        raise PoolError(f"{run.store.url}: its rows have no pictures, so there is no pool to compare with") from e
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
