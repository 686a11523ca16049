"""Writing of shards: the assignment of samples to places, tars with bytes copied by offset, the root hash, and dataset.json.

A shard is a pure function of its rows in the plan and of the bytes they name: any process may write it, in any order,
and a second one writes the same bytes. Its `.json` is the commit: it appears last and names the plan it was made for.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import PoolError
from curate.recipe import Shards
from curate.select.database import query
from curate.selector import coin_sql
from curate.shard.members import LEFT_OUT, Members, Slice, bulky, image_members
from curate.store.atomic import Store
from curate.store.parquet import write_table
from curate.store.payload import BLOCK, END, tar_header
from curate.store.releases import chain_hash
from curate.store.slices import slices

# ---- the plan


def assign(n: int, size: int) -> list[int]:
    """The number of samples of each shard: as few shards as hold `n` samples, with sizes equal within one."""
    count = math.ceil(n / size)
    return [n // count + (i < n % count) for i in range(count)]


def shard_name(shard: int, count: int) -> str:
    """`00042`: five digits, or as many as `count` shards need."""
    return f"{shard:0{max(5, len(str(count - 1)))}d}"


def plan(rows: pa.Table, shards: Shards) -> pa.Table:
    """Kept rows with `shard`, `place` and `key`, sorted by (shard, place); for a pool that fits into memory."""
    repeated = "copies" in rows.column_names
    ids = rows.select(["uid", *(["copies"] if repeated else [])]).append_column("id", pa.array(np.arange(len(rows))))
    ordered = query(f"from ({samples_sql(shards.seed, repeated)}) order by coin, key", {"live": ids})
    placed = assign_places(ordered, 0, assign(len(ordered), shards.size) if len(ordered) else [])
    found = {n: placed[n] for n in ("shard", "place", "key")}
    taken = rows.take(placed["id"])
    return pa.table(found | {n: taken[n] for n in taken.column_names if n not in found})


def samples_sql(seed: int, repeated: bool) -> str:
    """SQL: the samples of the kept rows `live`, unordered, each with its `key` and its `coin`, the random number that orders them.

    repeated: the rows have a column `copies`; a row with 2 or more becomes so many samples, with the keys uid, uid-2, uid-3 …
    """
    copies = "greatest(coalesce(copies, 1), 1)" if repeated else "1"
    return f"""with repeated as (select id, uid, unnest(range(1, 1 + {copies})) as copy from live),
        named as (select * exclude (copy), if(copy = 1, uid, uid || '-' || copy) as key from repeated)
        select *, {coin_sql("key", seed)} as coin from named"""


def assign_places(ordered: pa.Table, first: int, sizes: list[int], first_shard: int = 0) -> pa.Table:
    """Samples in order of coin and key with their `shard` and `place`. first: the index of the first of them among all samples. sizes:
    of all shards (`assign`), which are numbered from `first_shard` on."""
    starts = np.cumsum([0, *sizes])
    n = first + np.arange(len(ordered))
    shard = np.searchsorted(starts, n, side="right") - 1
    found = {"shard": pa.array(first_shard + shard, pa.int32()), "place": pa.array(n - starts[shard], pa.int32())}
    return pa.table({c: ordered[c] for c in ("id", "uid", "key")} | found)


# ---- writing shards


@dataclass
class ShardDraft:
    """A shard to be written. rows: those of the plan, in order. members: builds the members of a sample (default: image_members)."""

    name: str
    rows: pa.Table
    members: Callable[[dict, dict, str | None], Members] | None = None


#: Payload bytes of shards that are written together, about: they are on the worker's disk until they are complete.
GROUP_BYTES = 4 << 30


def write_shard(
    store: Store,
    rows: pa.Table,
    name: str,
    plan: str,
    provenance: dict[str, Any] | None = None,
    shards: Shards | None = None,
    hashed: str | None = "sha256",
    members: Callable[[dict, dict, str | None], Members] | None = None,
) -> dict[str, Any]:
    """Write one shard (see write_group); returns the content of its `.json`."""
    return write_group(store, [ShardDraft(name, rows, members)], plan, provenance, shards, hashed)[0]


def write_group(
    store: Store,
    drafts: Iterable[ShardDraft],
    plan: str,
    provenance: dict[str, Any] | None = None,
    shards: Shards | None = None,
    hashed: str | None = "sha256",
    fresh: bool = False,
) -> list[dict[str, Any]]:
    """Write several shards (`.tar`, `.parquet`, `.json`) together, so that a payload is read once; returns the contents of the `.json`s.

    plan: a hash of the plan and of all that decides the bytes; a shard that exists for it is left as it is.
    provenance: for the `.json` (stage fingerprints, captioners); it does not change the tar.
    hashed: the column with the SHA-256 of the kept bytes, or None if there is no such column.
    fresh: none of them can exist.
    """
    how, infos, group = shards or Shards(), [], _Group(store, {**(provenance or {}), "hashed": hashed, "plan": plan})
    with group.files:
        for draft in drafts:
            earlier, whole = (None, False) if fresh else _existing(store, draft.name, plan)
            if whole:
                infos.append(earlier)
                continue
            if earlier is not None:  # an old `.json` beside a new tar would be trusted if its plan came back
                store.remove(f"shards/{draft.name}.json")
            group.begin(draft, how, earlier)
            if group.size >= GROUP_BYTES:
                infos += group.finish()
        infos += group.finish()
    return sorted(infos, key=lambda i: i["name"])


@dataclass
class _OpenShard:
    """A shard whose private files lack only the payload bytes. stored: the slices to copy, each with its offset in the tar and the uid of
    its sample. made_of: the digest of all members. whole: the size and hash of the same tar, if an earlier plan led to it."""

    name: str
    samples: int
    tar: Path
    parquet: Path
    stored: list[tuple[Slice, int, str]]
    made_of: str
    whole: dict[str, Any] | None


@dataclass
class _Group:
    """Shards that are written together. files: their private files."""

    store: Store
    info: dict[str, Any]
    files: ExitStack = field(default_factory=ExitStack)
    begun: list[_OpenShard] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(content.size for shard in self.begun for content, _, _ in shard.stored)

    def begin(self, draft: ShardDraft, how: Shards, earlier: dict[str, Any] | None) -> None:
        """Write a shard's private files without the payload bytes. earlier: the `.json` of the same shard of another plan."""
        in_sidecar = set(how.model_scores.get("documents" if draft.members else "images", []))
        members = draft.members or partial(image_members, captions=how.captions)
        bulk = () if how.embeddings else [f.name for f in draft.rows.schema if bulky(f.type)]
        left_out = LEFT_OUT.union(how.without, bulk)
        kept = _canonical(draft.rows.select([c for c in draft.rows.column_names if c not in left_out]))
        names = (f"shards/{draft.name}.{kind}" for kind in ("tar", "parquet"))
        tar, parquet = (self.files.enter_context(self.store.private(name)) for name in names)
        write_table(parquet, kept, checksum=False)  # its hash is in dataset.json
        digest = hashlib.sha256()
        samples = _samples(draft.rows, set(kept.column_names) - in_sidecar, self.info["hashed"], members)
        stored = write_tar(tar, _hashed(samples, digest))
        whole = self._same_tar(draft.name, earlier or {}, digest.hexdigest())
        shard = _OpenShard(draft.name, len(draft.rows), tar, parquet, [] if whole else stored, digest.hexdigest(), whole)
        self.begun.append(shard)

    def _same_tar(self, name: str, earlier: dict[str, Any], made_of: str) -> dict[str, Any] | None:
        """The size and hash of a shard's tar, if it has these members already."""
        try:
            same = earlier.get("tar_made_of") == made_of and _size(self.store, f"shards/{name}.tar") == earlier["tar"]["bytes"]
        except FileNotFoundError:
            return None
        return earlier["tar"] if same else None

    def finish(self) -> list[dict[str, Any]]:
        """Copy the payload bytes into the tars, and publish all files; returns the contents of the `.json`s."""
        _copy_payloads(self.store, self.begun)
        infos = []
        for shard in self.begun:
            tar = shard.whole or _publish(self.store, f"shards/{shard.name}.tar", shard.tar)
            parquet = _publish(self.store, f"shards/{shard.name}.parquet", shard.parquet)
            files = {"tar": tar, "tar_made_of": shard.made_of, "parquet": parquet}
            infos.append({**self.info, "name": shard.name, "samples": shard.samples, **files})
            self.store.publish_bytes(f"shards/{shard.name}.json", pretty(infos[-1]))
        self.begun = []
        self.files.close()
        return infos


