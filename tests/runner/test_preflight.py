"""What a recipe loads is looked for before anything is fetched: one line names the file and the cause."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictured import pool
from safetensors.numpy import save_file
from tiny import tiny_clip

from curate.cli import main
from curate.errors import RecipeError
from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.recipe import Recipe
from curate.runner.driver import run
from curate.runner.preflight import preflight
from curate.runner.recipes import load
from curate.select.where import Where
from curate.sources.url_pairs import UrlPairs


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A list of one URL, the tiny CLIP (embeddings of 32 numbers), and files of many forms."""
    folder = tmp_path_factory.mktemp("desk")
    pq.write_table(pa.table({"url": ["http://127.0.0.1:9/a.jpg"], "text": ["a dog"]}), folder / "list.parquet")
    tiny_clip(folder / "tiny")
    nan = tiny_clip(folder / "nan")
    from safetensors.torch import load_file
    from safetensors.torch import save_file as save_tensors

    state = load_file(f"{nan}/open_clip_model.safetensors")
    state["visual.proj"][:] = float("nan")
    save_tensors(state, f"{nan}/open_clip_model.safetensors")
    for width in (32, 64):
        np.save(folder / f"v{width}.npy", np.ones((3, width), np.float32))
        save_file({"weight": np.ones((1, width), np.float32)}, folder / f"head{width}.safetensors")
    save_file({"weight": np.ones((5, 32), np.float32)}, folder / "five.safetensors")
    np.save(folder / "flat.npy", np.ones(32, np.float32))
    np.save(folder / "none.npy", np.ones((0, 32), np.float32))
    for name, text in {
        "notes.txt": "nothing of use here: no words\n",
        "empty.txt": "\n\n",
        "five.json": "5",
        "cut.json": '["dog", "lake"',
        "numbers.json": "[1, 2]",
        "nested.json": '{"dog": ["a", "b"]}',
        "good.json": '\ufeff["dog", "lake"]',
        "commas.csv": "dog,30\nlake,12\n",
        "words.json": '["dog", "lake"]\n',
        "counts.tsv": "dog\t30\nlake\tmany\n",
    }.items():
        (folder / name).write_text(text, "utf-8")
    (folder / "latin.txt").write_bytes("dog\nchâteau\n".encode("latin-1"))
    return folder


