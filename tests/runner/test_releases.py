"""A set that grows: new rows are selected against what is published, by rules written here a second time; earlier files stay as they are."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import growing
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from growing import BUDGETS, CENTROIDS, COLOURS, MOST, RELEASES, TOTAL, made_of, recipe, release

from curate import schema
from curate.cli import main
from curate.errors import RecipeError
from curate.runner.driver import run
from curate.selector import Selector, coin
from curate.store.atomic import Store
from curate.upkeep.check import check
from tests.dedup.test_near import picture

# ---- the rules, one after another, by the letter


def alike(rows, published, better, same, reason, fell):
    """Rows in order of rank; each falls for a published row that is the same, else for a better one that stays."""
    stays = []
    for row in sorted(rows, key=better):
        survivor = next((r for r in [*published, *stays] if same(row, r)), None)
        if survivor is None:
            stays.append(row)
        else:
            fell[row["uid"]] = (reason, {r["uid"] for r in [*published, *stays] if same(row, r)})
    return stays


def pieces(text):
    return {text[i : i + 5] for i in range(len(text) - 4)}


def texts(a, b):
    one, other = pieces(a["text"]), pieces(b["text"])
    return len(one & other) / len(one | other) >= 0.8


def cosine(a, b):
    return a["vector"] @ b["vector"] / np.linalg.norm(a["vector"]) / np.linalg.norm(b["vector"]) >= 0.99


def parted(rows, stays, reason, fell):
    """The rows for which `stays` holds, asked in their order; the others fall."""
    kept = [r for r in rows if stays(r)]
    fell.update({r["uid"]: (reason, None) for r in rows if all(r is not k for k in kept)})
    return kept


def by_score(row):
    return -row["score"], row["uid"]


def frequent(rows, published, fell):
    seen = Counter(r["banner"] for r in [*published, *rows])
    return parted(rows, lambda r: seen[r["banner"]] <= 6, "frequency", fell)


def capped(rows, published, fell):
    seen = Counter(r["site"] for r in published)

    def stays(row):
        seen[row["site"]] += 1
        return seen[row["site"]] <= MOST

    return parted(sorted(rows, key=by_score), stays, "caps", fell)


def clustered(rows, published, fell):
    """One place after another goes to the cluster with the fewest that has a row for it."""
    cluster = lambda r: int(np.argmax(CENTROIDS / np.linalg.norm(CENTROIDS, axis=1, keepdims=True) @ r["vector"]))  # noqa: E731
    held, waiting = Counter(map(cluster, published)), Counter(map(cluster, rows))
    granted = Counter()
    while granted.total() < min(TOTAL - len(published), len(rows)):
        least = min((c for c in waiting if granted[c] < waiting[c]), key=lambda c: (held[c] + granted[c], c))
        granted[least] += 1

    def stays(row):
        granted[cluster(row)] -= 1
        return granted[cluster(row)] >= 0

    return parted(sorted(rows, key=by_score), stays, "cluster_balance", fell)


def within_budget(rows, published, fell):
    """In the order of a coin; behind a row that a pool cannot pay, all of that pool fall."""
    left = {site: budget - sum(r["tokens"] for r in published if r["site"] == site) for site, budget in BUDGETS.items()}

    def stays(row):
        left[row["site"]] -= row["tokens"]
        return left[row["site"]] >= 0

    return parted(sorted(rows, key=lambda r: coin([r["uid"]], 4, "budget")[0]), stays, "budget", fell)


def balanced(rows, published, fell):
    """Each colour is filled up to 20 captions; a caption of two colours has two chances."""
    named = lambda r: {c for c in COLOURS if c in r["text"].split()}  # noqa: E731
    there, new = (Counter(c for r in some for c in named(r)) for some in (published, rows))
    misses = lambda r: [1 - min(1, max(0, 20 - there[c]) / new[c]) for c in named(r)]  # noqa: E731
    return parted(rows, lambda r: coin([r["uid"]], 3, "balance")[0] < 1 - np.prod(misses(r)), "balance", fell)


def oracle():
    """For each release the uids that stay, and why others fell: the reason, and the rows that they may have fallen for."""
    published, found = [], []
    for number in RELEASES:
        rows, fell = {}, {}
        for row in growing.rows(number):
            uid = schema.uid(row["text"], row["url"])
            rows.setdefault(uid, {"uid": uid, **row, **made_of(row["url"])})
        by_uid = lambda r: r["uid"]  # noqa: E731
        live = alike(rows.values(), published, by_uid, lambda a, b: a["uid"] == b["uid"], "duplicate_uid", fell)
        live = alike(live, published, by_uid, lambda a, b: a["content"] == b["content"], "exact_dedup", fell)
        live = alike(live, published, by_score, lambda a, b: a["family"] == b["family"], "near_dedup", fell)
        live = alike(live, published, by_uid, texts, "text_dedup", fell)
        live = alike(live, published, by_score, cosine, "semantic_dedup", fell)
        for rule in (frequent, capped, clustered, within_budget, balanced):
            live = rule(live, published, fell)
        published += live
        found.append(({r["uid"] for r in live}, fell))
    return found


# ---- runs


def files(folder: Path) -> dict[str, str]:
    """Every file with the hash of its bytes."""
    there = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in there}


@pytest.fixture(scope="module")
def memory():
    """A folder in memory where there is such a place: a run makes many files durable."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def grown(memory):
    """Three releases, each with the hashes of its files before the next was made."""
    (memory / "grown").mkdir()
    folder, before = growing.write_inputs(memory / "grown"), {}
    for number in RELEASES:
        release(folder, number)
        before[number] = files(folder / f"r{number}")
    return folder, before


