"""Pictures of two rows in one prompt: which rows are paired, what the model is shown, what goes into the shards."""

import io
import json
import tarfile

import pyarrow.parquet as pq
import pytest
from small_run import photo
from synth.test_document_captions import Reader
from synth.writers import Parrot

import curate
from curate.errors import RecipeError
from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.removed import Removed
from curate.sources.webdataset import WebDataset
from curate.synth.pairs import CaptionPair, PairedRow
from curate.upkeep.check import check
from curate.upkeep.takedown import takedown

#: Of each sample the one that it names.
OTHER = {0: 5, 1: 0, 2: 2, 3: 77, 4: None, 5: 0, 6: 1}


def pool(folder):
    with tarfile.open(folder / "pool.tar", "w") as tar:
        for i, other in OTHER.items():
            named = json.dumps({"number": f"n{i}", "other": None if other is None else f"n{other}"}).encode()
            for suffix, data in (("png", photo(i, "PNG")), ("txt", f"text {i}".encode()), ("json", named)):
                member = tarfile.TarInfo(f"{i:05d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return str(folder)


def test_a_row_s_picture_is_shown_beside_that_of_the_row_it_names(tmp_path):
    """Whatever the parts, neither itself nor one that is not there."""
    made = Recipe(
        WebDataset(pool(tmp_path)),
        score=[Fetch()],
        select=[PairedRow(of="source_other", by="source_number", name="pair")],
        synth=[CaptionPair(Reader(), prompt="to {it}", of={"it": "pair_text"}, pair="pair", name="both")],
        shards=Shards(size=4),
        name="pairs",
    )
    runs = [curate.run(made, str(tmp_path / f"{size}"), "local", part_size=size) for size in (2, 50)]
    assert runs[0].dataset["root_hash"] == runs[1].dataset["root_hash"]
    asked = "select source_number, pair_text, caption_both, caption_both_made.finish from images order by all"
    rows = {number: rest for number, *rest in runs[0].sql(asked).fetchall()}
    mean = {i: round((i * 37 % 256 + i * 11 % 256 + i % 256) / 3) for i in OTHER}
    for i, other in OTHER.items():
        if other in OTHER and other != i:
            assert rows[f"n{i}"] == [f"text {other}", f"<{mean[i]}> <{mean[other]}> to text {other}", "stop"]
        else:
            assert rows[f"n{i}"] == [None, None, "bad_image"]
    with tarfile.open(runs[0].store.path("shards/00000.tar")) as tar:
        sample = json.load(tar.extractfile(next(m for m in tar.getnames() if m.endswith(".json"))))
    assert "pair_uid" in sample and "pair_picture" not in sample


def test_a_model_that_is_shown_one_picture_is_refused():
    with pytest.raises(RecipeError, match="a pair is two"):
        CaptionPair(Parrot())


def test_a_takedown_removes_rows_that_hold_text_of_another(tmp_path):
    """Rows 0 and 5 name each other, 1 and 6 follow; 2, 3 and 4 stay."""
    made = Recipe(
        WebDataset(pool(tmp_path)),
        score=[Fetch()],
        select=[PairedRow(of="source_other", by="source_number", name="pair")],
        shards=Shards(size=4),
        name="pairs",
    )
    run = curate.run(made, str(tmp_path / "out"), "local", part_size=2)
    ((uid,),) = run.sql("select uid from images where source_number = 'n5'").fetchall()
    result = takedown(run.store, Removed(uids={uid}), lambda: None)
    assert result.rows["images"] == 4 and not result.missing
    left = curate.open(str(tmp_path / "out")).sql("select source_number from images where kept order by all").fetchall()
    assert left == [("n2",), ("n3",), ("n4",)]
    assert not check(run.store)
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file() and file.suffix == ".parquet":
            assert "text 5" not in str(pq.read_table(file).to_pylist()), file
