"""Each container is opened by its own loader, and has every sample once."""

import hashlib
import io
import itertools
import json
import os
from pathlib import Path

import numpy as np
import packages
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_server import server  # noqa: F401  a fixture
from PIL import Image
from small_run import photo, small_run

from curate.cli import main
from curate.errors import RecipeError
from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.runner.driver import run as drive
from curate.shard.containers import huggingface
from curate.shard.containers.base import convert
from curate.shard.containers.mds import Mds
from curate.sources.audio_pairs import AudioPairs
from curate.sources.pdfs import Pdfs
from curate.store.atomic import Store
from curate.videos.sound_file import SoundFile

N = 30


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Path(small_run(tmp_path_factory.mktemp("containers") / "run", N).root)


@pytest.fixture(scope="module")
def expected(run):
    """The caption and score of each key, in order."""
    return {r["key"]: r for p in sorted(run.glob("shards/*.parquet")) for r in pq.read_table(p).to_pylist()}


def exported(run, out, form, *more) -> Path:
    assert main(["export", str(run), "--format", form, "-o", str(out), *more]) == 0
    return out


def test_webdataset_has_the_indices_of_wids(run, expected, tmp_path):
    wids = pytest.importorskip("wids")
    out = exported(run, tmp_path / "w", "webdataset")
    data = wids.ShardListDataset(str(out / "wids.json"), base=str(out), cache_dir=str(tmp_path / "cache"), keep=True)
    assert [data[i]["__key__"] for i in range(len(data))] == list(expected)
    assert os.stat(out / "00000.tar").st_ino == os.stat(run / "shards/00000.tar").st_ino  # one copy of the media


def test_webdataset_is_a_prepared_set_of_energon(run, expected, tmp_path):
    energon = pytest.importorskip("megatron.energon")
    out = exported(run, tmp_path / "w", "webdataset")
    alone = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    data = energon.get_train_dataset(
        out, worker_config=alone, batch_size=1, shuffle_buffer_size=None, max_samples_per_sequence=None
    )
    found = {s.__key__[0].rsplit("/", 1)[-1]: s.caption[0] for s in itertools.islice(energon.get_loader(data), len(expected))}
    assert found == {k: r["text"] for k, r in expected.items()}
    offsets = np.fromfile(out / "00000.tar.idx", "<u8")
    tar = (out / "00000.tar").read_bytes()
    keys = [tar[o : o + 32].decode() for o in offsets[:-1].tolist()]
    assert keys == [k[:32] for k in list(expected)[: len(keys)]] and tar[offsets[-1] :].strip(b"\0") == b""


def test_energon_finds_every_member_by_its_key(run, expected, tmp_path):
    pytest.importorskip("megatron.energon")
    from megatron.energon.cache.file_store import WebdatasetFileStore
    from megatron.energon.epathlib import EPath

    out = exported(run, tmp_path / "w", "webdataset")
    assert not list((out / ".nv-meta").glob("members/*"))
    members = WebdatasetFileStore(EPath(out))
    assert len(members) == len(expected) and [key for key, *_ in members.list_all_samples()] == list(expected)
    for key, row in expected.items():
        data = {part: members[f"{key}.{part}"][0] for part, _, _ in members.list_sample_parts(key)}
        assert len(data) == 3 and data["txt"].decode() == row["text"] and json.loads(data.pop("json"))["uid"] == row["uid"]
        assert row["sha256"] in [hashlib.sha256(d).hexdigest() for d in data.values()]


@pytest.fixture
def streaming(monkeypatch):
    """MosaicML's library, without its subsets for vision, which import torchvision."""
    return packages.module(monkeypatch, "streaming.base")


def test_mds(run, expected, tmp_path, streaming):
    out = exported(run, tmp_path / "m", "mds")
    found = list(streaming.StreamingDataset(local=str(out), shuffle=False, batch_size=1))
    assert [(s["key"], s["text"]) for s in found] == [(k, r["text"]) for k, r in expected.items()]
    assert all(s["image"].size[1] == 16 and s["json"]["uid"] == expected[s["key"]]["uid"] for s in found)
    shuffled = streaming.StreamingDataset(local=str(out), shuffle=True, batch_size=4)
    loader = streaming.StreamingDataLoader(shuffled, batch_size=4, collate_fn=lambda some: [s["key"] for s in some])
    assert sorted(key for some in loader for key in some) == sorted(expected)