def _canonical(rows: pa.Table) -> pa.Table:
    """The rows in a canonical form, so that equal rows give equal files: 64-bit offsets, one chunk, no metadata."""
    wide = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
    return rows.cast(pa.schema([(f.name, wide.get(f.type, f.type)) for f in rows.schema])).combine_chunks()


def _samples(rows: pa.Table, in_json: set[str], hashed: str | None, members: Callable) -> Iterator[tuple[str, str, Members]]:
    """(key, uid, members) of each row, in order. in_json: columns of the `.json`."""
    slim = rows.select([f.name for f in rows.schema if not bulky(f.type)])
    described = [c for c in slim.column_names if c in in_json]
    for start in range(0, len(rows), 1000):
        for row in slim.slice(start, 1000).to_pylist():
            yield row["key"], row["uid"], members(row, {c: row[c] for c in described}, hashed)


def _hashed(samples: Iterator[tuple[str, str, Members]], digest: "hashlib._Hash") -> Iterator[tuple[str, str, Members]]:
    """The same samples; `digest` takes in the names of their members, and their bytes or, of those in payloads, their hash."""
    for key, uid, members in samples:
        for suffix, content in members.items():
            data = (content.sha256 or repr(content)).encode() if isinstance(content, Slice) else content
            digest.update(f"{key}.{suffix} {len(data)} ".encode() + data)
        yield key, uid, members


