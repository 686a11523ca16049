"""The plan of the shards: what a row becomes is in the ledger, and how many files the plan is sorted in moves nothing."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import recipe as pairs

from curate.recipe import Recipe, Shards
from curate.removed import Removed
from curate.runner.driver import run, write_pages
from curate.select.exchange import Exchange, Frame, Held
from curate.select.partition import ByShare
from curate.selector import Selection, Selector
from curate.shard import plan as layout
from curate.store.atomic import Store
from curate.upkeep import gc
from curate.upkeep.check import check
from curate.upkeep.takedown import takedown
from curate.view.run import open_run


@dataclass
class Thrice(Selector):
    """Every third sample comes three times."""

    table: str = field(default="images", kw_only=True)

    def adds(self):
        return {"copies": pa.int32()}

    def select(self, live):
        ids = live.table().sort_by("id")["id"].to_numpy()
        return Selection(ids[:0], columns=pa.table({"id": ids[::3], "copies": np.full(len(ids[::3]), 3, np.int32)}))


def test_the_number_of_files_of_a_plan_moves_nothing(inputs, tmp_path, monkeypatch):
    made, outcome = pairs([inputs / "*.txt"]), []
    recipe = Recipe(made.source, made.score, [*made.select, Thrice()], shards=Shards(size=100), name="thrice")
    for piece in (1 << 30, 3_000):
        monkeypatch.setattr(layout, "FILE_BYTES", piece)
        out = tmp_path / str(piece)
        made = run(recipe, str(out), engine="local", part_size=250)
        assert not check(Store(out))
        outcome.append({k: made.dataset[k] for k in ("root_hash", "samples", "bytes")})
        files = made.dataset["planned"]["images"]
        assert (len(files) > 2) == (piece == 3_000) and files == sorted(files)
        shards = [pq.read_table(out / file)["shard"].to_pylist() for file in files]
        assert all(s and s == sorted(s) for s in shards) and all(a[-1] < b[0] for a, b in pairwise(shards))
        rows = made.sql("select copies, uid, key, shard, place from images where kept").to_df()
        assert made.dataset["samples"] == rows.copies.fillna(1).sum() > len(rows)
        for name, held in made.sql("select key, uid from shards").to_df().groupby("uid"):
            assert sorted(held.key) == [name] if len(held) == 1 else [name, f"{name}-2", f"{name}-3"]
    assert outcome[0] == outcome[1]


def test_the_ledger_tells_the_place_of_a_sample(inputs, tmp_path):
    made = run(pairs([inputs / "*.txt"]), str(tmp_path / "run"), engine="local", part_size=250)
    rows = made.sql("select key, shard, place from images where kept").to_df()
    for shard, held in rows.groupby("shard"):
        keys = pq.read_table(tmp_path / "run" / f"shards/{shard:05d}.parquet")["key"].to_pylist()
        assert [keys[place] for place in held.place] == list(held.key) and sorted(held.place) == list(range(len(keys)))


def test_a_range_in_which_no_row_is_has_a_file_all_the_same(tmp_path):
    """Pages without pictures may fill the shards of a range. Rows come in any order."""
    store, columns = Store(tmp_path / "run"), pa.schema([("position", pa.int32()), ("name", pa.large_string())])
    schema = pa.schema([*layout._PLACED, *columns, ("share", pa.float64())])
    rows = [(0, 1, 0, "b"), (2, 0, 0, "d"), (0, 0, 1, "a"), (2, 0, 1, "e")]
    table = pa.Table.from_pylist(
        [{"shard": s, "place": p, "position": n, "name": v, "share": (s + 0.5) / 3} for s, p, n, v in rows], schema
    )
    parted = Frame(Exchange(store), [Held(4, table=table)]).ranges(ByShare("share"), 3)
    files = [f"work/planned/p-{n}.parquet" for n in range(3)]
    for item in zip(parted, files):
        layout._WriteRange(store, False)(item)
    made = [layout.planned(store, file, n, own=False) for n, file in enumerate(files)]
    assert [m["name"].to_pylist() for m in made] == [["a", "b"], [], ["d", "e"]] and len(
        {m.schema.remove_metadata() for m in made}
    ) == 1


def test_columns_that_inputs_gave_in_several_types_are_one(tmp_path):
    """A list has a number where another has a word, half floats, or lacks a column; redacted text takes the place of the other."""
    store, half, hidden = Store(tmp_path / "run"), pa.list_(pa.float16()), {"text": "redacted_text"}
    common = {"uid": ["a", "b"], "kept": [True, True], "drop_reason": pa.nulls(2), "text": ["me@x.org", "y"]}
    first = common | {"rank": [1, 2], "size": pa.array([1, 2], pa.int32()), "redacted_text": ["<e-mail>", None]}
    first["vector"] = pa.array([np.ones(2, np.float16)] * 2, half)
    second = common | {"uid": ["c", "d"], "kept": [True, False], "rank": [[1], None], "size": [2.5, 3.5], "only": ["z", "z"]}
    files = ["ledger/images/000000.parquet", "ledger/images/000001.parquet"]
    for file, rows in zip(files, (first, second)):
        store.publish_table(file, pa.table(rows))
    columns = layout.columns_of(layout.footers(store, files).schemas, True, False, hidden)
    assert columns.names == ["uid", "text", "rank", "size", "only"]
    columns = layout.columns_of(layout.footers(store, files).schemas, True, True, hidden)
    assert columns.field("rank").type == pa.large_string() and columns.field("size").type == pa.float64()
    places = pa.table(
        {"uid": ["b", "a", "b", "c", "d"], "key": ["b", "a", "b-2", "c", "d"], "shard": [0] * 5, "place": range(5)}
    )
    rows = [layout.placed(store, f, places, columns, True, hidden) for f in files]
    made = pa.concat_tables(rows).sort_by(layout._order(True)).to_pylist()
    assert [(m["key"], m["text"], m["rank"], m["size"], m["only"]) for m in made] == [
        ("b", "y", "2", 2.0, None),
        ("a", "<e-mail>", "1", 1.0, None),
        ("b-2", "y", "2", 2.0, None),
        ("c", "me@x.org", "[1]", 2.5, "z"),
    ]
    assert made[0]["vector"] == [1.0, 1.0] and made[3]["vector"] is None


SEEDED = """
import sys
from dataclasses import dataclass
import numpy as np, pyarrow as pa
from toys import recipe as pairs
from curate.runner.driver import run
from curate.recipe import Recipe, Shards
from curate.select.exchange import Exchange, Frame, Held
from curate.select.partition import ByShare
from curate.selector import Selection, Selector

