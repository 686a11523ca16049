"""Takedown: what is named leaves every file of a run, and never comes in again."""

import contextlib
import hashlib
import io
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import independent_checker
import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest
from artefacts import holding
from documents.page_web import picture, serving
from toys import recipe as toy

from curate.cli import main
from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash, thumbnail
from curate.errors import PoolError, RecipeError
from curate.fetch.isolate import Isolated
from curate.fetch.pixels import decode
from curate.fetch.reencode import Resize
from curate.fetch.shared import once
from curate.fetch.stage import Fetch
from curate.filters.caption_words import CaptionWords
from curate.recipe import Recipe, Shards
from curate.removed import Removed, read_requests, url_digest
from curate.runner.driver import run, write_pages
from curate.sources.url_pairs import UrlPairs
from curate.stage import Stage
from curate.store.atomic import Store
from curate.upkeep.adopt import adopt
from curate.upkeep.check import check
from curate.upkeep.takedown import takedown
from curate.view.run import open_run
from curate.view.samples import small

SETTINGS = {"allow_private": ("127.0.0.0/8",), "robots": False, "timeout": 5, "wait": 5, "retries": 0}
FILES = {f"/{i}.jpg": picture(i, 96) for i in range(16)}
FILES |= {
    "/copy-of-3.jpg": FILES["/3.jpg"],
    "/other-3.jpg": Resize("no", quality=80)(FILES["/3.jpg"])[0],
    "/later.jpg": FILES["/3.jpg"],
}
PATHS = [*(p for p in FILES if p != "/later.jpg"), "/3.jpg"]  # one URL twice, with two captions


@dataclass
class Vector(Stage):
    """Stands for an embedding: 8 numbers of the file."""

    reads = ("bytes",)

    def adds(self):
        return {"vector": pa.list_(pa.float32())}

    def run(self, live, files):
        return pa.table({"vector": pa.array([vector(f) for f in files], pa.list_(pa.float32()))})


def vector(data: bytes) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(data).digest()[:8], np.uint8).astype(np.float32) / 255


def caption(n: int) -> str:
    return f"caption number {n} of a picture"


def pairs(file: Path, address: str, paths: list[str]) -> None:
    rows = {
        "url": [address + p for p in paths],
        "text": [caption(n) for n in range(len(paths))],
        "licence": [f"licence of {n}" for n in range(len(paths))],
    }
    pq.write_table(pa.table(rows), file)


def recipe(folder: Path, words: int = 3, size: int = 5) -> Recipe:
    return Recipe(
        UrlPairs(f"{folder}/in/*.parquet"),
        [CaptionWords(min=words), *once(Fetch(**SETTINGS)), PerceptualHash(), Vector()],
        [NearDedup()],
        shards=Shards(size=size, embeddings=True),
        name="takedown",
    )


def start(folder: Path, out: Path, **options):
    made = recipe(folder, **{k: options.pop(k) for k in ("words", "size") if k in options})
    return run(made, str(out), engine="local", part_size=12, **options)


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A finished run over a small web, with pages that show its pictures."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "in").mkdir()
    with serving(FILES) as (address, hits):
        pairs(folder / "in/a.parquet", address, PATHS)
        start(folder, folder / "run")
        assert main(["show", f"{folder}/run", "-n", "40"]) == 0
        # of 3.jpg with each of its captions, and of another
        uids = (
            open_run(f"{folder}/run")
            .sql(f"select uid from images where url = '{address}/3.jpg' or url = '{address}/5.jpg' order by url")
            .fetchall()
        )
        (folder / "verdicts.csv").write_text(
            "uid,verdict,comment\n"
            + "".join(f"{u},bad,{'caption number 3 of all' if i < 2 else 'fine'}\n" for i, (u,) in enumerate(uids))
        )
        assert main(["annotate", f"{folder}/run", "--verdicts", f"{folder}/verdicts.csv"]) == 0
        assert main(["why", f"{folder}/run", f"{address}/3.jpg"]) == 0
        yield folder, address, hits


def traces(address: str) -> list[bytes]:
    """What must be nowhere: bytes of the three pictures, their thumbnails and vectors, their captions, URLs, and other columns."""
    found = []
    with Isolated() as child:
        for path in ("/3.jpg", "/7.jpg", "/11.jpg", "/other-3.jpg"):
            data = FILES[path]
            found += [data[at : at + 48] for at in range(800, len(data) - 48, 400)]
            found += [thumbnail(decode(data)), vector(data).tobytes(), *(small(child, data, side) for side in (200, 320))]
            found.append(f"{address}{path}".encode())
    numbers = [n for n, p in enumerate(PATHS) if p in ("/3.jpg", "/7.jpg", "/11.jpg", "/other-3.jpg", "/copy-of-3.jpg")]
    return [*found, *(w.encode() for n in numbers for w in (f"caption number {n} of", f"licence of {n}l"))]