def write_tar(path: Path, samples: Iterator[tuple[str, str, Members]]) -> list[tuple[Slice, int, str]]:
    """Write a tar of the samples to a local path, in order, with gaps for the bytes from payloads.

    Returns their slices, each with its offset in the tar and the uid of its sample. All sizes are known, so every offset is known
    before a payload is read.
    """
    stored: list[tuple[Slice, int, str]] = []
    with open(path, "wb") as f:
        fd, place = f.fileno(), 0
        for key, uid, members in samples:
            for suffix, content in members.items():
                size = content.size if isinstance(content, Slice) else len(content)
                header, pad = tar_header(f"{key}.{suffix}", size), b"\0" * (-size % BLOCK)
                if isinstance(content, Slice):
                    stored.append((content, place + BLOCK, uid))
                    _write(fd, header, place)
                else:
                    _write(fd, header + content + pad, place)
                place += BLOCK + size + len(pad)
        # The padding of payload bytes is never written: gaps in a file are zeros.
        _write(fd, END, place)
    return stored


def _copy_payloads(store: Store, shards: list[_OpenShard]) -> None:
    """Copy the payload bytes into the tars, in the order of their offsets in the payloads. PoolError unless they have their SHA-256."""
    wanted = [(n, *item) for n, shard in enumerate(shards) for item in shard.stored]
    wanted.sort(key=lambda w: (w[1].payload, w[1].offset))
    found = slices(store, ((content.payload, content.offset, content.size) for _, content, _, _ in wanted))
    with ExitStack() as files:
        tars = [files.enter_context(open(shard.tar, "r+b")).fileno() for shard in shards]
        for number, content, place, uid in wanted:
            _write(tars[number], _checked(store, content, uid, found), place)


def _checked(store: Store, wanted: Slice, uid: str, found: Iterator[bytes]) -> bytes:
    """The next bytes; PoolError if they are not those of the wanted slice."""
    path = store.path(wanted.payload)
    try:
        data = next(found)
    except OSError as e:
        raise PoolError(f"{path}: cannot be read: {e.strerror or e} (uid {uid})") from e
    if len(data) != wanted.size:
        raise PoolError(f"{path}: ends before byte {wanted.offset + wanted.size} (uid {uid})")
    if wanted.sha256 and hashlib.sha256(data).hexdigest() != wanted.sha256:
        raise PoolError(f"{path}: the {wanted.size} bytes at {wanted.offset} are not those recorded (uid {uid})")
    return data


