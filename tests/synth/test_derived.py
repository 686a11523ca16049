"""Slices of pictures of high resolution, and augmentations: their plans, and what `curate export` makes of them."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curate.errors import RecipeError
from curate.shard.export import export
from curate.shard.formats.derived import cut, view
from curate.shard.write import Shards
from curate.store.atomic import Store
from curate.synth.augment import AugmentImage, AugmentText
from curate.synth.slices import Slices, hd, uhd
from tests.small_run import payload_rows, planned, write_shards


@pytest.mark.parametrize(
    "width, height, grid",
    [(336, 336, (1, 1)), (672, 672, (2, 2)), (1008, 672, (3, 2)), (672, 1008, (2, 3)), (3000, 400, (6, 1)), (200, 100, (1, 1))],
)
def test_a_grid_of_llava_uhd_has_the_encoder_s_shape(width, height, grid):
    assert uhd(width, height, 336, 6) == (*grid, 1.0)


@pytest.mark.parametrize("width, height, grid", [(1600, 900, (4, 3)), (900, 1600, (2, 4)), (336, 3360, (1, 9))])
def test_a_grid_of_4khd_holds_the_scaled_picture(width, height, grid):
    columns, rows, bottom = hd(width, height, 336, 12 if height < 2000 else 9)
    assert (columns, rows) == grid and bottom >= 1 and columns * rows <= 12


def test_slices_are_in_reading_order_and_cover_the_picture():
    live = pa.table({"width": [672, 300, None], "height": [1008, 200, 5]})
    first, small, unknown = Slices().run(live)["slices"].to_pylist()
    assert [(s["row"], s["column"]) for s in first] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert sum((s["x1"] - s["x0"]) * (s["y1"] - s["y0"]) for s in first) == pytest.approx(1)
    assert small == [] and unknown is None
    with pytest.raises(RecipeError, match="mode is one of uhd, 4khd"):
        Slices("grid")


def test_variants_of_a_text_are_others_and_hang_on_uid_and_seed():
    live = pa.table({"uid": ["a", "b", "c"], "text": ["a brown dog on a red sofa", "dog", None]})
    stage = AugmentText(n=6)
    found = stage.run(live)
    texts, kinds = (found[c].to_pylist() for c in stage.adds())
    assert 2 <= len(texts[0]) <= 6 and live["text"][0].as_py() not in texts[0] and texts[1:] == [[], []]
    for made, kind in zip(texts[0], kinds[0]):
        same = sorted(made.split()) == sorted("a brown dog on a red sofa".split())
        assert kind == ("swap" if same else "delete")
    assert stage.run(live.slice(0, 1)).to_pylist() == found.slice(0, 1).to_pylist()
    assert AugmentText(n=6, seed=1).run(live).to_pylist() != found.to_pylist()
    with pytest.raises(RecipeError, match="need the folder of WordNet"):
        AugmentText(kinds=("synonym",))
    with pytest.raises(RecipeError, match="wordnet-base"):
        AugmentText(kinds=("synonym",), wordnet="/nowhere").weights()


def test_a_synonym_is_of_the_noun_s_first_sense(tmp_path):
    (tmp_path / "data.noun").write_text("00000000 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 1 n 0000 | a dog\n")
    (tmp_path / "index.noun").write_text("dog n 1 1 @ 1 1 00000000\n")
    (tmp_path / "noun.exc").write_text("")
    stage = AugmentText(kinds=("synonym", "insert"), n=8, wordnet=str(tmp_path))
    stage.load()
    found = dict(stage.variants("two small dogs", "a"))
    assert {t for t, kind in found.items() if kind == "synonym"} <= {"two small domestic dog", "two small Canis familiaris"}
    assert all("dogs" in t and len(t) > 14 for t, kind in found.items() if kind == "insert") and len(found) > 2


def test_views_are_crops_within_the_picture():
    live = pa.table({"uid": [f"u{i}" for i in range(50)], "width": [10] * 50, "height": [10] * 50})
    views = [v for row in AugmentImage(n=4).run(live)["augment_image"].to_pylist() for v in row]
    for v in views:
        assert 0 <= v["x0"] < v["x1"] <= 1.0001 and 0 <= v["y0"] < v["y1"] <= 1.0001
        assert 0.4 < (v["x1"] - v["x0"]) * (v["y1"] - v["y0"]) <= 1.01 and 0.6 <= v["contrast"] <= 1.4
    assert 60 < sum(v["mirrored"] for v in views) < 140 and 20 < sum(v["grey"] for v in views) < 65
    plain = AugmentImage(n=1, crop=1.0, mirror=0.0, jitter=0.0, grey=0.0, blur=0.0).run(live)["augment_image"][0].as_py()[0]
    pixels = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    wide = view(pixels, plain | {"x0": 0.0, "x1": 1.0, "y0": 0.0, "y1": 1.0})
    assert np.array_equal(wide, pixels)
    turned = view(pixels, plain | {"x0": 0.0, "x1": 1.0, "y0": 0.0, "y1": 1.0, "mirrored": True})
    assert np.array_equal(turned, pixels[:, ::-1])


def test_below_the_picture_a_slice_is_white():
    pixels = np.zeros((10, 20, 3), np.uint8)
    made = cut(pixels, {"x0": 0.5, "x1": 1.0, "y0": 0.5, "y1": 1.5})
    assert made.shape == (10, 10, 3) and not made[:5].any() and (made[5:] == 255).all()


@pytest.mark.parametrize("form, member, stage", [("slices", "slice", Slices(side=8)), ("views", "view", AugmentImage())])
def test_slices_and_views_are_members_beside_the_picture(form, member, stage, tmp_path):
    import webdataset

    store = Store(tmp_path / "run")
    rows = payload_rows(store, 8).drop_columns(["vector", "copies"])
    sizes = [16 + n % 7 for n in rows["source_row"].to_pylist()]
    rows = rows.append_column("width", pa.array(sizes)).append_column("height", pa.array([16] * len(rows)))
    made = stage.run(rows)
    for name in made.column_names:
        rows = rows.append_column(name, made[name])
    dataset = write_shards(store, planned(rows, Shards(size=8)))
    assert export(store, dataset, form, str(tmp_path / "out")) == 7
    for sample in webdataset.WebDataset(str(tmp_path / "out" / "00000.tar"), shardshuffle=False):
        plans = rows.filter(pa.compute.equal(rows["uid"], sample["__key__"]))[stage.name][0].as_py()
        found = [k for k in sample if k.startswith(member)]
        assert len(found) == len(plans) > 1
        whole = Image.open(io.BytesIO(next(sample[k] for k in ("jpg", "png", "webp") if k in sample)))
        for k, plan in enumerate(plans):
            image = Image.open(io.BytesIO(sample[f"{member}{k}.jpg"]))
            assert image.width == round(plan["x1"] * whole.width) - round(plan["x0"] * whole.width)