CLIP = ["--model", "{desk}/tiny"]
TOP = ["clip_score_top30"]
IMAGE = ["datacomp_image_based", *CLIP, "--reference", "{desk}/v32.npy"]
ALIGN = ["align", "--vocabulary"]
SD = ["stable_diffusion", *CLIP, "--aesthetic"]
BALANCE = ["metaclip_400m", "--entries"]
WRONG = [
    ([*TOP, "--model", "ViT-B-32:openaii"], "openaii is neither a file nor a tag of ViT-B-32; did you mean openai"),
    ([*TOP, "--model", "ViT-B-33:openai"], "did you mean ViT-B-32"),
    ([*TOP, "--model", "{desk}/nan"], "nan: visual.proj: weights that are NaN"),
    (
        [*TOP, "--model", "ViT-S-32-alt:{desk}/tiny/open_clip_model.safetensors#gelu"],
        "weights of another model: positional_embedding is [16, 8], not [77, 256]",
    ),
    ([*TOP, "--model", "ViT-S-32-alt:{desk}/notes.txt#gelu"], "notes.txt"),
    ([*IMAGE[:3], "--reference", "{desk}/v64.npy"], "v64.npy has vectors of 64 numbers, clip_image of 32"),
    ([*IMAGE[:3], "--reference", "{desk}/missing.npy"], "missing.npy: No such file"),
    ([*IMAGE[:3], "--reference", "{desk}/notes.txt"], "notes.txt: not a .npy file"),
    ([*IMAGE[:3], "--reference", "{desk}/flat.npy"], "flat.npy: float32 of shape (32,)"),
    ([*IMAGE[:3], "--reference", "{desk}/none.npy"], "none.npy: float32 of shape (0, 32)"),
    ([*IMAGE, "--centroids", "{desk}/v64.npy"], "v64.npy has vectors of 64 numbers"),
    ([*SD, "{desk}/head64.safetensors"], "head64.safetensors is for embeddings of length 64, clip_image has 32"),
    ([*SD, "{desk}/five.safetensors"], "five.safetensors: not a head of linear layers with one output"),
    ([*SD, "{desk}/notes.txt"], "notes.txt"),
    ([*SD, "{desk}/missing.pth"], "missing.pth"),
    ([*SD, "{desk}/head32.safetensors", "--nsfw-model", "{desk}/missing.onnx"], "missing.onnx"),
    ([*BALANCE, "{desk}/missing.json"], "missing.json: No such file"),
    ([*BALANCE, "{desk}/cut.json"], "cut.json: begins like JSON, and is none"),
    ([*BALANCE, "{desk}/numbers.json"], "numbers.json: not a list of strings: the 1. is 1"),
    ([*BALANCE, "{desk}/nested.json"], "nested.json: a JSON object, but not one of entries and their counts"),
    ([*BALANCE, "{desk}/empty.txt"], "empty.txt: no entries in it"),
    ([*BALANCE, "{desk}/latin.txt"], "latin.txt: line 2: not UTF-8"),
    ([*ALIGN, "{desk}/missing.txt"], "missing.txt"),
    ([*ALIGN, "{desk}/commas.csv"], "commas.csv: line 1: 'dog,30': between a word and its count is a tab"),
    ([*ALIGN, "{desk}/words.json"], 'words.json: line 1: \'["dog", "lake"]\' is JSON or CSV'),
    ([*ALIGN, "{desk}/counts.tsv"], "counts.tsv: line 2: 'many' is no count"),
    ([*ALIGN, "{desk}/empty.txt"], "empty.txt: no words in it"),
    ([*ALIGN, "{desk}/latin.txt"], "latin.txt: line 2: not UTF-8"),
    (["coyo_700m", "--profanity", "{desk}/words.json"], "words.json: line 1"),
    (["coyo_700m", "--profanity", "{desk}/tiny"], "tiny"),
    (["datacomp_text_based", "--synsets", "{desk}/notes.txt", "--wordnet", "{desk}"], "index.noun: No such file"),
    (["datacomp_basic", "--language-model", "{desk}/notes.txt"], "notes.txt"),
    (["imagen", *CLIP, "--toxicity", "python:nowhere:rate"], "nowhere"),
    (["kosmos2_grit", "--detector", "python:json:detect"], "detect"),
]


@pytest.mark.parametrize("words, says", WRONG, ids=lambda v: v if isinstance(v, str) else v[0])
def test_what_is_wrong_is_said_before_anything_is_fetched(words, says, desk, tmp_path, capsys):
    argv = [w.format(desk=desk) for w in words]
    code = main(["run", *argv, "--pairs", f"{desk}/list.parquet", "-o", f"{tmp_path}/out", "--engine", "local"])
    err = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and len([line for line in err if line.startswith("curate: ")]) == 1 and says in err[-1], err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text, found", [("5", ["5"]), ('\ufeff"dog"\n"lake"\n', ["dog", "lake"]), ("", None)])
def test_a_list_of_entries_in_other_forms(text, found, tmp_path):
    from curate.balance.entries import read_entries

    (tmp_path / "entries.json").write_text(text, "utf-8")
    if found is None:
        with pytest.raises(RecipeError, match="no entries in it"):
            read_entries(str(tmp_path / "entries.json"))
    else:
        assert read_entries(str(tmp_path / "entries.json")) == found


def test_good_files_pass(desk):
    source = UrlPairs(f"{desk}/list.parquet")
    preflight(load("metaclip_400m").build(source, entries=f"{desk}/good.json"))
    preflight(load("align").build(source, vocabulary=f"{desk}/notes.txt"))
    preflight(load("datacomp_image_based").build(source, model=f"{desk}/tiny", reference=f"{desk}/v32.npy"))