def _write(fd: int, data: bytes, place: int) -> None:
    """Write all of data at an offset; one call writes at most 2 GiB and may write less."""
    done = os.pwrite(fd, data, place)
    while done < len(data):
        done += os.pwrite(fd, data[done:], place + done)


def _publish(store: Store, name: str, path: Path) -> dict[str, Any]:
    """Publish a finished private file; returns its size in bytes and SHA-256."""
    with open(path, "rb") as f:
        made = {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(f, "sha256").hexdigest()}
    store.publish(name, path, made["bytes"])
    return made


def _existing(store: Store, name: str, plan: str) -> tuple[dict[str, Any] | None, bool]:
    """The content of a shard's `.json`, None if there is none; and whether the shard is complete and was made for this plan."""
    info: dict[str, Any] = {}
    try:
        info = json.loads(store.read(f"shards/{name}.json"))
        if info["plan"] != plan:
            return info, False
        return info, all(_size(store, f"shards/{name}.{kind}") == info[kind]["bytes"] for kind in ("tar", "parquet"))
    except FileNotFoundError:
        return info or None, False
    except (ValueError, KeyError, TypeError):
        return info, False


def _size(store: Store, name: str) -> int:
    with store.open(name) as f:
        return f.seek(0, os.SEEK_END)


def sums_of(info: dict[str, Any]) -> dict[str, str]:
    """The SHA-256 of each file of a shard, from the content of its `.json`."""
    sums = {f"shards/{info['name']}.{kind}": info[kind]["sha256"] for kind in ("tar", "parquet")}
    return sums | {f"shards/{info['name']}.json": hashlib.sha256(pretty(info)).hexdigest()}


def pretty(value: dict[str, Any]) -> bytes:
    """A record as the bytes of its JSON file."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


# ---- the end


def root_hash(infos: list[dict[str, Any]]) -> str:
    """SHA-256 over name, samples and tar hash of all shards: datasets with the same root hash have the same samples in the same order.

    The sidecars are not part of it: model scores in them differ in the last digits between kinds of CPU.
    """
    lines = [f"{i['name']} {i['samples']} {i['tar']['sha256']}\n" for i in infos]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def finish(store: Store, infos: list[dict[str, Any]], provenance: dict[str, Any] | None = None) -> dict[str, Any]:
    """Finish a set of shards: remove those of an earlier plan, write `sizes.json`, and last `dataset.json`; returns the latter."""
    infos = sorted(infos, key=lambda i: i["name"])
    wanted = {f"{i['name']}.{kind}" for i in infos for kind in ("tar", "parquet", "json")}
    for stale in set(store.names("shards")) - wanted - {"sizes.json"}:
        store.remove(f"shards/{stale}")
    store.publish_bytes("shards/sizes.json", pretty({f"{i['name']}.tar": i["samples"] for i in infos}))
    return publish_dataset(store, provenance or {}, root_hash(infos), sum(i["samples"] for i in infos), infos)


def publish_dataset(
    store: Store, provenance: dict[str, Any], root: str, samples: int, infos: list[dict[str, Any]]
) -> dict[str, Any]:
    """Write `dataset.json`; returns its content. provenance: further fields; if it has earlier `releases`, a `chain_hash` over all
    releases is added."""
    roots = [*(r["root_hash"] for r in provenance.get("releases", ())), root]
    dataset = {
        **provenance,
        **({"chain_hash": chain_hash(roots)} if len(roots) > 1 else {}),
        "root_hash": root,
        "samples": samples,
        "bytes": sum(i["tar"]["bytes"] for i in infos),
        "shards": [{k: i[k] for k in ("name", "samples", "tar", "parquet")} for i in infos],
    }
    store.publish_bytes("dataset.json", pretty(dataset))
    return dataset


def shard_names(dataset: dict[str, Any]) -> dict[int, str]:
    """The names of a run's shards by number; numbers continue those of earlier releases."""
    return {int(s["name"]): s["name"] for s in dataset["shards"]}
