"""A set that grows: each release is a finished run that was made onto the releases before it and leaves their files as they are.

A run's `dataset.json` names the earlier releases, oldest first, each with the root hash of its shards. Shards are numbered on from
release to release, so that the folders of all of them can be read, or put together, as one set.
"""

import hashlib
import os
import posixpath
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from curate.errors import PoolError, RecipeError
from curate.store import checksums as seal
from curate.store.atomic import Store


@dataclass(frozen=True)
class Release:
    """An earlier release, as a later one names it.

    run: its folder, relative to that of the run that names it, or a URL. root_hash: of its shards now; made: before anything was taken
    down, which is what decisions are known by. first_shard: the number of its first shard. first_part: the number of its first file of
    the ledger, counted over all releases (`parts` files each).
    """

    run: str
    root_hash: str
    made: str
    samples: int
    bytes: int
    first_shard: int
    shards: int
    first_part: int
    parts: int

    def at(self, store: Store) -> Store:
        """The store of its folder; `store` is that of the run that names it."""
        return located(store, self.run)


def named(record: dict[str, Any] | None) -> list[Release]:
    """The earlier releases in what `dataset.json` or `recipe.json` says, oldest first."""
    return [Release(**r) for r in (record or {}).get("releases", ())]


def written(releases: Iterable[Release]) -> list[dict[str, Any]]:
    """Releases as a record holds them."""
    return [asdict(r) for r in releases]


def opened(out: Store, earlier: Iterable[Store]) -> list[Release]:
    """The releases that these runs are the last of, oldest first, as the run in `out` names them: those before a run go before it.

    PoolError if one is not finished, RecipeError if one is the run itself.
    """
    found: dict[str, Store] = {}
    for last in earlier:
        for store in [*(r.at(last) for r in named(_dataset(last))), last]:
            found.setdefault(store.url, store)
    if out.url in found:
        raise RecipeError(f"--onto {out.url}: a run cannot be made onto itself; choose another folder with -o")
    return described(out, found.values())


def described(out: Store, stores: Iterable[Store]) -> list[Release]:
    """Releases as they are now, in this order. Of several chains the numbers of shards go on after the highest one."""
    made: list[Release] = []
    part = 0
    for store in stores:
        dataset = _dataset(store)
        numbers = [int(s["name"]) for s in dataset["shards"]]
        parts = len(store.names(f"ledger/{dataset.get('table', 'images')}"))
        root, first = dataset["root_hash"], min(numbers, default=dataset.get("first_shard", 0))
        size = (dataset["samples"], dataset["bytes"])
        made.append(Release(relative(out, store), root, _made(store, root), *size, first, len(numbers), part, parts))
        part += parts
    return made


def refreshed(store: Store, dataset: dict[str, Any]) -> dict[str, Any]:
    """A data set's record with its earlier releases as they are now; one that cannot be read stays as it is."""
    earlier = named(dataset)
    stores = [r.at(store) for r in earlier]
    if not earlier or any(seal.content(s) is None or s.json("dataset.json") is None for s in stores):
        return dataset
    return {**dataset, "releases": written(described(store, stores))}


def next_shard(releases: Iterable[Release]) -> int:
    """The number of the first shard after these."""
    return max((r.first_shard + r.shards for r in releases), default=0)


def chain_hash(roots: Iterable[str]) -> str:
    """SHA-256 over the root hashes of a chain of releases, oldest first, one a line."""
    return hashlib.sha256("".join(f"{root}\n" for root in roots).encode()).hexdigest()


def of_part(releases: Iterable[Release], part: int) -> Release:
    """The release that a file of the ledger is of, by its number over all releases."""
    return next(r for r in releases if r.first_part <= part < r.first_part + r.parts)


def _dataset(store: Store) -> dict[str, Any]:
    dataset = store.json("dataset.json")
    if dataset is None or seal.content(store) is None:
        raise PoolError(
            f"{store.url}: no finished run is here: end it with its `curate run` before another one is made onto it"
        )
    return dataset


def _made(store: Store, root: str) -> str:
    """The root hash before anything was taken down, by the notes of takedowns."""
    notes = [store.json(f"removed/{n}") for n in store.names("removed") if n.endswith(".json") and n != "begun.json"]
    hashes = [n["root_hash"] for n in notes if n and "root_hash" in n]
    before = {h["after"]: h["before"] for h in hashes if h["after"] != h["before"]}
    while before.get(root):
        root = before.pop(root)
    return root


# ---- where folders are


def located(store: Store, place: str) -> Store:
    """The folder that a run's record names: relative to the run's own, or anywhere."""
    if "://" in place or os.path.isabs(place):
        return Store(place)
    path = posixpath.normpath(posixpath.join(store.root, place))
    return Store(path if store.local else store.fs.unstrip_protocol(path))


def relative(out: Store, store: Store) -> str:
    """From one run's folder to another's, so that a tree of both can be moved; a URL where they share no bucket."""
    if out.local and store.local:
        return posixpath.relpath(store.root, out.root)
    same = type(out.fs) is type(store.fs) and out.root.split("/")[0] == store.root.split("/")[0]
    return posixpath.relpath("/" + store.root, "/" + out.root) if same and not out.local else store.url