@pytest.fixture(scope="module")
def first(web, tmp_path_factory):
    """A copy of the run from which three pictures were taken down: by URL, by uid, by the hash of the bytes."""
    folder, address, hits = web
    tmp_path = tmp_path_factory.mktemp("first")
    out = tmp_path / "run"
    shutil.copytree(folder / "run", out)
    assert len(holding(out, *traces(address))) > 20  # they are found where they are
    before = open_run(str(out))
    (uid,) = before.sql(f"select uid from images where url = '{address}/7.jpg'").fetchall()[0]
    (tmp_path / "removed.csv").write_text(
        f"url,uid,sha256\n{address.upper().replace('HTTP', 'https')}/3.jpg#top,,\n,{uid},\n,,{hashlib.sha256(FILES['/11.jpg']).hexdigest()}\n"
    )
    dataset = before.dataset
    hits.clear()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["takedown", str(out), "--list", str(tmp_path / "removed.csv")]) == 0
    return out, dataset, said.getvalue()


@pytest.fixture
def taken(first, web, tmp_path):
    """The same for a test that changes it."""
    web[2].clear()
    return shutil.copytree(first[0], tmp_path / "run"), *first[1:]


def clean(out: Path, web) -> None:
    """Nothing is left, nothing was asked for again, and the run is in order."""
    _, address, hits = web
    assert holding(out, *traces(address)) == []
    assert not {"/3.jpg", "/7.jpg", "/11.jpg", "/copy-of-3.jpg", "/other-3.jpg"} & set(hits)
    assert check(Store(out)) == [] and independent_checker.main(str(out)) == 0


def test_no_byte_of_it_is_left_anywhere(first, web):
    out, dataset, said = first
    clean(out, web)
    made = open_run(str(out))
    gone = made.sql(
        "select count(*), count(url), count(text), count(sha256), count(vector), count(source_licence), count(drop_stage), bool_or(kept), count(distinct uid) "
        "from images where drop_reason = 'removed'"
    ).fetchall()[0]
    # 3.jpg with two captions, its copy, the re-encoded one that the run took for the same, 7.jpg, 11.jpg
    assert gone == (6, 0, 0, 0, 0, 0, 6, False, 6) and "6 images" in said
    assert made.dataset["root_hash"] != dataset["root_hash"] and made.dataset["samples"] == dataset["samples"] - 3
    assert made.dataset["root_hash"] in said and dataset["root_hash"] in said
    assert not (out / "show.html").exists() and (out / "report.html").exists()


def test_only_the_shards_that_held_it_are_written_again_and_the_rest_of_them_stays_in_place(first, web):
    out, dataset, _ = first
    held = {
        s
        for (s,) in open_run(str(web[0] / "run"))
        .sql("""select distinct shard from images where kept and
        (url like '%/3.jpg' or url like '%/copy-of-3.jpg' or url like '%/other-3.jpg' or url like '%/7.jpg' or url like '%/11.jpg')""")
        .fetchall()
    }
    before, after = ({s["name"]: s for s in d["shards"]} for d in (dataset, open_run(str(out)).dataset))
    assert (
        before.keys() == after.keys() and {int(n) for n in before if before[n] != after[n]} == held and len(held) < len(before)
    )
    for name in before:
        keys = [pq.read_table(r / f"shards/{name}.parquet")["key"].to_pylist() for r in (web[0] / "run", out)]
        assert [k for k in keys[0] if k in keys[1]] == keys[1] and len(keys[1]) == after[name]["samples"]


def test_a_record_without_the_content_stays(first):
    out, dataset, _ = first
    (note,) = [json.loads(p.read_text()) for p in (out / "removed").glob("*.json")]
    assert (
        note["rows"] == {"images": 6}
        and note["root_hash"]["before"] == dataset["root_hash"]
        and abs(note["at"] - time.time()) < 600
    )
    (file,) = (out / "removed").glob("*.parquet")
    rows = pq.read_table(file).to_pylist()
    assert {r["kind"] for r in rows} == {"url", "uid", "sha256"} and {len(r["value"]) for r in rows} == {32, 64}


