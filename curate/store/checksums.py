"""`SHA256SUMS`: the hash of every file that a finished run shows, written last. `sha256sum -c SHA256SUMS` reads it too.

The file is the run's end: it is removed before anything it names is touched, and written when all of it is there.
"""

import json

from curate.schema import TABLES
from curate.store import folder
from curate.store.atomic import Store
from curate.store.inputs import INPUTS

NAME = "SHA256SUMS"

#: Folders of what a finished run shows.
LEDGER = tuple(f"ledger/{table}" for table in TABLES)
SHOWN = ("shards", *LEDGER)

#: Small files that every look at a run reads; their bytes are compared whenever a run is asked whether it is finished.
SMALL = ("recipe.json", "dataset.json")


def write(store: Store, known: dict[str, str]) -> None:
    """Seal a run: hashes that are known already (of shards and ledger), and those of the small files."""
    dataset = json.loads(store.read("dataset.json"))
    small = [
        *SMALL,
        *(f"shards/{s['name']}.json" for s in dataset["shards"]),
        *(name for name in ("shards/sizes.json", INPUTS) if store.exists(name)),
    ]
    store.publish_bytes(NAME, spelled(known | {name: store.hash(name) for name in small if name not in known}))


def spelled(sums: dict[str, str]) -> bytes:
    """The file's one spelling, sorted by name."""
    return "".join(f"{value}  {name}\n" for name, value in sorted(sums.items())).encode()


def content(store: Store) -> bytes | None:
    """The file as it is; None if there is none: the run is not finished, or something is at work there."""
    try:
        return store.read(NAME)
    except FileNotFoundError:
        return None


def read(store: Store) -> dict[str, str] | None:
    """Hashes by name; None if there is no seal. Lines that are not as they were written are left out."""
    if (found := content(store)) is None:
        return None
    lines = found.decode("utf-8", "replace").splitlines()
    return {line[66:]: line[:64] for line in lines if line[64:66] == "  "}


def is_whole(store: Store) -> bool:
    """A quick look: the seal is there, all its files are there with the sizes of dataset.json, the small ones are unchanged."""
    sums = read(store)
    if sums is None or any(not holds(store, name, sums) for name in (*SMALL, *({INPUTS} & sums.keys()))):
        return False
    folders = dict.fromkeys(n.rpartition("/")[0] for n in sums if "/" in n)
    there = {f"{where}/{n}": size for where in folders for n, size in store.sizes(where).items()}
    sized = {
        f"shards/{s['name']}.{k}": s[k]["bytes"]
        for s in json.loads(store.read("dataset.json"))["shards"]
        for k in ("tar", "parquet")
    }
    return all(n in there and there[n] == sized.get(n, there[n]) for n in sums if "/" in n)


def faults(store: Store) -> list[str]:
    """Files that are not as the seal says, one line each; every byte of every file is read."""
    sums = read(store)
    if sums is None:
        return [f"{NAME}: missing; the run has not reached its end"]
    found = [
        f"{name}: is not the file that {NAME} names" for name, value in sorted(sums.items()) if not holds(store, name, sums)
    ]
    if spelled(sums) != store.read(NAME):
        found.append(f"{NAME}: is not as it was written")
    shown = set(folder.files(store, folder.Role.SHOWN))
    return found + [f"{name}: is not in {NAME}" for name in sorted((shown | set(SMALL)) - set(sums))]


def holds(store: Store, name: str, sums: dict[str, str]) -> bool:
    """Whether a file can be read and has the recorded hash."""
    try:
        return store.hash(name) == sums.get(name)
    except (OSError, ValueError):
        return False
