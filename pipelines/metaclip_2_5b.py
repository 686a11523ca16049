"""MetaCLIP-2.5B (Xu et al. 2023, arXiv 2309.16671): MetaCLIP-400M with t = 170,000 and a larger pool.

The pool: 90 snapshots of Common Crawl. t was chosen so that entries under it hold 6 % of all matches, as 20,000 did in the
smaller pool: --tail 0.06 finds the t of your pool and replaces --t. Published: 10.7B matched pairs become 2.5B (1B with t =
20,000). ImageNet 67.6 / 79.2 / 80.5 / 82.1 % with ViT-B/32, L/14, H/14, bigG/14.
"""

from curate.balance.metaclip import Balance
from curate.dedup.exact import ExactDedup
from curate.fetch.stage import Fetch
from curate.filters.language import Language
from curate.filters.nsfw import Nsfw
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    entries: str,
    t: float = 170_000,
    tail: float = 0.0,
    max_nsfw: float = 0.5,
    language_model: str = "",
    nsfw_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """t: draws of an entry, about.
    tail: find the t at which entries under it hold this share of the matches; replaces t.
    """
    balance = Balance(entries=entries, tail=tail, seed=seed) if tail else Balance(entries=entries, t=t, seed=seed)
    return Recipe(
        source=source,
        score=[Language(model=language_model), Fetch(), *([Nsfw(max=max_nsfw, model=nsfw_model)] if max_nsfw < 1 else [])],
        select=[ExactDedup(key=("sha256", "text")), balance],
        shards=Shards(size=shard_size, seed=seed),
    )
