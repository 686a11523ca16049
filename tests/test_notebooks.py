"""Every notebook runs from top to bottom on a small run, shows what it says it shows, and is kept with the outputs of a demo's run."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from pictured import pool, recipe
from tiny import tiny_clip

from curate import schema
from curate.filters.clip_embed import ClipEmbed
from curate.recipe import Recipe
from curate.runner.driver import run as start
from curate.sources.web_pages import WebPages
from curate.stage import Stage

jupyter_client = pytest.importorskip("jupyter_client")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")
pytest.importorskip("ipywidgets")

FOLDER = Path(__file__).parent.parent / "notebooks"
PAGE = """<html><head><title>Page {n}</title></head><body><article><h1>Bridges {n}</h1>
<p>A bridge is a structure built to span a physical obstacle without blocking the way underneath it, page {n}.</p>
<img src="http://a.example/{n}.jpg" alt="a bridge over a river"><p>There are many different designs of bridges, each serving a purpose.</p></article></body></html>"""

#: What the outputs of a notebook on a small run have in them, of the runs that it looks at.
SHOWN = {
    "first_look": ["caption_words", "image_side", "<iframe", "data:image/jpeg", ".png"],
    "thresholds": ["image_side >= 32", "kept rows leave", "--set image_side.min=", "<iframe"],
    "duplicates": ["exact_dedup", "all duplicates are identical", "kept copy"],
    "map": ["images of 32 dimensions", "<iframe"],
    "documents": ["built to span", "documents", "<iframe"],
    "captions": ["a picture from http://a.example", "caption_toy", "does not score"],
    "two_runs": ["caption_words", "<td>left</td>", "<iframe"],
    "write_a_filter": ["colourful", "<iframe"],
}


@dataclass
class CaptionToy(Stage):
    """A caption as a model would write one."""

    reads = ("url",)

    def adds(self):
        return {"caption_toy": schema.STR}

    def run(self, live):
        return pa.table({"caption_toy": pa.array([f"a picture from {u}" for u in live["url"].to_pylist()], schema.STR)})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders that the notebooks look at, by environment variable."""
    path = tmp_path_factory.mktemp("notebooks")
    made = recipe(pool(path))
    made.score.append(ClipEmbed(model=tiny_clip(path / "tiny")))
    pictures = start(made, str(path / "run"), engine="local", part_size=25)
    (path / "pages").mkdir()
    for n in range(3):
        (path / "pages" / f"{n}.html").write_text(PAGE.format(n=n))
    pages = start(
        Recipe(WebPages(str(path / "pages")), [CaptionToy()], shards=None, name="pages"),
        str(path / "pages-run"),
        engine="local",
    )
    return {"CURATE_RUN": pictures.store.url, "CURATE_PAGES": pages.store.url, "CURATE_CAPTIONS": pages.store.url}


def outputs(notebook) -> list[str]:
    """The text, HTML and kinds of all outputs."""
    found = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    return [
        o.get("text", "") + "".join(map(str, o.get("data", {}).values())) + f".{'png' * ('image/png' in o.get('data', {}))}"
        for o in found
    ]


@pytest.fixture(scope="module")
def kernel(runs):
    """One kernel for all of them: to import the libraries takes longer than all cells together."""
    manager = jupyter_client.KernelManager(kernel_name="python3")
    manager.start_kernel(env=os.environ | runs, cwd=str(FOLDER))
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_it_runs_and_shows_what_it_says(kernel, name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    notebook.cells = [c for c in notebook.cells if c.cell_type == "code"]
    for cell in notebook.cells:
        cell.outputs = []
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))  # nothing is left of the notebook before
    nbclient.NotebookClient(notebook, timeout=120, km=kernel).execute()
    shown = "\n".join(outputs(notebook))
    assert [words for words in SHOWN[name] if words not in shown] == []


def test_there_is_a_test_for_every_notebook():
    assert {p.stem for p in FOLDER.glob("*.ipynb")} == set(SHOWN)


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_it_is_kept_with_outputs_of_a_whole_run(name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert not [o for c in code for o in c.outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert any({"image/png", "text/html"} & o.get("data", {}).keys() for c in code for o in c.outputs)
    assert not re.search(r"/(home|root|tmp|work|Users)/", "".join(outputs(notebook)))
