"""Shards open in webdataset, in open_clip's own training loader, in `datasets` and in Ray Data, with every sample once."""

import functools
import hashlib
import inspect
import os
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from small_run import small_run

N = 30


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Path(small_run(tmp_path_factory.mktemp("loaders") / "run", N).root)


@pytest.fixture(scope="module")
def expected(run):
    """What is in the shards, by key: caption and SHA-256 of the image."""
    tables = [pq.read_table(p).to_pylist() for p in sorted(run.glob("shards/*.parquet"))]
    return {r["key"]: (r["text"], r["sha256"]) for rows in tables for r in rows}


def tars(run):
    return [str(p) for p in sorted(run.glob("shards/*.tar"))]


def image_of(sample):
    """The bytes of the one image of a sample, whatever its suffix."""
    found = [sample[s] for s in ("jpg", "png", "webp") if isinstance(sample.get(s), (bytes, dict))]
    assert len(found) == 1
    return found[0]


def test_webdataset(run, expected):
    wds = pytest.importorskip("webdataset")
    raw = list(wds.WebDataset(tars(run), shardshuffle=False))
    assert {s["__key__"]: (s["txt"].decode(), hashlib.sha256(image_of(s)).hexdigest()) for s in raw} == expected
    assert len(raw) == len(expected)
    decoded = wds.WebDataset(tars(run), shardshuffle=False).decode("pil").to_tuple("jpg;png;webp", "txt", "json", "__key__")
    for image, text, said, key in decoded:
        assert image.size[1] == 16 and said["text"] == text == expected[key][0] and said["key"] == key


@pytest.fixture(scope="module")
def open_clip_data():
    """open_clip's training data module. A CPU build of torch beside the one torchvision there is lacks two operators."""
    torch = pytest.importorskip("torch")
    library = torch.library.Library("torchvision", "FRAGMENT")
    if torch.version.cuda is None:
        for name in (
            "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        ):
            try:
                library.define(name)
            except RuntimeError:
                continue  # some other module of this process has defined it
    return pytest.importorskip("open_clip_train.data"), library


def test_open_clip_training_loader(run, expected, open_clip_data, monkeypatch):
    data, _ = open_clip_data
    if "eof_value" in inspect.signature(data.tar_file_expander).parameters:
        # open_clip asks for webdataset <= 0.2.86; newer ones mark the end of a tar in a way that it does not know.
        monkeypatch.setattr(data, "tar_file_expander", functools.partial(data.tar_file_expander, eof_value=None))
    import numpy as np
    import torch

    pattern = f"{run}/shards/{{00000..{len(tars(run)) - 1:05d}}}.tar"
    size, count = data.get_dataset_size(pattern)
    assert (size, count) == (len(expected), len(tars(run)))  # from sizes.json
    args = SimpleNamespace(
        train_data=pattern,
        train_num_samples=None,
        dataset_resampled=False,
        train_data_upsampling_factors=None,
        batch_size=3,
        workers=0,
        world_size=1,
        seed=0,
    )
    info = data.get_wds_dataset(
        args,
        lambda image: torch.from_numpy(np.asarray(image).copy()).float().mean().reshape(1),
        True,
        tokenizer=lambda text: torch.tensor([list(hashlib.md5(text.encode()).digest())]),
    )
    info.set_epoch(0)
    assert info.dataloader.num_samples >= len(expected)
    captions = [bytes(row.tolist()) for _, texts in info.dataloader for row in texts]
    assert set(captions) == {hashlib.md5(text.encode()).digest() for text, _ in expected.values()}


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = pytest.importorskip("datasets")
    monkeypatch.setattr(found.config, "HF_DATASETS_CACHE", str(tmp_path))
    return found


def test_datasets_streaming(tmp_path, datasets):
    """As everybody calls it, for images of one format: it takes the columns from the first five samples."""
    run = Path(small_run(tmp_path / "run", N, kinds=("JPEG",)).root)
    rows = list(datasets.load_dataset("webdataset", data_files={"train": tars(run)}, split="train", streaming=True))
    sides = [r for p in sorted(run.glob("shards/*.parquet")) for r in pq.read_table(p).to_pylist()]
    assert [(r["__key__"], r["txt"]) for r in rows] == [(r["key"], r["text"]) for r in sides]
    assert all(r["json"]["uid"] == s["uid"] and r["json"]["score"] == s["score"] for r, s in zip(rows, sides, strict=True))
    assert all(r["jpg"].size[1] == 16 for r in rows)


def test_datasets_streaming_of_several_formats(run, expected, datasets):
    """Where a shard holds images of several formats, `datasets` has to be told the columns."""
    image, text = datasets.Image(decode=False), datasets.Value("string")
    images = dict.fromkeys(("jpg", "png", "webp"), image)
    columns = {"__key__": text, "__url__": text, **images, "txt": text, "json": {"sha256": text}}
    rows = list(
        datasets.load_dataset(
            "webdataset", data_files={"train": tars(run)}, split="train", streaming=True, features=datasets.Features(columns)
        )
    )
    assert len(rows) == len(expected)
    assert {r["__key__"]: (r["txt"], hashlib.sha256(image_of(r)["bytes"]).hexdigest()) for r in rows} == expected


def test_ray_data(run, expected, tmp_path):
    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # keeps it on the loopback
    started = not ray.is_initialized()
    if started:
        ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    try:
        rows = ray.data.read_webdataset(tars(run), decoder=None).take_all()
    finally:
        if started:
            ray.shutdown()
    assert {r["__key__"]: (r["txt"].decode(), hashlib.sha256(image_of(r)).hexdigest()) for r in rows} == expected
    assert len(rows) == len(expected)
