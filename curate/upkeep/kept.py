"""Check of the files that a run continues from: people's decisions, inputs, computed and derived files."""

import itertools
from collections.abc import Iterator

import pyarrow.compute as pc

from curate.errors import PoolError
from curate.shard.ledger import assigned_in, made_of
from curate.store import folder
from curate.store.atomic import Store
from curate.store.folder import INPUT_RECORDS, PARTS, Role
from curate.store.inputs import run_record
from curate.upkeep import gc
from curate.upkeep.repair import disagreements

#: Faults of an input's record that are listed.
MAX_LISTED = 5


def kept_faults(store: Store) -> Iterator[str]:
    """Faults of these files: damaged bytes, disagreement between records and parts, references to missing files."""
    broken = dict(folder.faults(store, Role.PEOPLE, Role.INPUT, Role.COMPUTED, Role.DERIVED))
    yield from (f"{name}: {cause}" for name, cause in broken.items())
    for name in folder.files(store, Role.INPUT):
        if name.startswith(f"{INPUT_RECORDS}/") and name not in broken:
            yield from (f"{name}: {cause}" for cause in itertools.islice(disagreements(store, name), MAX_LISTED))
    for part in store.names(PARTS):
        there = store.sizes(f"{PARTS}/{part}")
        for name in [f"{PARTS}/{part}/{n}" for n in there if n.endswith(".parquet") and not n.startswith("lost.")]:
            if name not in broken:
                yield from _payload_faults(store, name, there)
    yield from _missing_references(store, broken)


def _payload_faults(store: Store, name: str, there: dict[str, int]) -> Iterator[str]:
    """Faults of the payloads that a commit references: missing, or shorter than its rows need."""
    rows = store.table(name, ["payload", "payload_offset", "payload_size"])
    part = name.split("/")[-2]
    for tar in sorted(gc.tars(rows, part)):
        own = rows.filter(pc.equal(rows["payload"], f"{PARTS}/{part}/{tar}"))
        end = pc.max(pc.add(own["payload_offset"], own["payload_size"])).as_py()
        if tar not in there:
            yield f"{PARTS}/{part}/{tar}: missing; {name} names it"
        elif end > there[tar]:
            yield f"{PARTS}/{part}/{tar}: has {there[tar]} bytes, {name} names some up to {end}"


def _missing_references(store: Store, broken: dict[str, str]) -> Iterator[str]:
    """Missing files that the ledger and the records of a finished run reference."""
    try:
        recipe, dataset = run_record(store), store.json("dataset.json")
    except PoolError:  # reported with SHA256SUMS
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
    named |= {f"{INPUT_RECORDS}/{i['key']}.json": "recipe.json" for i in recipe["inputs"] if "key" in i and "error" not in i}
    for ledger in [n for n in folder.files(store, Role.SHOWN) if n.startswith("ledger/")]:
        named |= {n: ledger for n in made_of(store, ledger)}
    yield from (f"{name}: missing; {by} names it" for name, by in sorted(named.items()) if not store.exists(name))