def test_lance(run, expected, tmp_path):
    lance = pytest.importorskip("lance")
    rows = lance.dataset(str(exported(run, tmp_path / "l", "lance") / "data.lance")).to_table().to_pylist()
    assert [r["key"] for r in rows] == list(expected)
    assert all(r["caption"] == r["text"] and r["image"][:4] in (b"\xff\xd8\xff\xe0", b"\x89PNG", b"RIFF") for r in rows)


def test_lance_on_an_object_store(run, expected, tmp_path, monkeypatch, server):  # noqa: F811
    """Written by fsspec, with its credentials; the files are those that are written to a disk."""
    lance = pytest.importorskip("lance")
    store = Store("s3://containers/l")
    store.fs.mkdir("containers")
    exported(run, store.url, "lance")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    rows = lance.dataset(store.path("data.lance")).to_table().to_pylist()
    assert [(r["key"], r["caption"]) for r in rows] == [(k, r["text"]) for k, r in expected.items()]
    here = exported(run, tmp_path / "l", "lance") / "data.lance/data"
    assert store.names("data.lance/data") == sorted(p.name for p in here.iterdir())
    assert store.names("data.lance") == ["_transactions", "_versions", "data"] == sorted(p.name for p in here.parent.iterdir())
    exported(run, here.parent.parent, "lance")  # once more: the same files
    assert store.names("data.lance/data") == sorted(p.name for p in here.iterdir())
    assert [r["key"] for r in lance.dataset(str(here.parent)).to_table(["key"]).to_pylist()] == list(expected)


def test_datasets(run, expected, tmp_path):
    datasets = pytest.importorskip("datasets")
    out = exported(run, tmp_path / "h", "huggingface")
    data = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert [r["key"] for r in data] == list(expected) and data.features["image"] == datasets.Image()
    assert data[0]["image"].size[1] == 16 and data[0]["caption"] == data[0]["text"]
    assert "path: data/train-*.parquet" in (out / "README.md").read_text()
    again = exported(run, tmp_path / "again", "huggingface")
    assert [p.read_bytes() for p in sorted(out.glob("data/*"))] == [p.read_bytes() for p in sorted(again.glob("data/*"))]


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """A run of PDF files with a picture a page, and the number of pages of each key."""
    folder = tmp_path_factory.mktemp("documents")
    for n in (1, 2, 3):
        first, *more = [Image.open(io.BytesIO(photo(10 * n + k))).resize((256, 256)) for k in range(n)]
        first.save(folder / f"{n}.pdf", save_all=True, append_images=more)
    made = drive(Recipe(Pdfs(str(folder)), [Fetch()], shards=Shards(size=2), name="x"), str(folder / "run"), engine="local")
    rows = made.sql("select key, url from documents where kept").fetchall()
    return Path(made.store.root), {key: int(url[-5]) for key, url in rows}


def test_documents_are_opened_by_each_loader(documents, tmp_path):
    run, pages = documents
    assert sorted(pages.values()) == [1, 2, 3]
    lance, datasets = pytest.importorskip("lance"), pytest.importorskip("datasets")
    rows = lance.dataset(str(exported(run, tmp_path / "l", "lance") / "data.lance")).to_table().to_pylist()
    assert {r["key"]: len([i for i in r["images"] if i]) for r in rows} == pages
    data = datasets.load_dataset(str(exported(run, tmp_path / "h", "huggingface")), cache_dir=str(tmp_path / "cache"))["train"]
    assert {r["key"]: len([i for i in r["images"] if i and i.size[1] == 256]) for r in data} == pages
    energon = pytest.importorskip("megatron.energon")

    @energon.stateless
    def cook(sample):
        names = [n for n in json.loads(sample["json"])["images"] if n and sample[n]]
        return energon.TextSample(**energon.basic_sample_keys(sample), text=str(len(names)))

    class Task(energon.DefaultTaskEncoder):
        cookers = [energon.Cooker(cook)]
        decoder = None

    alone = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    own = {"batch_size": 1, "shuffle_buffer_size": None, "max_samples_per_sequence": None, "task_encoder": Task()}
    prepared = energon.get_train_dataset(exported(run, tmp_path / "w", "webdataset"), worker_config=alone, **own)
    found = itertools.islice(energon.get_loader(prepared), len(pages))
    assert {s.__key__[0].rsplit("/", 1)[-1]: int(s.text[0]) for s in found} == pages
    assert main(["export", str(run), "--format", "mds", "-o", str(tmp_path / "m")]) == 2


