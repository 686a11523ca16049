"""Every notebook runs from top to bottom on a small run, and shows what it says it shows."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from pictured import pictured, pool, recipe
from tiny import tiny_clip

from curate import schema
from curate.filters.clip_embed import ClipEmbed
from curate.recipe import Recipe
from curate.runner.driver import run as start
from curate.sources.web_pages import WebPages
from curate.stage import Stage
from curate.store.atomic import Store
from curate.upkeep.adopt import adopt
from curate.view.difference import Difference
from curate.view.run import open_run

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

FOLDER = Path(__file__).parent.parent / "notebooks"
PAGE = """<html><head><title>Page {n}</title></head><body><article><h1>Bridges {n}</h1>
<p>A bridge is a structure built to span a physical obstacle without blocking the way underneath it, page {n}.</p>
<img src="http://a.example/{n}.jpg" alt="a bridge over a river"><p>There are many different designs of bridges, each serving a purpose.</p></article></body></html>"""


@dataclass
class CaptionToy(Stage):
    """A caption as a model would write one."""

    reads = ("url",)

    def adds(self):
        return {"caption_toy": schema.STR}

    def run(self, live):
        return pa.table({"caption_toy": pa.array([f"a picture from {u}" for u in live["url"].to_pylist()], schema.STR)})


def executed(name: str, monkeypatch, **environment: str) -> list[str]:
    """Run a notebook; returns the text and HTML of all its outputs."""
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    return [o.get("text", "") + "".join(o.get("data", {}).values()) for o in outputs]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    path = tmp_path_factory.mktemp("notebooks")
    return path, pictured(path).store.url


def test_look(first, monkeypatch):
    shown = executed("look", monkeypatch, CURATE_RUN=first[1])
    assert (
        sum("<iframe" in s for s in shown) == 3
        and any("its survivor" in s for s in shown)
        and any("caption_words" in s for s in shown)
    )


def test_bounds_and_two_runs(first, monkeypatch):
    path, url = first
    adopt(Store(path / "second"), Store(url))
    start(recipe(str(path / "pool.tar"), words=2), str(path / "second"), engine="local", part_size=25)
    shown = executed("bounds", monkeypatch, CURATE_RUN=url, CURATE_OTHER=str(path / "second"))
    assert any("rows would leave" in s for s in shown) and any("caption_words min: 3 → 2" in s for s in shown)
    entered, left = [s for s in shown if "<iframe" in s][-2:]
    there = sum(len(c.uids) for c in Difference(open_run(url), open_run(str(path / "second"))).changes if c.side == "entered")
    assert there and f"<{there} samples" in entered and "data:image/jpeg" in entered and "<0 samples" in left


def test_find_by_words(tmp_path, monkeypatch):
    pytest.importorskip("faiss")
    made = recipe(pool(tmp_path))
    made.score.append(ClipEmbed(model=tiny_clip(tmp_path / "tiny")))
    run = start(made, str(tmp_path / "run"), engine="local", part_size=25)
    shown = executed("find", monkeypatch, CURATE_RUN=run.store.url)
    assert any("pictures of 32 dimensions" in s for s in shown) and sum("<iframe" in s for s in shown) == 3


def test_documents_and_captions(tmp_path, monkeypatch):
    (tmp_path / "pages").mkdir()
    for n in range(3):
        (tmp_path / "pages" / f"{n}.html").write_text(PAGE.format(n=n))
    run = start(
        Recipe(WebPages(str(tmp_path / "pages")), [CaptionToy()], shards=None, name="pages"),
        str(tmp_path / "run"),
        engine="local",
    )
    shown = executed("documents", monkeypatch, CURATE_RUN=run.store.url)
    assert any("<iframe" in s and "built to span" in s for s in shown) and any(
        "a picture from http://a.example" in s for s in shown
    )


def test_no_notebook_is_kept_with_outputs():
    for path in FOLDER.glob("*.ipynb"):
        assert not any(c.get("outputs") for c in nbformat.read(path, as_version=4).cells), path.name
    assert {p.stem for p in FOLDER.glob("*.ipynb")} == {"look", "bounds", "find", "documents"}