def test_a_second_time_there_is_nothing_to_do(first, capsys):
    out, _, _ = first
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and "lease" not in p.parts}
    assert main(["takedown", str(out), "--list", str(out.parent / "removed.csv")]) == 0
    assert "no row" in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and "lease" not in p.parts}


def test_a_dry_run_changes_nothing(web, tmp_path, capsys):
    folder, address, _ = web
    (tmp_path / "list.txt").write_text(f"# a rights request\n{address}/3.jpg\n")
    before = {p: p.stat().st_mtime_ns for p in (folder / "run").rglob("*") if p.is_file() and "lease" not in p.parts}
    assert main(["takedown", f"{folder}/run", "--list", str(tmp_path / "list.txt"), "--dry-run"]) == 0
    assert "would remove the content of 4 images" in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "run").rglob("*") if p.is_file() and "lease" not in p.parts}


def test_the_same_run_again_has_nothing_to_do_and_repairs_to_the_same_bytes(taken, web):
    out, _, _ = taken
    root = open_run(str(out)).dataset["root_hash"]
    assert start(web[0], out).counters == {}
    (out / "shards/00001.tar").write_bytes(b"damaged")
    (out / "shards/00000.json").unlink()
    assert start(web[0], out, repair=True).dataset["root_hash"] == root
    clean(out, web)
    for folder in ("work/gathered", "work/planned"):
        shutil.rmtree(out / folder)
    assert main(["gc", str(out)]) == 0
    (out / "shards/00001.parquet").write_bytes(b"damaged")
    assert start(web[0], out, repair=True).dataset["root_hash"] == root
    clean(out, web)


def test_no_later_run_brings_it_back(taken, web, tmp_path):
    out, _, _ = taken
    folder = web[0]
    assert start(folder, out, words=2).dataset["samples"]
    clean(out, web)
    start(folder, out, refetch=True)
    clean(out, web)
    (next((out / "ledger/images").iterdir())).write_bytes(b"damaged")
    (next(out.glob("work/parts/*/images.vector*"))).write_bytes(b"damaged")
    start(folder, out, repair=True)
    clean(out, web)


def test_bytes_that_come_again_under_a_new_url_are_let_go(taken, web, tmp_path):
    out, _, _ = taken
    (tmp_path / "in").mkdir()
    pairs(tmp_path / "in/b.parquet", web[1], ["/3.jpg", "/later.jpg", "/9.jpg"])
    adopt(Store(tmp_path / "new"), Store(out))  # for its list: the input is another one
    made = start(tmp_path, tmp_path / "new")
    rows = made.sql("select drop_reason, url, sha256, final_url, payload from images order by source_row").fetchall()
    assert rows[:2] == [("removed", None, None, None, None), ("fetch:removed", f"{web[1]}/later.jpg", None, None, None)]
    assert rows[2][0] is None and "/later.jpg" in web[2]
    clean(tmp_path / "new", web)


def test_a_list_may_be_there_before_anything_is_fetched(web, tmp_path, capsys):
    _, address, hits = web
    (tmp_path / "list.txt").write_text(f"{address}/9.jpg\n{hashlib.sha256(FILES['/3.jpg']).hexdigest()}\n")
    (tmp_path / "in").mkdir()
    pairs(tmp_path / "in/b.parquet", address, ["/3.jpg", "/9.jpg", "/8.jpg"])
    hits.clear()
    mistyped = ["takedown", str(tmp_path / "run"), "--list", str(tmp_path / "list.txt")]
    assert main([*mistyped, "--dry-run"]) == main(mistyped) == 1 and not (tmp_path / "run").exists()
    assert capsys.readouterr().err.count("not a run's folder") == 2
    (tmp_path / "run").mkdir()
    assert main(["takedown", str(tmp_path / "run"), "--list", str(tmp_path / "list.txt")]) == 0
    assert "no run is here yet" in capsys.readouterr().out
    made = start(tmp_path, tmp_path / "run")
    assert made.sql("select drop_reason from images order by source_row").fetchall() == [
        ("fetch:removed",),
        ("removed",),
        (None,),
    ]
    assert "/9.jpg" not in hits and check(made.store) == []


def test_reuse_takes_the_list_along_and_clears_what_it_takes(taken, web, tmp_path):
    out, _, _ = taken
    folder = web[0]
    second = tmp_path / "second"
    adopt(Store(second), Store(out))  # from a run with a takedown
    made = start(folder, second, words=2)
    assert made.counters["fetch"]["computed"] == 0
    clean(second, web)
    adopt(Store(out), Store(folder / "run"))  # into one, from a run that has it all
    start(folder, out, words=2)
    clean(out, web)
    assert open_run(str(folder / "run")).sql("select count(url) from images where url like '%3.jpg'").fetchall()[0] == (5,)