def test_sounds_are_in_the_tables(tmp_path):
    lance, datasets, soundfile = (pytest.importorskip(n) for n in ("lance", "datasets", "soundfile"))
    soundfile.write(tmp_path / "a.flac", np.sin(np.arange(800)), 8000)
    pq.write_table(pa.table({"audio": ["a.flac"], "text": ["a tone"]}), tmp_path / "list.parquet")
    recipe = Recipe(AudioPairs(str(tmp_path / "list.parquet")), [SoundFile()], shards=Shards(size=2), name="x")
    run, data = Path(drive(recipe, str(tmp_path / "run"), engine="local").store.root), (tmp_path / "a.flac").read_bytes()
    [row] = lance.dataset(str(exported(run, tmp_path / "l", "lance") / "data.lance")).to_table().to_pylist()
    assert row["sound"] == data and row["texts"] == ["a tone"]
    loaded = datasets.load_dataset(str(exported(run, tmp_path / "h", "huggingface")), cache_dir=str(tmp_path / "cache"))[
        "train"
    ]
    assert isinstance(loaded.features["sound"], datasets.Audio)
    [row] = loaded.cast_column("sound", datasets.Audio(decode=False))
    assert row["sound"] == {"bytes": data, "path": f"{row['key']}.flac"}


class FakeHub:
    """What `push` asks of huggingface_hub.HfApi."""

    endpoint = "https://hub.example"

    def __init__(self, refuses: bool = False):
        self.refuses, self.calls = refuses, []

    def create_repo(self, name: str, repo_type: str, private: bool, exist_ok: bool) -> None:
        self.calls.append((name, repo_type, private, exist_ok))
        if self.refuses:
            raise ValueError("401 Unauthorized")

    def upload_folder(self, folder_path: str, repo_id: str, repo_type: str, ignore_patterns: list[str]) -> None:
        self.calls.append((folder_path, repo_id, repo_type))


def test_a_folder_is_pushed_to_the_hub(tmp_path):
    hub = FakeHub()
    assert huggingface.push(str(tmp_path), "me/set", hub) == "https://hub.example/datasets/me/set"
    assert hub.calls == [("me/set", "dataset", True, True), (str(tmp_path), "me/set", "dataset")]
    with pytest.raises(RecipeError, match="me/set: cannot be pushed: 401"):
        huggingface.push(str(tmp_path), "me/set", FakeHub(refuses=True))


def test_annotations_are_rows_in_the_order_of_the_tars(run, expected, tmp_path):
    out = exported(run, tmp_path / "a", "annotations", "--columns", "score", "vector")
    rows = [r for p in sorted(out.glob("*.parquet")) for r in pq.read_table(p).to_pylist()]
    assert [(r["key"], r["score"]) for r in rows] == [(k, r["score"]) for k, r in expected.items()]
    assert [r["vector"] for r in rows] == [[r["score"], 0.5] for r in rows]
    assert json.loads((out / "index.json").read_text())["columns"] == ["score", "vector"]
    bad = ["export", str(run), "--format", "annotations", "-o", str(tmp_path / "b"), "--columns"]
    assert main([*bad, "scores"]) == 2 and main([*bad, "score"]) == 0  # the folder of a mistyped column is no other export


def test_a_folder_of_another_run_is_refused_and_an_interrupted_one_goes_on(run, tmp_path):
    store = Store(run)
    dataset, out = store.json("dataset.json"), str(tmp_path / "m")

    def breaks(task, items):
        yield task(next(iter(items)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(store, dataset, Mds(), out, breaks)
    assert not os.path.exists(f"{out}/index.json")
    assert convert(store, dataset, Mds(), out) == dataset["samples"]
    with pytest.raises(RecipeError, match="holds something else"):
        convert(store, {**dataset, "root_hash": "other"}, Mds(), out)
