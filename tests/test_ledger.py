"""The plan of the shards: what a row becomes is in the ledger, and how many files the plan is sorted in moves nothing."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from toys import recipe as pairs

from curate import ledger
from curate.driver import run
from curate.recipe import Recipe
from curate.selector import Selection, Selector
from curate.shards import Shards
from curate.store import Store
from curate.tables import database
from curate.upkeep.check import check


@dataclass
class Thrice(Selector):
    """Every third sample comes three times."""

    table: str = field(default="images", kw_only=True)

    def adds(self):
        return {"copies": pa.int32()}

    def select(self, live):
        ids = live.sql("select id from live order by id").to_arrow_table()["id"].to_numpy()
        return Selection(ids[:0], columns=pa.table({"id": ids[::3], "copies": np.full(len(ids[::3]), 3, np.int32)}))


def test_the_number_of_files_of_a_plan_moves_nothing(inputs, tmp_path, monkeypatch):
    made, outcome = pairs([inputs / "*.txt"]), []
    recipe = Recipe(made.source, made.score, [*made.select, Thrice()], shards=Shards(size=100), name="thrice")
    for piece in (1 << 30, 3_000):
        monkeypatch.setattr(ledger, "PIECE", piece)
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


def test_a_piece_in_which_no_row_is_has_a_file_all_the_same(tmp_path):
    """Pages without pictures may fill the shards of a piece."""
    store, files = Store(tmp_path / "run"), [f"planned/p-{n:05d}.parquet" for n in range(3)]
    query = "select * from (values (0, 1, 0, 'b'), (2, 0, 0, 'c'), (0, 0, 0, 'a')) rows(shard, place, position, key)"
    with database(store) as (con, folder):
        ledger._write_pieces(store, con, folder, files, query, 3, False)
    assert [store.table(file)["key"].to_pylist() for file in files] == [["a", "b"], [], ["c"]]
    assert len({tuple((f.name, f.type) for f in store.table(file).schema) for file in files}) == 1
    assert ledger.planned(store, files[1], 1, own=False).num_rows == 0


SEEDED = """
import sys
from dataclasses import dataclass
import numpy as np, pyarrow as pa
from toys import recipe as pairs
from curate.driver import run
from curate.recipe import Recipe
from curate.selector import Selection, Selector
from curate.shards import Shards

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