@pytest.fixture
def down(monkeypatch):
    """A machine without a hub and without anything of it in the cache."""

    def nobody(*_, **__):
        raise ConnectionError("nobody answers")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", nobody)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)


@pytest.mark.parametrize(
    "name", ["clip_score_top30", "laion_400m", "nguyen_mix", "recap", "laclip", "capsfusion", "hard_negatives"]
)
def test_without_a_hub_a_default_says_what_to_name(name, desk, down, tmp_path, capsys):
    argv = ["run", name, "--pairs", f"{desk}/list.parquet", "-o", f"{tmp_path}/out", "--engine", "local"]
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert "not in this machine's cache" in said and any(
        way in said for way in ("--model small", "--captioner small", "--writer URL#MODEL")
    )
    assert not (tmp_path / "out").exists()


def test_what_writes_is_replaced_by_what_writes(desk, down):
    recipe = load("capsfusion").build(UrlPairs(f"{desk}/list.parquet"))
    with pytest.raises(RecipeError, match=r"model coca_.*--captioner small; model Qwen/.*--writer URL#MODEL$"):
        preflight(recipe)


def test_all_that_is_missing_is_said_at_once(desk, down):
    recipe = load("nguyen_mix").build(UrlPairs(f"{desk}/list.parquet"))
    with pytest.raises(RecipeError, match=r"ViT-L-14:openai: not in .*; model Salesforce/blip2-opt-2.7b: not in "):
        preflight(recipe)


def test_a_finished_run_needs_no_model_for_another_bound(desk, tmp_path, monkeypatch):
    def recipe(bound: float) -> Recipe:
        score = [Fetch(), ClipEmbed(model=f"{desk}/tiny"), ClipScore()]
        return Recipe(UrlPairs(f"{desk}/list.parquet"), score, [Where("clip_score", min=bound)], name="r")

    run(recipe(0.1), str(tmp_path / "out"), engine="local")

    def gone(self, widths):
        raise RecipeError("the model is gone")

    monkeypatch.setattr(ClipEmbed, "preflight", gone)
    run(recipe(0.2), str(tmp_path / "out"), engine="local")
    record = json.loads((tmp_path / "out" / "recipe.json").read_text())
    with pytest.raises(RecipeError, match="the model is gone"):
        preflight(recipe(0.2), {**record, "inputs": []})
    with pytest.raises(RecipeError, match="the model is gone"):
        preflight(recipe(0.2), {**record, "state": "running"})
    with pytest.raises(RecipeError, match="the model is gone"):
        run(recipe(0.2), str(tmp_path / "out"), engine="local", refetch=True)


def test_what_another_run_has_computed_needs_no_model(desk, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(
        "from curate.fetch.stage import Fetch\nfrom curate.filters.clip_embed import ClipEmbed\nfrom curate.filters.clip_score import ClipScore\n"
        "from curate.recipe import Recipe\nfrom curate.select.where import Where\n\n"
        f"def recipe(source, bound: float = 0.1, model: str = '{desk}/tiny'):\n"
        "    return Recipe(source, [Fetch(), ClipEmbed(model=model), ClipScore()], [Where('clip_score', min=bound)])\n"
    )
    pool(tmp_path, 6)
    argv = ["run", f"{tmp_path}/mine.py", "--pool", f"{tmp_path}/pool.tar", "--engine", "local"]
    assert main([*argv, "-o", f"{tmp_path}/one"]) == 0

    def gone(self, widths):
        raise RecipeError("the model is gone")

    monkeypatch.setattr(ClipEmbed, "preflight", gone)
    assert main([*argv, "-o", f"{tmp_path}/two", "--reuse", f"{tmp_path}/one", "--bound", "0.2"]) == 0
    assert main([*argv, "-o", f"{tmp_path}/three", "--bound", "0.2"]) == 2 and "the model is gone" in capsys.readouterr().err
    other = ["--model", "ViT-S-32-alt:" + str(desk / "tiny" / "open_clip_model.safetensors")]
    assert main([*argv, "-o", f"{tmp_path}/four", "--reuse", f"{tmp_path}/one", *other]) == 2