def wanted(path: Path) -> set[tuple[str, str]]:
    return {(e.kind, e.value) for e in read_requests(str(path))}


def test_lists_of_every_form(tmp_path):
    uid, sha = "0123456789abcdef" * 2, "0123456789abcdef" * 4
    table = pa.table({"URL": ["http://a.example/x", None], "uid": [None, uid.upper()], "other": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    pcsv.write_csv(table, tmp_path / "a.csv")
    (tmp_path / "a.txt").write_text(f"http://a.example/x\n\n{uid}\n{sha}\n")
    (tmp_path / "a.jsonl").write_text(f'{{"sha256": "{sha}"}}\n')
    for name in ("a.parquet", "a.csv"):
        assert wanted(tmp_path / name) == {("url", url_digest("https://A.example/x#y")), ("uid", uid)}
    assert len(wanted(tmp_path / "a.txt")) == 3 and wanted(tmp_path / "a.jsonl") == {("sha256", sha)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_text_file_is_read_to_its_last_line(tmp_path, encoding, end):
    uid, sha = "0123456789abcdef" * 2, "0123456789abcdef" * 4
    written = [
        "http://a.example/1",
        '"http://a.example/2"',
        "<http://a.example/3>",
        "\u00a0 [http://a.example/4] ,",
        "- http://a.example/5\t",
        "\ufeffhttp://a.example/6",
        "“http://a.example/7”;",
        "http://a.example/%38  # said the owner",
        "HTTPS://A.EXAMPLE.:443/9#top",
        "# http://a.example/10",
        "",
        f"'{uid.upper()}'",
        f" {sha}\u200b",
        "http://a.example/münchen",
    ]
    (tmp_path / "a.txt").write_bytes(end.join(written).encode(encoding))
    urls = [f"http://a.example/{n}" for n in range(1, 10)] + ["http://a.example/m%c3%bcnchen"]
    assert wanted(tmp_path / "a.txt") == {*(("url", url_digest(u)) for u in urls), ("uid", uid), ("sha256", sha)}
    assert [e.origin.split(": ")[1] for e in read_requests(str(tmp_path / "a.txt"))][-1] == "line 14"


def test_a_table_of_a_spreadsheet(tmp_path):
    rows = '\ufeff" URL ";note\r\n'.replace(";", ",") + '"<http://a.example/1>",x\r\n http://a.example/2 ,y\r\n,z\r\n'
    (tmp_path / "a.csv").write_bytes(rows.encode())
    assert wanted(tmp_path / "a.csv") == {("url", url_digest(f"http://a.example/{n}")) for n in (1, 2)}


@pytest.mark.parametrize(
    ("line", "wanted_one"),
    [
        ("01234567-89ab-CDEF-0123-456789abcdef", ("uid", "0123456789abcdef" * 2)),
        ("sha256:" + "ab" * 32, ("sha256", "ab" * 32)),
        ("SHA-256:" + "AB" * 32, ("sha256", "ab" * 32)),
        ("ab" * 32 + "  my picture.jpg", ("sha256", "ab" * 32)),  # sha256sum
        ("ab" * 32 + " *picture.jpg", ("sha256", "ab" * 32)),
        ("12. http://a.example/1", ("url", url_digest("http://a.example/1"))),
        ("3) " + "ab" * 32, ("sha256", "ab" * 32)),
    ],
)
def test_identities_as_other_tools_write_them(tmp_path, line, wanted_one):
    (tmp_path / "a.txt").write_text(line + "\n")
    assert wanted(tmp_path / "a.txt") == {wanted_one}


def test_identities_in_binary_columns(tmp_path):
    uid, sha, url = bytes(range(16)), b"\xaa" * 32, b"http://a.example/1"
    pq.write_table(pa.table({"sha256": [sha], "url": [url], "uid": pa.array([uid], pa.binary(16))}), tmp_path / "a.parquet")
    assert wanted(tmp_path / "a.parquet") == {
        ("sha256", sha.hex()),
        ("url", url_digest(url.decode())),
        ("uid", uid.hex()),
    }
    pq.write_table(pa.table({"uid": pa.array([uid], pa.uuid())}), tmp_path / "b.parquet")
    assert wanted(tmp_path / "b.parquet") == {("uid", uid.hex())}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", '{\n "url": "http://a/x"\n}\n', "a.json: cannot be read: no line or element of it is a JSON object"),
        ("a.json", '["http://a/x"]\n', "a.json: cannot be read: no line or element of it is a JSON object"),
        ("a.txt", "http://a/x\nnonsense\n", "a.txt: line 2: 'nonsense' is no URL, uid or SHA-256"),
        ("a.txt", "x\n" * 9, "line 5: 'x' is no URL, uid or SHA-256; and 4 more"),
        ("a.txt", b"http://a/x\nhttp://a/\xe9\n", "a.txt: line 2: not UTF-8"),
        ("a.txt", "http://a/x\n".encode("utf-16-le"), "a.txt: full of NUL characters"),
        ("a.csv", "uid\nabc\n", "row 0: 'abc' is no uid"),
        ("a.csv", "other\n1\n", "names nothing"),
        ("a.csv", "http://a/x\nhttp://a/y\n", "names nothing"),
        ("a.xls", "x", "must end in"),
        ("none.txt", None, "none.txt: No such file"),
    ],
)
def test_a_list_that_is_wrong_is_named_with_its_row(tmp_path, name, text, says):
    if text:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecipeError, match=says):
        read_requests(str(tmp_path / name))


