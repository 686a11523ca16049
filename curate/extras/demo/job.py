"""`curate demo`: builds and serves the demo's web, runs the recipes on it, and compares the outcome with the ground truth."""

import sys
import time
from pathlib import Path

from curate.extras.demo.captions import caption_summary
from curate.extras.demo.documents import document_job
from curate.extras.demo.truth import measure
from curate.extras.demo.web import build
from curate.models.packages import cache
from curate.recipe import Recipe
from curate.runner.driver import run
from curate.runner.recipes import load
from curate.settings import apply_settings
from curate.sources.url_pairs import UrlPairs
from curate.view.closing import funnel
from curate.view.display import display
from curate.view.look import clean
from curate.view.progress import span
from curate.view.run import Run

NETWORK = "127.0.0.0/8"


#: Settings for a web of drawings and stamps, in which one row in seven has the caption of another picture; the recipe's defaults, from
#: the literature, are for the real web.
SETTINGS = (
    "caption_words.min=1",
    "caption_chars.min=3",
    "caption_repetition.max=0.5",
    "image_bytes.min=100",
    "image_side.min=32",
    "top_fraction.fraction=0.9",
    "balance.tail=0.3",
    "caption_synthetic.decoding.max_tokens=16",
    "caption_synthetic_faults.without=short,cut_off",
)


def main_job(out: str, tier: str = "S", engine: str = "ray", seed: int = 0) -> int:
    """Run the demo into a folder: `web_pairs` over a web built from packages, then `web_documents` over manuals. Prints the funnel, the
    measured precision and recall, and the next commands. Returns the exit code, 0 on success."""
    began = time.monotonic()
    web = build(cache() / f"web-{tier}-{seed}", tier, seed, say=lambda line: print(f"  {line}", file=sys.stderr, flush=True))
    for name, why in web.left_out.items():
        print(f"left out: {name}: {why}")
    recipe = pairs_recipe(web.pairs, seed)
    with display() as progress, web.serve():
        made = run(recipe, out, engine, part_size=1_000, progress=progress)
    print(closing(made, web.truth, out, time.monotonic() - began) + "\n", flush=True)
    with display() as progress:
        pages = document_job(f"{out.rstrip('/')}-pages", cache() / f"pages-{seed}", engine, seed, (NETWORK,), progress)
    return 1 if made.problems or pages else 0


def pairs_recipe(pairs: Path, seed: int) -> Recipe:
    """`web_pairs` with the demo's settings, allowed to contact the demo's local servers."""
    recipe = load("web_pairs").build(UrlPairs(str(pairs)), seed=seed, shard_size=500)
    recipe.name = "web_pairs"
    recipe = apply_settings(recipe, SETTINGS)
    for step in recipe.steps:
        step.allow_networks((NETWORK,))
    return recipe


def closing(made: Run, truth: Path, out: str, seconds: float) -> str:
    """The final summary of the demo: the funnel, the measured quality of each filter, captions, the shards, the next commands."""
    ledger = made.sql("select url, text, drop_reason, drop_stage, clip_score from images").to_arrow_table()
    order = [s["step"] for s in made.recipe["steps"]]
    dataset = made.dataset
    return clean(
        "\n".join(
            [
                funnel(made.stats().to_pylist()),
                "",
                "What the pipeline never saw: the truth about each row.",
                str(measure(ledger, truth, order=order)),
                "",
                *caption_summary(made, truth),
                "",
                f"{dataset['samples']:,} samples in {len(dataset['shards'])} shards: {made.store.path('shards')}  (after {span(seconds)})",
                f"root hash {dataset['root_hash']}",
                f"report: {made.store.path('report.html')}",
                f'look:   curate show {out} --reason top_fraction    and ask:  curate sql {out} "select * from funnel"',
            ]
        )
    )