def ledger(run: Path) -> list[dict]:
    columns = ["uid", "kept", "drop_reason", "shard", "key"]
    return [r for f in sorted((run / "ledger/images").iterdir()) for r in pq.read_table(f, columns=columns).to_pylist()]


def edges(run: Path) -> dict[str, str]:
    """For each row that fell for another the uid of that one."""
    names = ["edge_uid", "edge_survivor_uid"]
    tables = [pq.read_table(f) for f in sorted((run / "work/decisions").glob("*/*.parquet"))]
    found = [r for t in tables if "edge_uid" in t.column_names for r in t.select(names).to_pylist() if r["edge_uid"]]
    return {r["edge_uid"]: r["edge_survivor_uid"] for r in found}


def dataset(run: Path) -> dict:
    return json.loads((run / "dataset.json").read_text())


def test_each_release_keeps_what_the_rules_leave_one_after_another(grown):
    folder, _ = grown
    reasons = Counter()
    for number, (kept, fell) in zip(RELEASES, oracle()):
        rows, met = ledger(folder / f"r{number}"), edges(folder / f"r{number}")
        assert {r["uid"] for r in rows if r["kept"]} == kept
        rows.sort(key=lambda r: r["drop_reason"] != "duplicate_uid")  # a uid that is listed twice may fall for two reasons
        dropped = {r["uid"]: r["drop_reason"] for r in rows if not r["kept"] and r["uid"] not in kept}
        assert dropped == {uid: reason for uid, (reason, _) in fell.items()}
        assert all(met[uid] in survivors for uid, (_, survivors) in fell.items() if survivors)
        reasons.update({r for r in dropped.values()} if number > 1 else ())
    assert set(reasons) == {s.name for s in recipe(f"{folder}/1.json").steps if isinstance(s, Selector)}


def test_earlier_files_stay_byte_for_byte_and_shards_are_numbered_on(grown):
    folder, before = grown
    assert all(files(folder / f"r{number}") == before[number] for number in RELEASES)
    numbers = [int(s["name"]) for number in RELEASES for s in dataset(folder / f"r{number}")["shards"]]
    assert numbers == list(range(len(numbers)))
    assert {r["shard"] for r in ledger(folder / "r3") if r["kept"]} == {
        int(s["name"]) for s in dataset(folder / "r3")["shards"]
    }


