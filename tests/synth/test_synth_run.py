"""Captions in a whole run: the text is never touched, variants travel in the sample, SQL finds a text's origin, a rerun changes
nothing."""

import functools
import glob
import inspect
import io
import json
import tarfile
import types

import pytest
import torch
from small_run import photo
from synth.writers import Parrot

import curate
from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.sources.webdataset import WebDataset
from curate.synth.caption import Caption, Rewrite
from curate.synth.captioners import Decoding
from curate.synth.choose import CaptionRepeats, Mix
from curate.synth.faults import CaptionFaults
from curate.synth.prompts import prompt_hash
from tests.shard.test_loaders import open_clip_data  # noqa: F401  a fixture

ROWS = 60


@pytest.fixture(scope="module")
def tars(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tars")
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for i in range(ROWS):
            for suffix, data in (("jpg", photo(i)), ("txt", f"raw text {i}".encode())):
                member = tarfile.TarInfo(f"{i:05d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return str(folder)


def recipe(tars, share=0.5, seed=0):
    return Recipe(
        WebDataset(tars),
        score=[Fetch()],
        synth=[
            Caption(Parrot(), prompt="a picture of", n=1, seed=seed, name="parrot"),
            Rewrite(
                Parrot(),
                prompt="join {text} and {seen}",
                of={"text": "text", "seen": "caption_parrot"},
                decoding=Decoding(),
                name="joined",
            ),
            CaptionFaults("caption_joined"),
            CaptionRepeats("caption_joined"),
            Mix({"raw": share, "joined": 1 - share}, checked=("joined",), seed=seed),
        ],
        shards=Shards(size=25),
        name="captions",
    )


@pytest.fixture(scope="module")
def run(tars, tmp_path_factory):
    return curate.run(recipe(tars), str(tmp_path_factory.mktemp("run")), engine="local", part_size=25)


def test_no_row_is_lost_and_no_text_is_touched(run):
    rows = run.sql(
        "select source_row, text, kept, chosen_text, chosen_origin, caption_joined from images order by source_row"
    ).fetchall()
    assert len(rows) == ROWS and all(r[2] for r in rows)
    assert [r[1] for r in rows] == [f"raw text {i}" for i in range(ROWS)]
    assert {r[4] for r in rows} == {"raw", "joined"}
    assert all(r[3] == (r[1] if r[4] == "raw" else r[5]) for r in rows)


def test_sql_finds_the_texts_of_a_model_and_a_prompt(run):
    said = prompt_hash("a picture of")
    asked = f"select count(*) from images where caption_parrot_made.model = 'parrot' and caption_parrot_made.prompt = '{said}'"
    assert run.sql(asked).fetchall() == [(ROWS,)]
    assert run.sql("select count(*) from images where caption_parrot_made.image_width between 8 and 12").fetchall() == [(ROWS,)]
    assert Caption(Parrot(), prompt="a picture of").provenance()["prompt"] == {
        "name": "a picture of",
        "hash": said,
        "text": "a picture of",
    }


def test_a_sample_has_all_variants_with_their_chances(run):
    with tarfile.open(run.store.path("shards/00000.tar")) as tar:
        sample = json.load(tar.extractfile(next(m for m in tar.getnames() if m.endswith(".json"))))
    assert {"text", "caption_parrot", "caption_joined", "chosen_text", "chosen_origin"} <= set(sample)
    assert sample["chosen_probability"] == {"raw": 0.5, "joined": 0.5}
    assert sample["caption_joined_made"]["finish"] == "stop" and sample["caption_joined_repeats"] == 1


def test_open_clip_trains_on_the_chosen_texts(run, open_clip_data, monkeypatch):  # noqa: F811
    """Its released loader reads `.txt`. A later one draws among strings of the `.json`, by key: they are there."""
    data, _ = open_clip_data
    if "eof_value" in inspect.signature(data.tar_file_expander).parameters:
        monkeypatch.setattr(data, "tar_file_expander", functools.partial(data.tar_file_expander, eof_value=None))
    tars = sorted(glob.glob(run.store.path("shards/*.tar")))
    args = types.SimpleNamespace(
        train_data="::".join(tars),
        train_num_samples=ROWS,
        dataset_resampled=False,
        batch_size=4,
        workers=0,
        train_data_upsampling_factors=None,
        world_size=1,
        seed=0,
    )
    seen = []
    info = data.get_wds_dataset(
        args, lambda image: torch.zeros(1), True, tokenizer=lambda text: seen.append(text) or torch.zeros(1, 1)
    )
    info.set_epoch(0)
    assert sum(len(texts) for _, texts in info.dataloader) >= ROWS
    assert set(seen) == {t for (t,) in run.sql("select chosen_text from images where kept").fetchall()}
    for name in tars:
        with tarfile.open(name) as tar:
            samples = [json.load(tar.extractfile(m)) for m in tar if m.name.endswith(".json")]
        said = [[s[k] for k in ("text", "caption_parrot", "caption_joined")] for s in samples]
        assert all(isinstance(t, str) or t is None for each in said for t in each)
        assert all(s["chosen_text"] in each and sum(s["chosen_probability"].values()) == 1 for s, each in zip(samples, said))


def test_a_rerun_asks_nothing_and_gives_the_same(run, tars, tmp_path):
    before = run.dataset["root_hash"]
    assert curate.run(recipe(tars), run.store.path(""), engine="local", part_size=25).dataset["root_hash"] == before
    assert curate.run(recipe(tars), str(tmp_path / "other"), engine="local", part_size=40).dataset["root_hash"] == before


def test_another_share_draws_anew_and_writes_no_caption_again(run, tars, monkeypatch):
    monkeypatch.setattr(Parrot, "write", lambda *_: pytest.fail("a caption was written again"))
    again = curate.run(recipe(tars, share=1.0), run.store.path(""), engine="local", part_size=25)
    assert again.sql("select distinct chosen_origin from images").fetchall() == [("raw",)]
