"""The main job, from nothing: build the web, serve it, run the recipe on it, and hold the outcome against the truth."""

import json
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from curate.balance.entries import ngram_entries
from curate.extras.demo.captions import caption_job
from curate.extras.demo.documents import document_job
from curate.extras.demo.truth import measure
from curate.extras.demo.web import build
from curate.models.packages import cache
from curate.runner.driver import run
from curate.runner.recipes import load
from curate.sources.url_pairs import UrlPairs
from curate.view.look import clean
from curate.view.progress import display, funnel, span
from curate.view.run import Run

NETWORK = "127.0.0.0/8"


def main_job(out: str, tier: str = "S", engine: str = "ray", seed: int = 0) -> int:
    """Run the demo into a folder; prints the funnel, the measured precision and recall, and what to do next. 0 if all went well."""
    began = time.monotonic()
    web = build(cache() / f"web-{tier}-{seed}", tier, seed, say=lambda line: print(f"  {line}", file=sys.stderr, flush=True))
    for name, why in web.left_out.items():
        print(f"left out: {name}: {why}")
    recipe = load("demo").build(UrlPairs(str(web.pairs)), entries=str(entry_list(web.pairs)), seed=seed)
    recipe.name = "demo"
    for step in recipe.steps:
        if hasattr(step, "allow_private"):
            step.allow_private = (NETWORK,)
    with display() as progress, web.serve():
        made = run(recipe, out, engine, part_size=1_000, progress=progress)
        print(closing(made, web.truth, out, time.monotonic() - began) + "\n", flush=True)
        captions = caption_job(f"{out.rstrip('/')}-captions", web.pairs, web.truth, engine, seed, (NETWORK,), progress)
        print()
    with display() as progress:
        pages = document_job(f"{out.rstrip('/')}-pages", cache() / f"pages-{seed}", engine, seed, (NETWORK,), progress)
    return 1 if made.problems or captions or pages else 0


def entry_list(pairs: Path, min_count: int = 3) -> Path:
    """The entries that captions are balanced by: words seen often enough in the list, as CLIP took them from the Wikipedia."""
    path = pairs.with_name("entries.json")
    texts = [t for t in pq.read_table(pairs, columns=["text"])["text"].to_pylist() if t]
    path.write_text(json.dumps(ngram_entries(texts, min_count)))
    return path


def closing(made: Run, truth: Path, out: str, seconds: float) -> str:
    """What the demo ends with: the funnel, the measured quality of each filter, the shards, the next command."""
    ledger = made.sql("select url, text, drop_reason, clip_score from images").to_arrow_table()
    dataset = made.dataset
    return clean(
        "\n".join(
            [
                funnel(made.stats().to_pylist()),
                "",
                "What the pipeline never saw: the truth about each row.",
                str(measure(ledger, truth)),
                "",
                f"{dataset['samples']:,} samples in {len(dataset['shards'])} shards: {made.store.path('shards')}  (after {span(seconds)})",
                f"root hash {dataset['root_hash']}",
                f'look:  curate show {out} --reason clip_score    and ask:  curate sql {out} "select * from funnel"',
            ]
        )
    )