def test_the_chain_has_a_root_hash_each_and_is_checked(grown, tmp_path):
    folder, _ = grown
    last = dataset(folder / "r3")
    roots = [dataset(folder / f"r{number}")["root_hash"] for number in RELEASES]
    assert [r["root_hash"] for r in last["releases"]] == roots[:2] and [r["run"] for r in last["releases"]] == [
        "../r1",
        "../r2",
    ]
    assert last["chain_hash"] == hashlib.sha256("".join(f"{r}\n" for r in roots).encode()).hexdigest()
    assert [check(Store(folder / f"r{number}")) for number in RELEASES] == [[], [], []]
    shutil.copytree(folder, tmp_path / "moved")
    assert check(Store(tmp_path / "moved/r3")) == []
    tar = tmp_path / "moved/r1/shards/00000.tar"
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")
    assert any("../r1: shards/00000.tar" in fault for fault in check(Store(tmp_path / "moved/r3")))
    shutil.rmtree(tmp_path / "moved/r1")
    ledger = next((tmp_path / "moved/r2/ledger/images").iterdir())
    ledger.write_bytes(ledger.read_bytes()[:50])
    faults = check(Store(tmp_path / "moved/r3"))
    assert [f.split(":")[0] for f in faults] == ["../r1", "../r2"], faults
    assert "no finished run is there" in faults[0]


def test_killed_and_resumed_it_is_the_same_release(grown):
    folder, before = grown
    shutil.move(folder / "r3", folder / "whole")
    places = [
        "name work/gathered/published-*",
        "name work/decisions/semantic_dedup-*",
        "name work/decisions/cluster_balance-*",
        "name shards/*.tar",
    ]
    said = subprocess.run([sys.executable, growing.__file__, folder, *places], capture_output=True, text=True, check=True)
    assert said.stdout.split("\n")[:-1] == [f"{place} -9" for place in places]
    made = release(folder, 3)
    assert made.dataset == dataset(folder / "whole") and check(made.store) == []
    assert all(files(folder / f"r{number}") == before[number] for number in (1, 2))
    # It knows what it was made onto, and has nothing to do.
    assert run(recipe(f"{folder}/3.json"), f"{folder}/r3", engine="local", part_size=40).counters == {}


def test_many_chunks_decide_the_same(grown, tmp_path, monkeypatch):
    from curate.select import exchange, pool

    folder, _ = grown
    monkeypatch.setattr(pool, "ROWS", 45)
    monkeypatch.setattr(exchange, "ROWS", 45)
    assert release(folder, 3, "in_chunks").dataset["root_hash"] == dataset(folder / "r3")["root_hash"]


def test_what_cannot_be_compared_is_refused(grown, tmp_path):
    folder, _ = grown
    other = recipe(f"{folder}/3.json", seed=1)
    with pytest.raises(RecipeError, match="seed is 0 there and 1 here"):
        run(other, str(tmp_path / "other"), engine="local", onto=[f"{folder}/r1"])
    with pytest.raises(RecipeError, match="onto itself"):
        run(recipe(f"{folder}/3.json"), f"{folder}/r3", engine="local", onto=[f"{folder}/r3"])


# ---- takedowns


@pytest.fixture
def small(grown, memory, tmp_path):
    """Two releases of which the second has duplicates of the first."""
    folder = memory / tmp_path.name
    shutil.copytree(grown[0], folder)
    return folder