def test_entries_that_match_nothing_are_listed_and_counted(web, tmp_path, capsys):
    folder, address, _ = web
    out = tmp_path / "run"
    shutil.copytree(folder / "run", out)
    (tmp_path / "list.txt").write_text(f"{address}/9.jpg\n{address}/none.jpg\n{'0' * 32}\n")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    assert main(["takedown", str(out), "--list", str(tmp_path / "list.txt"), "--dry-run"]) == 3
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    for _ in range(2):  # it is no less missing when it is asked for again; what was taken down is not missing
        capsys.readouterr()
        assert main(["takedown", str(out), "--list", str(tmp_path / "list.txt")]) == 3
        said = capsys.readouterr()
        assert [line for line in said.out.splitlines() if line.startswith("matches no row")] == [
            f"matches no row: {tmp_path}/list.txt: line 2: {address}/none.jpg",
            f"matches no row: {tmp_path}/list.txt: line 3: {'0' * 32}",
        ]
        assert "2 of 3 entries match no row" in said.err
    (tmp_path / "list.txt").write_text(f"{address}/9.jpg\n")
    assert main(["takedown", str(out), "--list", str(tmp_path / "list.txt")]) == 0


@pytest.mark.parametrize("damaged", ["ledger/images/000001.parquet", "work/parts/*/source.images.parquet"])
def test_a_takedown_that_meets_damage_is_ended_by_repair(tmp_path, damaged):
    (tmp_path / "a.txt").write_text("40")
    out, url = tmp_path / "run", "http://toy/a.txt/25"
    made = toy([tmp_path / "a.txt"], words=None, score=None, half=0.0, fails="ok", size=10)
    samples = run(made, str(out), engine="local", part_size=20).dataset["samples"]
    assert len(holding(out, url.encode() * 2)) > 1
    for path in out.glob(damaged):
        group, data = pq.read_metadata(path).row_group(0), bytearray(path.read_bytes())
        texts = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == "text")
        start = texts.dictionary_page_offset or texts.data_page_offset
        data[start + texts.total_compressed_size - 3] ^= 255  # what is looked up first is whole
        path.write_bytes(data)
    with pytest.raises(PoolError, match="--repair"):
        takedown(Store(out), Removed(urls={url_digest(url)}), lambda: write_pages(open_run(str(out))))
    assert (out / "removed/begun.json").exists()
    again = run(made, str(out), engine="local", part_size=20, repair=True)
    assert again.dataset["samples"] == samples - 1 and check(Store(out)) == [] and holding(out, url.encode() * 2) == []
    assert not (out / "removed/begun.json").exists() and run(made, str(out), engine="local", part_size=20).counters == {}


def test_what_is_taken_over_from_elsewhere_is_copied_a_piece_at_a_time(tmp_path, monkeypatch):
    (tmp_path / "work/parts/x").mkdir(parents=True)
    (tmp_path / "work/parts/x/0.tar").write_bytes(bytes(3 << 20))
    (tmp_path / "recipe.json").write_text("{}")
    whole = Store.read
    monkeypatch.setattr(Store, "read", lambda s, name: pytest.fail(name) if name.endswith(".tar") else whole(s, name))
    here = Store(f"memory://{tmp_path.name}/run")
    assert adopt(here, Store(tmp_path)) == 1 and here.sizes("work/parts/x") == {"0.tar": 3 << 20}
