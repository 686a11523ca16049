"""Third-party tars, tables and models: nothing in them is executed, nothing is written where they say."""

import io
import json
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from documents.page_web import picture

from curate.cli import main
from curate.errors import CurateError
from curate.fetch.stage import Fetch
from curate.models.heads import head
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.select.top_fraction import TopFraction
from curate.select.where import Where
from curate.sources.columns import fit
from curate.sources.url_pairs import UrlPairs
from curate.sources.webdataset import WebDataset
from curate.upkeep.check import check

ROOT = Path(__file__).parent.parent


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def canary(tmp_path):
    """A pickle, and the file that is there as soon as somebody loads it."""
    sung = tmp_path / "sung"
    pickle.loads(pickle.dumps(Canary(sung)))
    assert sung.exists()  # it does sing
    sung.unlink()
    return pickle.dumps(Canary(sung)), sung


def tree(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


# ---- tars

PICKLES = ("pyd", "pkl", "pickle", "pth", "pt", "npy", "npz", "cbor", "mp", "ten", "tb")


def odd_tar(path: Path, bomb: bytes, outside: Path) -> None:
    """Samples with pickles beside (and in place of) their pictures, and members that lie elsewhere or are no files."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, data: bytes = b"", **said) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for k, v in said.items():
                setattr(info, k, v)
            tar.addfile(info, io.BytesIO(data))

        for n, ending in enumerate(PICKLES):
            add(f"{n:03d}.jpg", picture(n, 64))
            add(f"{n:03d}.txt", b"a caption of some words")
            add(f"{n:03d}.{ending}", bomb)
        add("050.jpg", bomb)
        add("050.json", bomb)
        for n, name in enumerate(
            ("../../out.jpg", f"{outside}/out.jpg", "a/../../out.jpg", "..", "c:\\out.jpg", "pipe:touch out.jpg")
        ):
            add(name, picture(60 + n, 64))
            add(name.replace(".jpg", ".txt"), b"a caption")
        for n, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)):
            add(f"07{n}.jpg", type=kind, linkname="/etc/passwd")
            add(f"07{n}.txt", b"root")
        add("080.jpg", picture(80, 64), pax_headers={"path": f"{outside}/pax.jpg"})


def test_a_hostile_tar_through_a_whole_run(tmp_path, canary):
    bomb, sung = canary
    outside = tmp_path / "outside"
    for folder in (outside, tmp_path / "pool"):
        folder.mkdir()
    odd_tar(tmp_path / "pool/00000.tar", bomb, outside)
    before = tree(tmp_path)
    made = run(
        Recipe(WebDataset([str(tmp_path / "pool")]), [Fetch()], shards=Shards(size=10), name="x"),
        str(tmp_path / "run"),
        engine="local",
    )
    assert not sung.exists() and {p for p in tree(tmp_path) if not p.startswith("run")} == before
    assert made.dataset["samples"] > len(PICKLES) and check(made.store) == []
    names = [n for tar in made.tars for n in tarfile.open(tar).getnames()]
    assert all("/" not in n and ".." not in n and n.split(".")[-1] in ("jpg", "txt", "json") for n in names)
    assert not [
        n
        for tar in made.tars
        for m in tarfile.open(tar)
        if b"root:" in tarfile.open(tar).extractfile(m.name).read()
        for n in [m.name]
    ]
    assert made.sql("select count(*) from images where kept and source_key like '07%'").fetchall() == [(0,)]


@pytest.mark.parametrize("option", ["--pool", "--pairs", "--pages", "--page-urls"])
def test_no_path_is_a_command(tmp_path, monkeypatch, capsys, option):
    monkeypatch.chdir(tmp_path)
    for path in (
        f"pipe:touch {tmp_path}/sung",
        f"pipe:touch {tmp_path}/sung |",
        f"| touch {tmp_path}/sung",
        f"$(touch {tmp_path}/sung)",
        f"pipe://touch {tmp_path}/sung",
    ):
        assert main(["run", "datacomp_none", option, path, "-o", str(tmp_path / "run"), "--engine", "local"]) in (1, 2), path
        assert capsys.readouterr().err.strip().splitlines()[-1].startswith("curate: ")
    assert not (tmp_path / "sung").exists()


# ---- tables

READ = """
import sys
import ray.data  # it registers an extension type whose values are pickles
from ray.data.extensions import ArrowPythonObjectArray
import pyarrow as pa, pyarrow.parquet as pq
from pathlib import Path
sys.path[:0] = [{root!r} + "/tests", {root!r}]
from test_canaries import Canary
folder, sung = Path({folder!r}), Path({folder!r}) / "sung"
bombs = ArrowPythonObjectArray.from_objects([Canary(sung)] * 2)
words = pa.array(["http://a.example/1", "http://a.example/2"])
pq.write_table(pa.table({{"url": words, "text": words, "evil": bombs}}), folder / "a.parquet")
pq.write_table(pa.table({{"url": bombs, "text": words}}), folder / "b.parquet")
pq.write_table(pa.table({{"url": words, "key": words, "evil": pa.StructArray.from_arrays([bombs], ["x"])}}), folder / "c.parquet")
(folder / "c.tar").write_bytes(bytes(10240))
pq.read_table(folder / "a.parquet")["evil"].to_pylist()
print("raw pyarrow sings:", sung.exists())
sung.unlink(missing_ok=True)
from curate.errors import CurateError
from curate.removed import read_requests
from curate.sources.page_urls import listed
from curate.sources.columns import fit
from curate.sources.url_pairs import UrlPairs
from curate.sources.webdataset import WebDataset
for read in (lambda: [t for f in UrlPairs(str(folder / "a.parquet")).files() for t in UrlPairs(str(folder / "a.parquet")).read(f, 10)],
             lambda: list(UrlPairs(str(folder / "b.parquet")).read(str(folder / "b.parquet"), 10)), lambda: UrlPairs(str(folder / "b.parquet")).columns(str(folder / "b.parquet")),
             lambda: list(WebDataset(str(folder / "c.tar")).read(str(folder / "c.tar"), 10)), lambda: listed(str(folder / "b.parquet")),
             lambda: read_requests(str(folder / "b.parquet"))):
    try:
        print("read", read())
    except CurateError as e:
        print("refused", str(e)[-140:].replace(chr(10), " "))
print("kept away:", [t for t in UrlPairs(str(folder / "a.parquet"), without=("evil",)).read(str(folder / "a.parquet"), 10)][0]["images"].num_rows)
print("executions:", int(sung.exists()))
"""


def test_a_table_with_pickles_in_a_process_that_has_ray_data(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", READ.format(root=str(ROOT), folder=str(tmp_path))],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "raw pyarrow sings: True", done.stderr
    assert [line.split()[0] for line in lines[1:7]] == ["refused"] * 6 and all(
        "extension type" in line for line in lines[1:7]
    ), lines
    assert lines[7:] == ["kept away: 2", "executions: 0"]


def shown(run: str, tmp_path: Path) -> None:
    """Every command that makes SQL of the names of columns."""
    for argv in (
        ["report", run],
        ["show", run, "-o", str(tmp_path / "show.html")],
        ["annotate", run, "-o", str(tmp_path / "asked"), "--near", "all", "-n", "4"],
        ["sql", run, "select * from images", "-o", str(tmp_path / "all.parquet")],
        ["why", run, pq.read_table(f"{run}/ledger/images/000000.parquet")["uid"][0].as_py(), "-o", str(tmp_path / "w.html")],
        ["diff", run, run, "-o", str(tmp_path / "diff.html")],
        ["check", run],
    ):
        assert main(argv) == 0, argv


@pytest.mark.parametrize("kind", ["list", "tar"])
def test_the_name_of_a_column_is_no_sql(tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_text("the local file")
    evil = f"""text" , (select content from read_text('{secret}')) as "leak"""
    words = [f"a caption of some words, {i}" for i in range(6)]
    numbers = {'we"ird': [1.5, 2.0, 2.5, 3.0, 3.5, 4.0], "it's": list("aabbcc"), "{n}": list("aabbcc"), evil: list("aabbcc")}
    if kind == "list":
        pq.write_table(
            pa.table({"url": [f"http://toy/{i}" for i in range(6)], "text": words, **numbers}), tmp_path / "l.parquet"
        )
        source, steps, shards = UrlPairs(str(tmp_path / "l.parquet")), [], None
    else:
        with tarfile.open(tmp_path / "pool.tar", "w") as tar:
            for i, text in enumerate(words):
                said = json.dumps({name: values[i] for name, values in numbers.items()}).encode()
                for ending, data in (("jpg", picture(i, 64)), ("txt", text.encode()), ("json", said)):
                    info = tarfile.TarInfo(f"{i}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        source, steps, shards = WebDataset([str(tmp_path / "pool.tar")]), [Fetch()], Shards(size=4)
    rules = [Where('source_we"ird', min=2, name="odd"), TopFraction('source_we"ird', 0.5)]
    made = run(Recipe(source, steps, rules, shards=shards, name="x"), str(tmp_path / "it's"), engine="local")
    shown(made.store.url, tmp_path)
    assert made.stats()["reason"].to_pylist() == ["odd", "top_fraction", "kept"]
    assert "we&#34;ird" in made.store.read("report.html").decode()
    kept = [f for f in tmp_path.rglob("*") if f.is_file() and f != secret and secret.read_bytes() in f.read_bytes()]
    assert kept == [] and f"source_{fit(evil)}" in pq.read_table(tmp_path / "all.parquet").column_names
    assert kind == "list" or f"source_{fit(evil)}" in pq.read_table(made.store.path("shards/00000.parquet")).column_names


# ---- models


def test_no_model_file_is_unpickled(tmp_path, canary):
    bomb, sung = canary
    for name in ("head.pt", "head.pth", "head.bin", "head.safetensors", "head.npy"):
        (tmp_path / name).write_bytes(bomb)
        with pytest.raises(CurateError, match=rf"{name}"):
            head("aesthetic", str(tmp_path / name))
    assert not sung.exists()


def test_no_source_file_of_ours_loads_a_pickle():
    """Nothing is loaded with a loader that executes: the only pickles are Ray's own, between our processes."""
    import re

    wrong = re.compile(
        r"\bpickle\.loads?\(|allow_pickle=True|weights_only=False|yaml\.load\(|trust_remote_code=True|joblib|(?<![.\w])(?:eval|exec)\(|shell=True|os\.system"
    )
    found = [
        f"{p.relative_to(ROOT)}: {m[0]}" for p in sorted((ROOT / "curate").rglob("*.py")) for m in wrong.finditer(p.read_text())
    ]
    assert found == []
    torch = [
        p
        for p in (ROOT / "curate").rglob("*.py")
        for line in p.read_text().splitlines()
        if "torch.load(" in line and "weights_only=True" not in line
    ]
    assert torch == []