def test_a_takedown_reaches_every_release_and_the_runs_that_are_named(grown, small, capsys):
    found = edges(small / "r2")
    first = {r["uid"]: r for r in ledger(small / "r1")}
    victim = next(s for s in sorted(set(found.values())) if first.get(s, {}).get("kept"))
    fell = {uid for uid, survivor in found.items() if survivor == victim}
    derived = release(small, 1, "derived", grown[0])
    (small / "gone.txt").write_text(victim)
    kept = {n: {r["uid"]: r["shard"] for r in ledger(small / n) if r["kept"]} for n in ("r1", "r2", "derived")}
    assert main(["takedown", f"{small}/r2", "--list", f"{small}/gone.txt", "--also", f"{small}/derived"]) == 0
    assert capsys.readouterr().out.count("removed the content of") == 3
    for name in kept:
        left = {r["uid"]: r["shard"] for r in ledger(small / name) if r["kept"]}
        assert victim not in left and left == {u: s for u, s in kept[name].items() if u in left}, "others keep their places"
        assert len(left) >= len(kept[name]) - 1 - len(fell)
        assert check(Store(small / name)) == []
    assert fell and all(r["drop_reason"] in ("removed", "duplicate_uid") for r in ledger(small / "r2") if r["uid"] in fell)
    root = dataset(small / "r1")["root_hash"]
    assert dataset(small / "r2")["releases"][0]["root_hash"] == root != derived.dataset["root_hash"]
    assert release(small, 2, lists=grown[0]).counters == {}, "nothing is decided anew"


def test_what_went_from_an_earlier_release_alone_goes_from_the_later_ones_next(grown, small):
    kept = next(r["uid"] for r in ledger(small / "r1") if r["kept"])
    (small / "gone.txt").write_text(kept)
    assert main(["takedown", f"{small}/r1", "--list", f"{small}/gone.txt"]) == 0
    assert any("taken down there are not on this run" in fault for fault in check(Store(small / "r2")))
    before = {r["uid"] for r in ledger(small / "r2") if r["kept"]}
    assert release(small, 2, lists=grown[0]).store.names("removed") and check(Store(small / "r2")) == []
    assert {r["uid"] for r in ledger(small / "r2") if r["kept"]} == before
    (small / "4.json").write_text(json.dumps([r for r in growing.rows(1) if schema.uid(r["text"], r["url"]) == kept]))
    made = run(recipe(f"{small}/4.json"), f"{small}/r4", engine="local", onto=[f"{small}/r2"])
    assert {r["drop_reason"] for r in ledger(small / "r4")} == {"removed"} and made.dataset["samples"] == 0


# ---- is a record known


def test_a_record_is_compared_with_all_releases(grown, tmp_path, capsys):
    folder, _ = grown
    first = next(r for r in ledger(folder / "r1") if r["kept"])
    [row] = [r for r in growing.rows(1) if schema.uid(r["text"], r["url"]) == first["uid"]][:1]
    family = row["url"].split("/")[3]
    cv2.imwrite(str(tmp_path / "seen.png"), picture(int(family), (48, 64))[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "new.png"), picture(10**6, (48, 64))[:, :, ::-1])
    other = {"url": "http://new.example/", "text": row["text"] + "!", "vector": made_of(row["url"])["vector"].tolist()}
    pq.write_table(
        pa.Table.from_pylist([row | {"vector": None}, other, {"text": "nothing like it", "url": "http://x/"}]),
        tmp_path / "new.parquet",
    )
    assert main(["near", f"{folder}/r3", f"{tmp_path}/seen.png", "--json"]) == 0
    [match] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert match["rule"] == "near picture" and match["run"] == str(folder / "r1") and match["row"]["uid"] == first["uid"]
    assert main(["near", f"{folder}/r3", f"{tmp_path}/new.png"]) == 0
    assert capsys.readouterr().out.startswith("0 of 1 records are duplicates")
    assert main(["near", f"{folder}/r3", f"{tmp_path}/new.parquet", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(m["record"], m["rule"]) for m in found} == {
        (0, "same pair"),
        (0, "near text"),
        (1, "near text"),
        (1, "near embedding"),
    }
    assert {m["row"]["uid"] for m in found} == {first["uid"]}


def test_the_story_of_a_row_names_the_release_of_its_survivor(grown, capsys):
    folder, _ = grown
    own = {r["uid"] for r in ledger(folder / "r3")}
    uid, survivor = next((u, s) for u, s in sorted(edges(folder / "r3").items()) if s not in own)
    assert main(["why", f"{folder}/r3", uid]) == 0
    assert f"{uid} is a duplicate of {survivor} of the earlier release ../r" in capsys.readouterr().out
