"""A second opinion on a run's folder, which shares no code with curate: `python independent_checker.py RUN`.

It reads tars with the standard library and tables with pyarrow, prints what is wrong, and exits 1 if anything is.
"""

import collections
import hashlib
import json
import math
import os
import sys
import tarfile
import zlib

import pyarrow.parquet as pq

ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif", "image/avif": "avif"}


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def load(path):
    with open(path) as f:
        return json.load(f)


def ledger(run, record):
    """Kept rows by uid; what is wrong with the ledger as a whole."""
    rows, wrong = [], []
    folder = os.path.join(run, "ledger", "images")
    for name in sorted(os.listdir(folder)):
        table = pq.ParquetFile(os.path.join(folder, name)).read()
        small = [c for c in table.column_names if "embed" not in c and "vector" not in c]
        rows += table.select(small).to_pylist()
    brought = sum(i["rows"].get("images", 0) for i in record["inputs"])
    if len(rows) != brought:
        wrong.append(f"ledger has {len(rows)} rows, input {brought}")
    outcomes = collections.Counter(r["drop_reason"] or "kept" for r in rows)
    if outcomes != collections.Counter(record["rows"]["images"]):
        wrong.append("ledger outcomes are not those of recipe.json")
    torn = [r["uid"] for r in rows if r["kept"] is not (r["drop_reason"] is None)]
    wrong += [f"ledger {u}: neither kept nor dropped, or both" for u in torn]
    kept = [r for r in rows if r["kept"]]
    by_uid = {r["uid"]: r for r in kept}
    if len(by_uid) != len(kept):
        wrong.append("ledger keeps a uid twice")
    return by_uid, wrong


def tar_samples(path):
    """(key, {ending: bytes}) in order; consecutive members with one key."""
    found = []
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if not member.isfile() or member.mtime or member.uid:
                raise ValueError(f"{member.name} is not a plain reproducible member")
            key, ending = member.name.split(".", 1)
            if not found or found[-1][0] != key:
                found.append((key, {}))
            data = tar.extractfile(member).read()
            if len(data) != member.size:
                raise ValueError(f"{member.name} is cut short")
            found[-1][1][ending] = data
    return found


def same(a, b):
    if isinstance(a, float) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-12) or a == b
    not_a_number = b is None and isinstance(a, float) and math.isnan(a)
    return a == b or not_a_number or (a is not None and isinstance(b, str) and str(a) == b)


def sample(key, files, row, kept):
    """What is wrong with one sample, given its Parquet row and its ledger row."""
    ending = ENDINGS.get(row["mime"])
    if set(files) != {ending, "txt", "json"}:
        return [f"{key}: members {sorted(files)}"]
    said = json.loads(files["json"])
    wrong = [f"{key}: json says another {c}" for c in said if c not in row or not same(row[c], said[c])]
    if files["txt"].decode() != (row.get("chosen_text") or row["text"] or ""):
        wrong.append(f"{key}: txt is not the caption")
    if hashlib.sha256(files[ending]).hexdigest() != row["sha256"]:
        wrong.append(f"{key}: image is not that of the row")
    if kept is None:
        return [*wrong, f"{key}: not kept in the ledger"]
    shared = [c for c in row if c in kept and c not in ("key", "shard", "position")]
    return wrong + [f"{key}: ledger has another {c}" for c in shared if not same(row[c], kept.get(f"redacted_{c}") or kept[c])]


def shard(run, entry, kept, seen):
    base = os.path.join(run, "shards", entry["name"])
    for ending in ("tar", "parquet"):
        path, listed = f"{base}.{ending}", entry[ending]
        if digest(path) != listed["sha256"] or os.path.getsize(path) != listed["bytes"]:
            yield f"{entry['name']}.{ending}: other bytes than listed"
    said = load(f"{base}.json")
    if any(said[k] != entry[k] for k in ("samples", "tar", "parquet")):
        yield f"{entry['name']}.json: not what dataset.json says"
    table = pq.ParquetFile(f"{base}.parquet", page_checksum_verification=True).read()
    rows = table.select([c for c in table.column_names if "embed" not in c and "vector" not in c]).to_pylist()
    found = tar_samples(f"{base}.tar")
    if not len(rows) == len(found) == entry["samples"]:
        yield f"{entry['name']}: {len(rows)} rows, {len(found)} samples, {entry['samples']} listed"
    last = -1
    for row, (key, files) in zip(rows, found):
        if row["key"] != key:
            yield f"{entry['name']}: {key} where {row['key']} should be"
            continue
        mine = kept.get(row["uid"])
        yield from sample(key, files, row, mine)
        if mine and key == row["uid"] and (mine["key"] != key or mine["shard"] != int(entry["name"])):
            yield f"{key}: the ledger places it elsewhere"
        if mine and key == row["uid"] and "place" in mine:
            if mine["place"] is None or mine["place"] <= last:
                yield f"{key}: is not in the order of the ledger's places"
            last = mine["place"] if mine["place"] is not None else last
        seen[key] += 1


def faults(run):
    record, dataset = load(os.path.join(run, "recipe.json")), load(os.path.join(run, "dataset.json"))
    kept, wrong = ledger(run, record)
    yield from wrong
    names = {f"{s['name']}.{e}" for s in dataset["shards"] for e in ("tar", "parquet", "json")} | {"sizes.json"}
    there = set(os.listdir(os.path.join(run, "shards")))
    if names != there:
        yield f"files: {sorted(names ^ there)} missing or too many"
    if load(os.path.join(run, "shards", "sizes.json")) != {f"{s['name']}.tar": s["samples"] for s in dataset["shards"]}:
        yield "sizes.json is wrong"
    lines = (f"{s['name']} {s['samples']} {s['tar']['sha256']}\n" for s in dataset["shards"])
    if hashlib.sha256("".join(lines).encode()).hexdigest() != dataset["root_hash"]:
        yield "the root hash is wrong"
    seen = collections.Counter()
    for entry in dataset["shards"]:
        try:
            yield from shard(run, entry, kept, seen)
        except (OSError, ValueError, KeyError, tarfile.TarError, zlib.error, EOFError) as e:
            yield f"{entry['name']}: {e}"
    yield from (f"{k}: comes {n} times" for k, n in seen.items() if n > 1)
    for u, row in kept.items():
        wanted = [u, *(f"{u}-{i}" for i in range(2, (row.get("copies") or 1) + 1))]
        yield from (f"{key}: kept, but in no shard" for key in wanted if not seen[key])
    if sum(seen.values()) != dataset["samples"]:
        yield f"{sum(seen.values())} samples, dataset.json says {dataset['samples']}"


def main(run):
    try:
        wrong = list(faults(run))
    except (OSError, ValueError, KeyError) as e:
        wrong = [f"{type(e).__name__}: {e}"]
    for line in wrong[:50]:
        print(line)
    print(f"{len(wrong)} faults" if wrong else "fine")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
