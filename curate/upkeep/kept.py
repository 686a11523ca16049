"""Is everything whole that a run would go on from: what people decided, what came in, what was computed and derived from it?"""

import itertools
from collections.abc import Iterator

import pyarrow.compute as pc

from curate.errors import PoolError
from curate.shard.ledger import assigned_in, made_of
from curate.store import folder
from curate.store.atomic import Store
from curate.store.folder import Role
from curate.store.inputs import run_record
from curate.upkeep import gc
from curate.upkeep.repair import disagreements

#: Faults of one record that are listed.
LISTED = 5


def kept_faults(store: Store) -> Iterator[str]:
    """Every byte of what people decided, came in, was computed and was derived; and what these files name is there."""
    broken = dict(folder.faults(store, Role.PEOPLE, Role.INPUT, Role.COMPUTED, Role.DERIVED))
    yield from (f"{name}: {why}" for name, why in broken.items())
    for name in folder.files(store, Role.INPUT):
        if name.startswith("inputs/") and name not in broken:
            yield from (f"{name}: {why}" for why in itertools.islice(disagreements(store, name), LISTED))
    for part in store.names("parts"):
        there = store.sizes(f"parts/{part}")
        for name in [f"parts/{part}/{n}" for n in there if n.endswith(".parquet") and not n.startswith("lost.")]:
            if name not in broken:
                yield from _payload_faults(store, name, there)
    yield from _missing(store, broken)


def _payload_faults(store: Store, name: str, there: dict[str, int]) -> Iterator[str]:
    """The payloads that a commit names are there, and reach as far as its rows say."""
    rows = store.table(name, ["payload", "payload_offset", "payload_size"])
    part = name.split("/")[1]
    for tar in sorted(gc.tars(rows, part)):
        mine = rows.filter(pc.equal(rows["payload"], f"parts/{part}/{tar}"))
        end = pc.max(pc.add(mine["payload_offset"], mine["payload_size"])).as_py()
        if tar not in there:
            yield f"parts/{part}/{tar}: missing; {name} names it"
        elif end > there[tar]:
            yield f"parts/{part}/{tar}: has {there[tar]} bytes, {name} names some up to {end}"


def _missing(store: Store, broken: dict[str, str]) -> Iterator[str]:
    """What the ledger and the record of a finished run say that they were made of."""
    try:
        recipe, dataset = run_record(store), store.json("dataset.json")
    except PoolError:  # SHA256SUMS names them
        return
    if not recipe or not dataset or recipe.get("state") != "finished":
        return
    named = {f"{made}/decision.json": "recipe.json" for made in gc.decided(recipe)}
    named |= {
        f"{made}/{n:05d}.parquet": "recipe.json" for _, made, starts in recipe.get("decisions", []) for n in range(len(starts))
    }
    if made := dataset.get("assigned"):
        named[f"{made}/assigned.json"] = "dataset.json"
        if f"{made}/assigned.json" not in broken and (found := assigned_in(store, made)):
            named |= {found.file(start): "dataset.json" for start in found.starts}
    named |= {f"inputs/{i['key']}.json": "recipe.json" for i in recipe["inputs"] if "key" in i and "error" not in i}
    for ledger in [n for n in folder.files(store, Role.SHOWN) if n.startswith("ledger/")]:
        named |= {n: ledger for n in made_of(store, ledger)}
    yield from (f"{name}: missing; {by} names it" for name, by in sorted(named.items()) if not store.exists(name))
