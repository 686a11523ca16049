"""Every dedup in whole runs: edges with similarities, pairs side by side, more parts later. On Ray: tests/test_ray.py."""

import io
import tarfile
from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import curate
from curate.cli import main
from curate.dedup.exact import ExactDedup
from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash
from curate.dedup.semantic import SemanticDedup
from curate.dedup.text import TextDedup
from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.shard.members import bulky
from curate.sources.webdataset import WebDataset
from curate.stage import Stage
from tests.dedup.test_near import EDITS, picture

STEPS = ("exact_dedup", "near_dedup", "semantic_dedup", "text_dedup")


@dataclass
class Colours(Stage):
    """Mean colours of four quarters less their mean: an embedding without a model."""

    reads = ("image",)

    def adds(self):
        return {"colours": pa.list_(pa.float32())}

    def run(self, live, pixels):
        found = [cv2.resize(p, (2, 2), interpolation=cv2.INTER_AREA).astype(np.float32).ravel() for p in pixels]
        return pa.table({"colours": pa.array([(f - f.mean()).tolist() for f in found], pa.list_(pa.float32()))})


def tar(path, samples):
    with tarfile.open(path, "w") as out:
        for n, (image, text) in enumerate(samples):
            data = io.BytesIO()
            Image.fromarray(image).save(data, "PNG")
            for suffix, member in (("png", data.getvalue()), ("txt", text.encode())):
                info = tarfile.TarInfo(f"{path.stem}{n:03d}.{suffix}")
                info.size = len(member)
                out.addfile(info, io.BytesIO(member))
    return str(path)


def two_tars(folder):
    """Two tars of 12 pictures; the second has copies, edits and captions of the first, and one that only an embedding finds."""
    side, thing = (90, 120), ("barn", "lake", "owl", "tram", "kite", "fern", "mill", "drum", "lamp", "moth", "pier", "rose")
    a = [(picture(s, side), f"a {thing[s]} seen from the {thing[s - 1]} on day {s * 97}") for s in range(12)]
    turned = np.concatenate([half[::-1] for half in np.split(a[5][0], 2)])
    b = [
        (a[1][0], "the same bytes"),
        (EDITS["jpeg"](a[2][0]), "an edit of it"),
        (EDITS["mirror"](a[3][0]), "seen in a mirror"),
        (turned, "each half upside down"),
        (picture(40, side), a[7][1].upper() + "!"),
    ]
    b += [(picture(s, side), f"{s * 31} {thing[s - 50]} {thing[s - 45]} without {thing[s - 48]}") for s in range(50, 57)]
    return [tar(folder / "a.tar", a), tar(folder / "b.tar", b)]


def recipe(paths):
    return Recipe(
        WebDataset(paths),
        [Fetch(), PerceptualHash(), Colours()],
        [ExactDedup(), NearDedup(), SemanticDedup("colours", eps=0.01, clusters=2), TextDedup()],
        shards=Shards(size=10),
        name="dedup",
    )


@pytest.fixture(scope="module")
def tars(tmp_path_factory):
    return two_tars(tmp_path_factory.mktemp("tars"))


@pytest.fixture(scope="module")
def whole(tars, tmp_path_factory):
    return curate.run(recipe(tars), str(tmp_path_factory.mktemp("whole")), engine="local", part_size=6)


def fates(run):
    return dict(run.sql("select source_key, drop_reason from images").fetchall())


def test_every_row_that_fell_names_a_survivor_that_stayed_and_how_alike_they_are(whole):
    rows = whole.sql("""select e.step, d.source_key, s.source_key, e.similarity, d.drop_reason, s.kept
                        from edges e join images d on d.uid = e.uid join images s on s.uid = e.survivor""").fetchall()
    assert {r[0] for r in rows} == set(STEPS)
    assert len(rows) == whole.sql("select count(*) from images where not kept").fetchall()[0][0]
    assert all(reason == step and kept and 0.79 < alike <= 1 for step, _, _, alike, reason, kept in rows)
    assert {(step, *sorted((one, other))) for step, one, other, *_ in rows} == {
        ("exact_dedup", "a001", "b000"),
        ("near_dedup", "a002", "b001"),
        ("near_dedup", "a003", "b002"),
        ("semantic_dedup", "a005", "b003"),
        ("text_dedup", "a007", "b004"),
    }


@pytest.mark.parametrize("step", STEPS)
def test_show_puts_them_side_by_side(whole, step, tmp_path):
    assert main(["show", whole.store.path(""), "--reason", step, "-o", str(tmp_path / "x.html")]) == 0
    page = (tmp_path / "x.html").read_text()
    assert "kept copy" in page and page.count("data:image/jpeg;base64,") >= 2


def test_parts_that_come_later_are_hashed_alone_and_judged_together(tars, whole, tmp_path, monkeypatch):
    first = curate.run(recipe(tars[:1]), str(tmp_path), engine="local", part_size=6)
    assert set(fates(first).values()) == {None}
    hashed, run = [], PerceptualHash.run
    monkeypatch.setattr(PerceptualHash, "run", lambda self, live, pixels: hashed.append(len(live)) or run(self, live, pixels))
    both = curate.run(recipe(tars), str(tmp_path), engine="local", part_size=6)
    assert sum(hashed) == 12
    assert fates(both) == fates(whole) and both.dataset["root_hash"] == whole.dataset["root_hash"]


def test_what_duplicates_are_found_by_stays_out_of_the_samples():
    """Hashes of views and thumbnails are in the ledger; 2 kB of them in every sample would help nobody."""
    kinds = PerceptualHash().adds()
    assert {name for name, kind in kinds.items() if bulky(kind)} == {"phash_views", "thumbnail"}
