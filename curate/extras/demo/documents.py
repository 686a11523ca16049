"""The demo's second run: `web_documents` turns real manuals into interleaved documents."""

import sys
import time
from pathlib import Path
from typing import Any

from curate.extras.demo.pages import build
from curate.runner.driver import run
from curate.runner.planning import requests
from curate.runner.recipes import load
from curate.sources.web_pages import WebPages
from curate.view.closing import funnel
from curate.view.look import clean
from curate.view.progress import span


def document_job(out: str, folder: Path, engine: str, seed: int, allow_private: tuple[str, ...], progress: Any) -> int:
    """Build the pages in `folder` and run the recipe into `out`; prints the funnel, saved requests and shards. Returns the exit code:
    0 on success, also if no package of manuals is available."""
    began = time.monotonic()
    web = build(folder, seed, say=lambda line: print(f"  {line}", file=sys.stderr, flush=True))
    for name, why in web.left_out.items():
        print(f"left out: {name}: {why}")
    if not web.notes["pages"]:
        return 0
    recipe = load("web_documents").build(WebPages(str(folder / "pages.warc.gz")), seed=seed)
    recipe.name = "web_documents"
    for step in recipe.steps:
        step.allow_networks(allow_private)
    with web.serve():
        made = run(recipe, out, engine, part_size=1_000, progress=progress)
    dataset = made.dataset
    print(
        clean(
            "\n".join(
                [
                    funnel(made.stats().to_pylist()),
                    "",
                    *requests(out),
                    f"{dataset['samples']:,} documents in {len(dataset['shards'])} shards: {made.store.path('shards')}  (after {span(time.monotonic() - began)})",
                    f"root hash {dataset['root_hash']}",
                    f"look:  curate show {out} --documents    and:  curate export {out} --format markdown -o pages",
                ]
            )
        )
    )
    return 1 if made.problems else 0
