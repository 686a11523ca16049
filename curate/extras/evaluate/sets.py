"""The sets of samples that are compared: a run's shards, tars, all that a run has fetched, and a random subset of that."""

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

#: Rows of a run that have a picture which trainers take, whatever became of them.
FETCHED = """select uid, url, text, mime, payload, payload_offset, payload_size from images where payload is not null and mime in ('image/jpeg', 'image/png', 'image/webp')
    and not coalesce(regexp_matches(drop_reason, '^(source|fetch|decode):'), false)"""


@dataclass(frozen=True)
class Set:
    """Samples to train on. `hash` names their bytes; `leaked`: samples with a caption that is one of a held-out set's."""

    name: str
    tars: list[str]
    samples: int
    hash: str
    leaked: int = 0


def named(words: list[str], what: str = "sets") -> dict[str, str]:
    """`NAME=PATH` or a path, whose last part is the name; RecipeError where two have one name."""
    found: dict[str, str] = {}
    for word in words:
        name, mark, path = word.partition("=")
        if not mark or "/" in name:
            path, name = word, os.path.basename(word.rstrip("/").removesuffix("/shards")).removesuffix(".tar") or word
        if name in found:
            raise RecipeError(f"two {what} are called {name}: say NAME={path}")
        found[name] = path
    return found


def opened(name: str, path: str, held: Collection[str] = ()) -> Set:
    """A run's shards, a folder of tars, or a tar; RecipeError if nothing can be trained on. `held`: captions of held-out sets."""
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


def fetched(folder: str, out: str, size: int | None = None, seed: int = 0) -> str:
    """Shards of all rows of a run that have a picture, kept or dropped, or of `size` of them, drawn by a hash of uid and seed.

    Nothing is fetched for it: the run's payloads are linked (on another disk: copied) into `out`, and shards are gathered from
    them. Returns `out`. Shards that are there for the same rows are left as they are.
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
    # Pictures that lie in the run's input are read only where a record names it.
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