@dataclass
class Wide(Selector):
    def adds(self):
        return {f"wide_{c}": pa.int32() for c in "zebra"}

    def select(self, live):
        ids = live.table("id")["id"]
        return Selection([], columns=pa.table({"id": ids, **{n: np.arange(len(ids), dtype=np.int32) for n in self.adds()}}))

made = pairs([sys.argv[1]])
made = Recipe(made.source, made.score, [*made.select, Wide()], shards=Shards(size=100), name="wide")
print(run(made, sys.argv[2], engine="local", part_size=250).dataset["root_hash"])
"""


def test_the_order_of_sets_moves_nothing(inputs, tmp_path):
    """Python draws a new order of sets for each process, so that columns must not come in one."""
    told = [
        subprocess.run(
            [sys.executable, "-c", SEEDED, str(inputs / "*.txt"), str(tmp_path / seed)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()[-1]
        for seed in ("1", "2", "3")
    ]
    assert len(set(told)) == 1 and len(told[0]) == 64


def made_again(folder, where: str, collect: bool = False, size: int = 10) -> list[dict]:
    """The data set after a takedown of some kept rows, and after a run that writes everything once more."""
    (folder / "a.txt").write_text("40")
    recipe, out = pairs([folder / "a.txt"], words=None, score=None, half=0.0, fails="ok", size=size), str(folder / "run")
    made = run(recipe, out, engine="local", part_size=20)
    if collect:
        gc.collect(Store(out))
    uids = made.sql(f"select uid from images where kept and {where}").fetchall()
    takedown(Store(out), Removed(uids={u for (u,) in uids}), lambda: write_pages(open_run(out)))
    taken = open_run(out).dataset
    return [taken, run(recipe, out, engine="local", part_size=20, refetch=True).dataset, check(Store(out))]


def test_after_gc_and_a_takedown_every_sample_has_its_place(tmp_path):
    """38 samples make one shard more than 37: the places given before are not those that would be given now."""
    taken, again, faults = made_again(tmp_path, "uid in (select uid from images where kept order by uid limit 2)", True, 38)
    assert taken["samples"] == again["samples"] == 37 and taken["root_hash"] == again["root_hash"] and not faults


def test_a_last_shard_that_a_takedown_emptied_stays(tmp_path):
    taken, again, faults = made_again(tmp_path, "shard = 3")
    assert (
        [s["samples"] for s in again["shards"]] == [10, 10, 10, 0] and taken["root_hash"] == again["root_hash"] and not faults
    )


def test_a_plan_in_fewer_files_than_before_a_takedown_has_all_shards(tmp_path, monkeypatch):
    sizes, measured = [], layout.Footers.size

    def first(*given):  # the ledger as it is before the takedown is larger than a piece by one byte
        sizes.append(measured(*given))
        monkeypatch.setattr(layout, "FILE_BYTES", sizes[0] - 1)
        return sizes[-1]

    monkeypatch.setattr(layout.Footers, "size", first)
    taken, again, faults = made_again(tmp_path, "shard = 0")
    assert len(taken["planned"]["images"]) == 2 and len(again["planned"]["images"]) == 1
    assert taken["root_hash"] == again["root_hash"] and not faults


@pytest.mark.parametrize("part", [7, 1_000_000])
def test_a_takedown_knows_the_rows_of_any_part(tmp_path, part):
    from curate.score.part import SHIFT
    from curate.upkeep.takedown import _clear_ledger

    store, name = Store(tmp_path), f"ledger/images/{part:06d}.parquet"
    rows = {"uid": ["a" * 32, "b" * 32], "drop_reason": [None] * 2, "drop_stage": [None] * 2, "kept": [True] * 2}
    text = pa.large_string()
    kinds = pa.schema([("uid", text), ("drop_reason", text), ("drop_stage", text), ("kept", pa.bool_())])
    store.publish_table(name, pa.table(rows, kinds))
    assert _clear_ledger(store, [name], Removed(uids={"b" * 32}), {}) == {(part << SHIFT) + 1}
